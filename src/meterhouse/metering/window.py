"""Windows of time: half-open, in milliseconds since the epoch, on UTC's hours and days.

What a reader may rely on: the windows of one size cover all of time without a gap or an overlap,
and an hour never crosses a day.
"""

from typing import Literal, NamedTuple

WindowSize = Literal["day", "hour"]
Alignment = Literal["day", "hour", "minute"]

MILLISECONDS: dict[Alignment, int] = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}


class Window(NamedTuple):
    """The instants from `start` up to, and without, `end`."""

    start: int
    end: int


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
