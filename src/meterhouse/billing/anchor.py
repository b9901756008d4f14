"""Anchors that are told by the day of a month.

https://docs.stripe.com/billing/subscriptions/billing-cycle
"""

from calendar import monthrange
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import lcm
from typing import NamedTuple

from meterhouse.billing.price import Recurrence

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS = {"month": 1, "year": 12}
_TRIES = 48  # rounds of all intervals: in so many a day comes that months of theirs ever have
_YEAR = 12
_END = 3000 * _YEAR  # no anchor lies beyond it


class AnchorDay(NamedTuple):
    """A day of the month, or of the year where it has a month; a time of day that is told."""

    day: int
    month: int | None = None
    hour: int | None = None
    minute: int | None = None
    second: int | None = None


def anchor_on(day: AnchorDay, now: int, recurrences: Sequence[Recurrence]) -> int:
    """Return an anchor of periods that begin on a day; the first of them at `now` or later.

    What is not told of the time of day is as it is now. Where the first month is too short for the
    day the anchor lies later, in one that has it, so that only short months have another one.
    """
    begins = _EPOCH + timedelta(milliseconds=now)
    first = begins.year * _YEAR + begins.month - 1
    wanted = [
        month for month in range(first, first + _YEAR + 1) if day.month in (None, month % _YEAR + 1)
    ]
    month = next(one for one in wanted if _instant(day, one, begins) >= now)
    step = lcm(*(one.count * _MONTHS[one.interval] for one in recurrences))
    later = range(month, min(month + step * _TRIES, _END), step)
    return _instant(day, next((one for one in later if _has(one, day.day)), month), begins)


def _has(month: int, day: int) -> bool:
    return day <= monthrange(month // _YEAR, month % _YEAR + 1)[1]


def _instant(day: AnchorDay, month: int, begins: datetime) -> int:
    year, number = divmod(month, _YEAR)
    told = begins.replace(
        year=year,
        month=number + 1,
        day=min(day.day, monthrange(year, number + 1)[1]),
        hour=begins.hour if day.hour is None else day.hour,
        minute=begins.minute if day.minute is None else day.minute,
        second=begins.second if day.second is None else day.second,
    )
    return (told - _EPOCH) // timedelta(milliseconds=1)
