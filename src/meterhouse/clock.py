"""The one clock.

Every instant inside Meterhouse is a whole number of milliseconds since the epoch, and every
module that needs the present takes a `Clock` as an argument. Nothing else reads the time of day.

A clock may be set. What nobody sets is how long the machine has been up, so it tells whether time
has passed where a clock has moved.
"""

import time
from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# These go on while the machine sleeps: that of Linux, that of macOS.
_SINCE_BOOT = ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC_RAW", "CLOCK_MONOTONIC")


class Uptime(NamedTuple):
    """For how long a machine has been up, asleep or not, since the boot that `boot` names.

    Two uptimes may be compared where they are of one boot. It is empty where nobody can name it.
    """

    boot: str
    milliseconds: int


class Clock(Protocol):
    """Tells the present."""

    def now(self) -> int:
        """Return the present in milliseconds since the epoch."""
        ...

    def uptime(self) -> Uptime:
        """Return for how long the machine has been up."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Return the machine's present in milliseconds since the epoch."""
        return time.time_ns() // 1_000_000

    def uptime(self) -> Uptime:
        """Return for how long this machine has been up."""
        return Uptime(_boot(), time.clock_gettime_ns(_counter()) // 1_000_000)


class ManualClock:
    """A clock that stands still until it is told to move; for tests and simulations."""

    def __init__(self, now: int, boot: str = "boot") -> None:
        self._now = now
        self._uptime = Uptime(boot, 0)

    def now(self) -> int:
        """Return the instant that this clock was last set to."""
        return self._now

    def uptime(self) -> Uptime:
        """Return how much time has been let pass since the last boot."""
        return self._uptime

    def set(self, now: int) -> None:
        """Move the clock to `now` (milliseconds since the epoch), forwards or back."""
        self._now = now

    def advance(self, milliseconds: int) -> None:
        """Move the clock by `milliseconds`, as whoever sets it does."""
        self._now += milliseconds

    def let_pass(self, milliseconds: int) -> None:
        """Let `milliseconds` pass, for the clock and the machine."""
        self.advance(milliseconds)
        self._uptime = Uptime(self._uptime.boot, self._uptime.milliseconds + milliseconds)

    def reboot(self, boot: str) -> None:
        """Let the machine boot, which takes no time."""
        self._uptime = Uptime(boot, 0)


@cache
def _boot() -> str:
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


@cache
def _counter() -> int:
    found: int = next(getattr(time, name) for name in _SINCE_BOOT if hasattr(time, name))
    return found
