"""API versions (https://docs.stripe.com/api/versioning).

A version is a date and, since 2024-09-30, the name of its major release; every preview is a date
and `preview`. Versions are compared by their date; one that is newer than this program is taken for
the newest that it knows, so that a newer SDK works. The *API* is the number in the path: v1 takes
forms, v2 takes JSON (https://docs.stripe.com/api-v2-overview).
"""

import re
from datetime import date
from functools import lru_cache
from typing import Literal

import msgspec

from meterhouse.limits import API_VERSIONS_CACHED_MAX
from meterhouse.wire.envelope import invalid_version

Api = Literal["v1", "v2"]
# As the previews show it, the first ones and the later ones, and as the guide does:
# https://docs.stripe.com/billing/subscriptions/usage-based/analytics
MeterUsageShape = Literal["former", "page", "rows"]

PREVIEW = "preview"
FIRST_DATED = date(2011, 1, 1)
LAST_DATED = date(2024, 6, 20)
NEWEST = date(2026, 10, 28)
NEWER_UNTIL = date(2029, 12, 31)  # what is later is taken for a slip of the pen
DECIMALS_SINCE = date(2026, 4, 22)
METER_USAGE_ROWS_SINCE = date(2025, 9, 30)

# The first date of each release; it lasts until the next one begins.
MAJORS: dict[str, date] = {
    "acacia": date(2024, 9, 30),
    "basil": date(2025, 3, 31),
    "clover": date(2025, 9, 30),
    "dahlia": date(2026, 3, 25),
    "endive": date(2026, 9, 30),
}
ACACIA, BASIL, CLOVER = MAJORS["acacia"], MAJORS["basil"], MAJORS["clover"]
FIRST_PREVIEW = date(2024, 9, 1)

_SHAPE = re.compile(r"(\d{4}-\d{2}-\d{2})(?:\.([a-z]+))?", re.ASCII)


class ApiVersion(msgspec.Struct, frozen=True):
    """One API version; `major` is the release's name, `preview`, or empty before releases.

    `text` is the version as a header spells it.
    """

    date: date
    major: str
    text: str

    @property
    def preview(self) -> bool:
        """Whether the version shows what is not generally available."""
        return self.major == PREVIEW

    @property
    def decimals_allowed(self) -> bool:
        """Whether usage values may have decimals: since 2026-04-22.dahlia, at 15 digits."""
        return self.date >= DECIMALS_SINCE

    @property
    def meter_usage(self) -> MeterUsageShape:
        """How meter usage is asked for and shown, which changed with the preview 2025-09-30."""
        if not self.preview:
            return "page"
        return "rows" if self.date >= METER_USAGE_ROWS_SINCE else "former"


DEFAULT_VERSION = ApiVersion(NEWEST, "endive", f"{NEWEST}.endive")


def api_of(path: str) -> Api:
    """Return the API that a path belongs to; what is not v2 follows v1."""
    return "v2" if path.startswith("/v2/") else "v1"


@lru_cache(API_VERSIONS_CACHED_MAX)
def parse_version(text: str) -> ApiVersion:
    """Read the header `Stripe-Version`; refuse what never was a version, nor can become one."""
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise invalid_version(text)
    try:
        day = date.fromisoformat(match[1])
    except ValueError:
        raise invalid_version(text) from None
    major = match[2] or ""
    if not _exists(day, major):
        raise invalid_version(text)
    return ApiVersion(day, major, text)


def _exists(day: date, major: str) -> bool:
    if day > NEWEST:
        return major != "" and day <= NEWER_UNTIL
    if major == PREVIEW:
        return day >= FIRST_PREVIEW
    return major == _major_on(day)


def _major_on(day: date) -> str | None:
    """Return the name of the release that `day` belongs to; None where no version can be."""
    if FIRST_DATED <= day <= LAST_DATED:
        return ""
    begun = [name for name, first in MAJORS.items() if first <= day]
    return begun[-1] if begun else None
