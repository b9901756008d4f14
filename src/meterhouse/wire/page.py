"""Pages of lists and of searches.

https://docs.stripe.com/api/pagination, https://docs.stripe.com/api/pagination/search
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from meterhouse.limits import PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX
from meterhouse.wire.param_errors import bad_search_page, exclusive_params
from meterhouse.wire.params import Between, RequestParams

RowT = TypeVar("RowT")


class PageParams(RequestParams):
    """The parameters of every list: its page begins after, or ends before, the named object."""

    limit: Annotated[int, Between(1, PAGE_LIMIT_MAX)] = PAGE_LIMIT_DEFAULT
    starting_after: str | None = None
    ending_before: str | None = None

    def __post_init__(self) -> None:
        """Refuse a page that is asked for from both ends."""
        if self.starting_after is not None and self.ending_before is not None:
            raise exclusive_params("starting_after", "ending_before")

    @property
    def cursor(self) -> str:
        """The id at which the page is cut, empty on the first page."""
        return self.starting_after or self.ending_before or ""

    @property
    def cursor_param(self) -> str:
        """The parameter that names the cursor."""
        return "starting_after" if self.starting_after else "ending_before"


def list_object(url: str, data: Sequence[Any], has_more: bool) -> dict[str, Any]:
    """Return the list object of one page; `url` is the path of the list."""
    return {"object": "list", "url": url, "has_more": has_more, "data": data}


def cut_page(rows: Sequence[tuple[str, RowT]], page: PageParams) -> tuple[list[RowT], bool] | None:
    """Cut a page out of all rows, each with its id, and tell whether there are more.

    Returns None when the cursor of `page` names none of them.
    """
    ids = [id_ for id_, _ in rows]
    if page.cursor and page.cursor not in ids:
        return None
    if page.ending_before:
        before = rows[: ids.index(page.cursor)]
        return [row for _, row in before[-page.limit :]], len(before) > page.limit
    after = rows[ids.index(page.cursor) + 1 :] if page.cursor else rows
    return [row for _, row in after[: page.limit]], len(after) > page.limit


class SearchParams(RequestParams):
    """The parameters of every search; `page` is the `next_page` of the answer before."""

    query: str
    limit: Annotated[int, Between(1, PAGE_LIMIT_MAX)] = PAGE_LIMIT_DEFAULT
    page: str | None = None

    def cut(self) -> PageParams:
        """Return where the page is cut, as a list would be asked; refuse a bad token."""
        if self.page is None:
            return PageParams(limit=self.limit)
        cursor = read_page_token(self.page)
        if not cursor:
            raise bad_search_page(self.page)
        return PageParams(limit=self.limit, starting_after=cursor)


def search_object(
    url: str, data: Sequence[dict[str, Any]], *, has_more: bool, total: int | None = None
) -> dict[str, Any]:
    """Return one page of what a search found; `total` shows where it is known."""
    document: dict[str, Any] = {
        "object": "search_result",
        "url": url,
        "has_more": has_more,
        "next_page": page_token(data[-1]["id"]) if has_more else None,
        "data": data,
    }
    return document if total is None else document | {"total_count": total}


def page_token(cursor: str) -> str:
    """Return the token that stands for a place between two pages."""
    return base64.urlsafe_b64encode(cursor.encode()).decode()


def read_page_token(token: str) -> str:
    """Return the place that a token stands for, empty where it is none of ours."""
    try:
        cursor = base64.urlsafe_b64decode(token).decode()
    except (binascii.Error, ValueError):
        return ""
    return "" if "\0" in cursor else cursor
