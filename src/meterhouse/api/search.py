"""Searches that look at objects one by one, newest first, as a list would show them.

Each is found as soon as it is stored. A list that leaves out most of what is not wanted, because it
has an index for that, makes such a search quick.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.api.call import Answer, Call, ok
from meterhouse.wire.expand import check_expand
from meterhouse.wire.page import PageParams, SearchParams, search_object
from meterhouse.wire.param_errors import bad_search_page
from meterhouse.wire.search import Kind, Search, matches, read_search

_TOTAL = "total_count"


class Found(Protocol):
    """Whatever can be found: it has an id, at which a page can be cut, and metadata."""

    @property
    def id(self) -> str:
        """The id."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """What its maker has noted."""


T = TypeVar("T", bound=Found)


@dataclass(frozen=True)
class Searchable(Generic[T]):
    """Objects of a kind, and how they are searched.

    `resource` is their plural name, and `fields` are what a query may name. `listed(connection,
    scope, page, search)` returns a page of a list, which may leave out what the search does, and
    None where its cursor names nothing. `values` returns the fields of one but its metadata, and
    `shown` what answers show of some, with what is `expandable` in a list.
    """

    resource: str
    fields: Mapping[str, Kind]
    expandable: Collection[str]
    listed: Callable[[sa.Connection, int, PageParams, Search], tuple[list[T], bool] | None]
    values: Callable[[T], Mapping[str, str | int | None]]
    shown: Callable[[Call, list[T], Sequence[str]], Awaitable[list[dict[str, Any]]]]


async def answer(call: Call, of: Searchable[T]) -> Answer:
    """Answer a search with a page of what it finds."""
    params = call.params(SearchParams)
    check_expand(params.expand, {*of.expandable, _TOTAL})
    search = read_search(params.query, of.resource, of.fields)
    found, has_more, total = await call.read(_page, call.scope.id, of, search, params)
    data = await of.shown(call, found, params.expand)
    return ok(search_object(call.path, data, has_more=has_more, total=total))


def _page(
    connection: sa.Connection, scope: int, of: Searchable[T], search: Search, params: SearchParams
) -> tuple[list[T], bool, int | None]:
    """Return a page of what is found, whether there is more, and how many if that was asked."""

    def after(cursor: str | None) -> Iterator[T]:
        return (
            one
            for one in _listed(connection, scope, of, search, params, cursor)
            if matches(search, of.values(one), one.metadata)
        )

    found = list(islice(after(params.cut().starting_after), params.limit + 1))
    total = sum(1 for _ in after(None)) if _TOTAL in params.expand else None
    return found[: params.limit], len(found) > params.limit, total


def _listed(
    connection: sa.Connection,
    scope: int,
    of: Searchable[T],
    search: Search,
    params: SearchParams,
    cursor: str | None,
) -> Iterator[T]:
    """Yield what is listed after a cursor, to the end; refuse a cursor that names nothing."""
    more = True
    while more:
        page = PageParams(limit=limits.PAGE_LIMIT_MAX, starting_after=cursor)
        rows = of.listed(connection, scope, page, search)
        if rows is None:
            raise bad_search_page(params.page or "")
        some, more = rows
        yield from some
        cursor = some[-1].id if some else None
