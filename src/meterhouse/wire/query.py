"""Queries of API v2: what a GET is asked for, and its pages.

```python
class EventList(PageQuery):
    lists = frozenset({"types"})
    created: InstantRange | None = None
    types: Annotated[list[str], Items(20)] | None = None
```

A page is named by a token in `page`, which the answer before it has in a URL to follow. A list is
sent as `types[0]=a`, or as `types=a&types=b` by Stripe's CLI (https://docs.stripe.com/api-v2-overview).
"""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, TypeVar
from urllib.parse import parse_qsl, urlencode

import msgspec

from meterhouse.errors import Refusal
from meterhouse.limits import PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX
from meterhouse.wire.envelope_v2 import invalid_field
from meterhouse.wire.form import parse_form
from meterhouse.wire.page import PageParams, page_token, read_page_token
from meterhouse.wire.params import Between, Params, read_params
from meterhouse.wire.timestamp import read_timestamp


class Query(Params, kw_only=True):
    """The base of the parameters of a GET; `lists` are the names of those that are lists."""

    lists: ClassVar[frozenset[str]] = frozenset()


class PageQuery(Query, kw_only=True):
    """The parameters of every list."""

    limit: Annotated[int, Between(1, PAGE_LIMIT_MAX)] = PAGE_LIMIT_DEFAULT
    page: str | None = None

    def cut(self) -> PageParams:
        """Return where the page is cut, as a list of API v1 would be asked; refuse a bad token."""
        if self.page is None:
            return PageParams(limit=self.limit)
        side, _, cursor = read_page_token(self.page).partition(":")
        if not cursor or side not in (_AFTER, _BEFORE):
            raise bad_page()
        return PageParams(
            limit=self.limit,
            starting_after=cursor if side == _AFTER else None,
            ending_before=cursor if side == _BEFORE else None,
        )


class InstantRange(Params, kw_only=True):
    """A filter of instants, sent as a hash of RFC 3339 timestamps."""

    gt: str | None = None
    gte: str | None = None
    lt: str | None = None
    lte: str | None = None

    def window(self, name: str) -> tuple[int | None, int | None]:
        """Return the half-open window of milliseconds that the range stands for.

        A bound of None is open. `name` is how the sender calls the range, for a refusal.
        """
        bounds = {
            bound: _instant(f"{name}[{bound}]", text)
            for bound, text in msgspec.structs.asdict(self).items()
            if text is not None
        }
        starts = [bounds[bound] + (bound == "gt") for bound in ("gt", "gte") if bound in bounds]
        ends = [bounds[bound] + (bound == "lte") for bound in ("lt", "lte") if bound in bounds]
        return max(starts, default=None), min(ends, default=None)


QueryT = TypeVar("QueryT", bound=Query)

_AFTER, _BEFORE = "after", "before"  # where the page lies, from the object that its token names


def read_query(cls: type[QueryT], query: bytes) -> QueryT:
    """Read a query string as a `cls`; refuse what is not in order."""
    names = tuple(f"{name}=".encode() for name in cls.lists)
    pairs = (
        pair.replace(b"=", b"[]=", 1) if pair.startswith(names) else pair
        for pair in query.split(b"&")
    )
    return read_params(cls, parse_form(b"&".join(pairs)))


def page_object(
    path: str, query: bytes, cut: PageParams, data: Sequence[dict[str, Any]], *, has_more: bool
) -> dict[str, Any]:
    """Return one page of a list; `query` is what it was asked for with, `cut` where it was cut.

    `has_more` tells whether more lies beyond the end of the page that is away from the cut.
    """
    backwards = cut.ending_before is not None
    following = has_more or backwards
    preceding = has_more if backwards else cut.starting_after is not None
    return {
        "data": data,
        "next_page_url": _url(path, query, _AFTER, data[-1]) if data and following else None,
        "previous_page_url": _url(path, query, _BEFORE, data[0]) if data and preceding else None,
    }


def bad_page() -> Refusal:
    """Refuse a token that names no page."""
    return invalid_field("page must be a token from the URL of another page.")


def _url(path: str, query: bytes, side: str, beside: dict[str, Any]) -> str:
    token = page_token(f"{side}:{beside['id']}")
    asked = [pair for pair in parse_qsl(query.decode()) if pair[0] != "page"]
    return f"{path}?{urlencode([*asked, ('page', token)])}"


def _instant(name: str, text: str) -> int:
    try:
        return read_timestamp(text)
    except ValueError as error:
        raise invalid_field(f"{name} {error}.") from None
