"""Searches that look at objects one by one, newest first, as a list would show them.

Each is found as soon as it is stored. A list that leaves out most of what is not wanted, because it
has an index for that, makes such a search quick.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Protocol, TypeVar

from meterhouse import limits
from meterhouse.wire.page import PageParams, SearchParams
from meterhouse.wire.param_errors import bad_search_page

TOTAL = "total_count"


class Named(Protocol):
    """Whatever has an id, at which a page can be cut."""

    @property
    def id(self) -> str:
        """The id."""


NamedT = TypeVar("NamedT", bound=Named)
ListPage = Callable[[PageParams], tuple[list[NamedT], bool] | None]


def found_by(
    list_page: ListPage[NamedT], params: SearchParams, wanted: Callable[[NamedT], bool]
) -> tuple[list[NamedT], bool, int | None]:
    """Return a page of what is wanted, whether there is more, and how many if that was asked."""
    after = params.cut().starting_after
    found = list(islice(filter(wanted, _after(list_page, params, after)), params.limit + 1))
    total = None
    if TOTAL in params.expand:
        total = sum(map(wanted, _after(list_page, params, None)))
    return found[: params.limit], len(found) > params.limit, total


def _after(
    list_page: ListPage[NamedT], params: SearchParams, cursor: str | None
) -> Iterator[NamedT]:
    """Yield what is listed after a cursor, to the end; refuse a cursor that names nothing."""
    more = True
    while more:
        rows = list_page(PageParams(limit=limits.PAGE_LIMIT_MAX, starting_after=cursor))
        if rows is None:
            raise bad_search_page(params.page or "")
        some, more = rows
        yield from some
        cursor = some[-1].id if some else None
