"""The one clock.

Every instant inside Meterhouse is a whole number of milliseconds since the epoch, and every
module that needs the present takes a `Clock` as an argument. Nothing else reads the time of day.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the present."""

    def now(self) -> int:
        """Return the present in milliseconds since the epoch."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Return the machine's present in milliseconds since the epoch."""
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that stands still until it is told to move; for tests and simulations."""

    def __init__(self, now: int) -> None:
        self._now = now

    def now(self) -> int:
        """Return the instant that this clock was last set to."""
        return self._now

    def set(self, now: int) -> None:
        """Move the clock to `now` (milliseconds since the epoch), forwards or back."""
        self._now = now

    def advance(self, milliseconds: int) -> None:
        """Move the clock by `milliseconds`."""
        self._now += milliseconds
