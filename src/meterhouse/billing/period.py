"""Periods: half-open, in milliseconds since the epoch, counted from an anchor.

What a reader may rely on:

- The periods of an anchor cover all of time without a gap or an overlap, before the anchor, too.
- Each begins so many intervals after the anchor, never after the period before: of an anchor on the
  31st a short month has its last day, and the next long one the 31st again.
- Days have 24 hours and weeks seven days: all of it is UTC, where no clock jumps.

https://docs.stripe.com/billing/subscriptions/billing-cycle
"""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from meterhouse.billing.price import Recurrence

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400_000
_FIXED = {"day": _DAY, "week": 7 * _DAY}
_MONTHS = {"month": 1, "year": 12}


class Period(NamedTuple):
    """The instants from `start` up to, and without, `end`."""

    start: int
    end: int


def beginning(anchor: int, recurrence: Recurrence, number: int) -> int:
    """Return when the period numbered `number` begins: 0 is that of the anchor."""
    if recurrence.interval in _FIXED:
        return anchor + number * recurrence.count * _FIXED[recurrence.interval]
    months = number * recurrence.count * _MONTHS[recurrence.interval]
    begins = _EPOCH + timedelta(milliseconds=anchor)
    year, month = divmod(begins.year * 12 + begins.month - 1 + months, 12)
    day = min(begins.day, monthrange(year, month + 1)[1])
    return (begins.replace(year=year, month=month + 1, day=day) - _EPOCH) // timedelta(
        milliseconds=1
    )


def period_at(anchor: int, recurrence: Recurrence, instant: int) -> Period:
    """Return the period that holds `instant`."""
    number = _guess(anchor, recurrence, instant)
    while beginning(anchor, recurrence, number) > instant:
        number -= 1
    while beginning(anchor, recurrence, number + 1) <= instant:
        number += 1
    return Period(beginning(anchor, recurrence, number), beginning(anchor, recurrence, number + 1))


def _guess(anchor: int, recurrence: Recurrence, instant: int) -> int:
    """Return the number of a period that is near the one that holds `instant`."""
    if recurrence.interval in _FIXED:
        return (instant - anchor) // (recurrence.count * _FIXED[recurrence.interval])
    begins, asked = (_EPOCH + timedelta(milliseconds=one) for one in (anchor, instant))
    months = (asked.year - begins.year) * 12 + asked.month - begins.month
    return months // (recurrence.count * _MONTHS[recurrence.interval])
