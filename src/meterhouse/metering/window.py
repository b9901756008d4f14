"""Windows of time: half-open, in milliseconds since the epoch.

What a reader may rely on:

- The windows of one size cover all of time without a gap or an overlap.
- `floor_to`, `window_of` and `widen` are about UTC's hours and days; an hour never crosses a day.
- `zoned` is about the windows of a time zone. A day, a week (which begins on Monday) and a month
  begin at the first second at which the zone's clock shows their date or a later one; an hour
  begins whenever the clock shows a full hour. So a day has 23 or 25 hours where the clock jumps,
  an hour that the clock shows twice is two, and one that it leaves out is none.
- Stretches say in few numbers where many windows are.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from meterhouse.limits import WINDOWS_CACHED_MAX

WindowSize = Literal["day", "hour"]
GroupingWindow = Literal["day", "hour", "month", "week"]
Alignment = Literal["day", "hour", "minute"]

MILLISECONDS: dict[Alignment, int] = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
SLOT = 15 * MILLISECONDS["minute"]  # the grain of meter usage

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_HOUR = 3_600
_DAY = timedelta(days=1)
_HOURS_BACK = 4 * _HOUR  # no two full hours on a clock are further apart


class Window(NamedTuple):
    """The instants from `start` up to, and without, `end`."""

    start: int
    end: int


class Stretch(NamedTuple):
    """Windows of one `length` in a row, from `start` on; the number of the first is `first`."""

    start: int
    length: int
    first: int


def is_aligned(instant: int, alignment: Alignment) -> bool:
    """Tell whether `instant` is the very beginning of a UTC minute, hour or day."""
    return instant % MILLISECONDS[alignment] == 0


def floor_to(instant: int, size: WindowSize) -> int:
    """Return the start of the UTC hour or day that holds `instant`."""
    return instant - instant % MILLISECONDS[size]


def window_of(instant: int, size: WindowSize) -> Window:
    """Return the UTC hour or day that holds `instant`."""
    start = floor_to(instant, size)
    return Window(start, start + MILLISECONDS[size])


def widen(start: int, end: int, size: WindowSize) -> Window:
    """Return the range of all whole windows that share an instant with `[start, end)`."""
    return Window(floor_to(start, size), window_of(end - 1, size).end)


def slot_at(instant: int) -> int:
    """Return the start of the first slot that begins at `instant` or later.

    An event whose time is floored to its slot is at `instant` or later exactly when the event
    itself is at `slot_at(instant)` or later.
    """
    return -(-instant // SLOT) * SLOT


@lru_cache(WINDOWS_CACHED_MAX)
def zoned(start: int, end: int, size: GroupingWindow, zone: ZoneInfo) -> tuple[Window, ...]:
    """Return the whole windows of `zone` that share an instant with `[start, end)`, in order."""
    windows: list[Window] = []
    openings = (_hours if size == "hour" else _CALENDAR[size])(start // 1000, zone)
    for opening, following in pairwise(openings):
        if opening * 1000 >= end:
            break
        if start < min(following * 1000, end) and opening < following:
            windows.append(Window(opening * 1000, following * 1000))
    return tuple(windows)


def shown(start: int, size: GroupingWindow | None, zone: ZoneInfo) -> str:
    """Return what the zone's clock shows when a window begins: its date, of an hour the time, too.

    Without a size it is a range, which may begin at any minute.
    """
    at = datetime.fromtimestamp(start // 1000, zone).replace(tzinfo=None)
    return at.isoformat(timespec="minutes") if size in ("hour", None) else at.date().isoformat()


def stretches(edges: Sequence[int]) -> list[Stretch]:
    """Tell where the windows between `edges` are, but for those that are empty."""
    found: list[Stretch] = []
    for number, (start, end) in enumerate(pairwise(edges)):
        length = end - start
        if not length:
            continue
        if found:
            last = found[-1]
            if last.length == length and start == last.start + (number - last.first) * length:
                continue
        found.append(Stretch(start, length, number))
    return found


def _hours(second: int, zone: ZoneInfo) -> Iterator[int]:
    """Yield every full hour on the zone's clock, from before `second` on."""
    opening = second - _HOURS_BACK
    while True:
        opening = _next_hour(opening, zone)
        yield opening


def _next_hour(second: int, zone: ZoneInfo) -> int:
    offset = _offset(second, zone)
    full = second + _HOUR - (second + offset) % _HOUR
    later = _offset(full, zone)
    if later == offset:
        return full
    jump = _jump(second, full, zone)
    return jump - (jump + later) % -_HOUR


def _days(second: int, zone: ZoneInfo) -> Iterator[int]:
    day = datetime.fromtimestamp(second, zone).date()
    while True:
        yield _first_second(day, zone)
        day += _DAY


def _weeks(second: int, zone: ZoneInfo) -> Iterator[int]:
    day = datetime.fromtimestamp(second, zone).date()
    day -= day.weekday() * _DAY
    while True:
        yield _first_second(day, zone)
        day += 7 * _DAY


def _months(second: int, zone: ZoneInfo) -> Iterator[int]:
    day = datetime.fromtimestamp(second, zone).date().replace(day=1)
    while True:
        yield _first_second(day, zone)
        day = (day + 31 * _DAY).replace(day=1)


_CALENDAR = {"day": _days, "month": _months, "week": _weeks}


def _first_second(day: date, zone: ZoneInfo) -> int:
    """Return the first second at which the zone's clock shows `day` or a later one."""
    midnight = datetime.combine(day, time(), zone)  # of two, the first
    second = (midnight - _EPOCH) // _SECOND
    if datetime.fromtimestamp(second, zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return second
    # The clock leaves midnight out. It jumps between what midnight is by the offset after the
    # jump and by the one before it.
    return _jump((midnight.replace(fold=1) - _EPOCH) // _SECOND, second, zone)


def _jump(before: int, after: int, zone: ZoneInfo) -> int:
    """Return the second in `(before, after]` at which the zone's offset becomes that of `after`."""
    offset = _offset(after, zone)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(middle, zone) == offset:
            after = middle
        else:
            before = middle
    return after


def _offset(second: int, zone: ZoneInfo) -> int:
    """Return how many seconds the zone's clock is ahead of UTC."""
    shown = datetime.fromtimestamp(second, zone).replace(tzinfo=UTC)
    return (shown - _EPOCH) // _SECOND - second
