"""Pages of lists (https://docs.stripe.com/api/pagination)."""

from collections.abc import Sequence
from typing import Annotated, Any

from meterhouse.limits import PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX
from meterhouse.wire.param_errors import exclusive_params
from meterhouse.wire.params import Between, RequestParams


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
