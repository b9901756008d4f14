"""The timekeeper: how far time has come, whatever the machine's clock says.

The ledger keeps the instant that time is known to have *reached*. It goes with the clock as long as
the two are at most `CLOCK_APART_MINUTES_MAX` apart, and never back. What a reader may rely on:

- How much time has passed between two looks is told by the machine's uptime, else by the database's
  clock (`ledger.timekeeping.since_look`), and reached is at once what has passed: after a server
  was off, or its machine asleep, nothing is late.
- A clock that is further *ahead* than that is doubted. Events are received by it, but nothing is
  over its time by it. What is reached moves on by the time that passes, until servers have run with
  such a clock for a while; then it is believed. A clock that comes back earlier has cost nothing.
- That while is `CLOCK_DOUBT_HOURS` of one that has *jumped*: it has moved, and no time has passed.
  Where nobody knows, because the machine has booted since, it is a part of the time by which the
  clock is ahead, and no longer than that.
- A clock that is further *behind* is wrong, and events wait until it is right again.
- The operator may end both at once (`ledger.timekeeping.settle`).
- Of several processes on one ledger each has a clock, and doubts it by itself. One that is doubted
  moves nothing on but by the time that passes, which is counted once, and it is not believed as
  long as another goes with what is reached.

So `now` is for whatever ends something for good: claims, records, retries, what is kept for some
days. When something was received or made is what the clock says.
"""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Literal

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.background import Background
from meterhouse.clock import Clock, Uptime
from meterhouse.errors import StoreError
from meterhouse.ledger import deliveries, timekeeping
from meterhouse.ledger.timekeeping import Timekeeping
from meterhouse.metering.window import MILLISECONDS
from meterhouse.stores import Stores

_APART = limits.CLOCK_APART_MINUTES_MAX * MILLISECONDS["minute"]
_DOUBT = limits.CLOCK_DOUBT_HOURS * MILLISECONDS["hour"]
_LOOK = limits.CLOCK_LOOK_SECONDS * 1000

State = Literal["ahead", "behind", "right"]

log = logging.getLogger("meterhouse.clock")


class Timekeeper(Background):
    """A clock that is late rather than wrong; `open` comes before it is asked."""

    def __init__(self, stores: Stores, clock: Clock) -> None:
        super().__init__()
        self._stores = stores
        self._clock = clock
        self._known: Timekeeping | None = None
        self._doubts: bool | None = None  # this clock; None before the first look
        self._looked: int | None = None  # the uptime at the last look, in ms
        self._told: State = "right"

    def now(self) -> int:
        """Return an instant that is surely not later than the present (milliseconds)."""
        now = self._clock.now()
        return now if self._known is None else min(now, self._known.reached + _APART)

    def uptime(self) -> Uptime:
        """Return for how long the machine has been up."""
        return self._clock.uptime()

    def behind(self) -> str | None:
        """Return a sentence when the clock is further behind than it may be, else None."""
        now = self._clock.now()
        if self._known is None or now >= self._known.reached - _APART:
            return None
        return (
            f"The clock says {_show(now)}, but time has reached {_show(self._known.reached)} "
            "before. Set the clock right; if it is right, run `meterhouse clock accept`."
        )

    @property
    def state(self) -> State:
        """Whether the clock is believed to be right, or what is wrong with it."""
        if self.behind() is not None:
            return "behind"
        return "ahead" if self._doubts else "right"

    async def open(self) -> None:
        """Read what is known, and look for the first time; a ledger that is full may be read."""
        self._known = await self._stores.read(timekeeping.read)
        try:
            await self.look()
        except StoreError as error:
            log.warning("what the clock says now could not be kept: %s", error)

    async def look(self) -> None:
        """Look at the clock, and keep what is known.

        This writes to the ledger each time, so it also tells whether that takes anything.
        """
        now, uptime = self._clock.now(), self._clock.uptime()
        own = None if self._looked is None else uptime.milliseconds - self._looked
        self._known = await self._stores.write(_look, now, uptime, own, doubted=self._doubts)
        self._looked = uptime.milliseconds
        self._doubts = self._known.doubted_ms > 0
        self._stores.mended()
        self._tell(now, self._known)

    async def _run(self) -> None:
        looked = self._clock.uptime().milliseconds
        while True:
            await asyncio.sleep(limits.CLOCK_UNSETTLED_LOOK_SECONDS)
            uptime = self._clock.uptime().milliseconds
            waits = self._stores.trouble() is None and self.behind() is None
            if uptime - looked < _LOOK and waits:
                continue
            looked = uptime
            try:
                await self.look()
            except StoreError as error:
                log.debug("nothing can be kept of a look at the clock: %s", error)
            except Exception:
                log.exception("a look at the clock failed")

    def _tell(self, now: int, known: Timekeeping) -> None:
        """Say in the log, once, that the clock is doubted or wrong, and that it no longer is."""
        state = self.state
        if state == self._told:
            return
        self._told = state
        if state == "behind":
            log.warning("%s Until then events are answered with 503.", self.behind())
        elif state == "ahead":
            log.warning(
                "The clock says %s, but by what is known it is %s: %s. If it is wrong, set it "
                "right. Until then nobody is billed by it, and nothing that is kept for some time "
                "is dropped. It is believed once servers have run so for %s, or at once by "
                "`meterhouse clock accept`.",
                _show(now),
                _show(known.reached),
                "it has jumped" if known.jumped else "it has jumped, or the machine was off",
                _show_length(doubt(known, now)),
            )
        else:
            log.info("The clock is believed again: it says %s.", _show(now))


def advance(known: Timekeeping | None, now: int, passed: int | None) -> Timekeeping:
    """Return what is known after a look at a clock that says `now`.

    `passed` is how many milliseconds ago the last look was, None where nobody knows.
    """
    if known is None:
        return Timekeeping(now, now)
    if not _ahead(known, now, passed or 0):
        reached = max(known.reached, now)
        return Timekeeping(reached, max(known.furthest, reached))
    reached = known.reached + (passed or 0)
    doubted = Timekeeping(
        reached,
        max(known.furthest, reached),
        # A standstill is no running.
        known.doubted_ms + min(max(passed or 0, 1), 2 * _LOOK),
        known.jumped if known.doubted_ms else passed is not None,
    )
    if doubted.doubted_ms < doubt(doubted, now):
        return doubted
    return Timekeeping(now, max(known.furthest, now))


def doubt(known: Timekeeping, now: int) -> int:
    """Return for how long in all a clock is doubted that is ahead and says `now`, in ms."""
    ahead = now - known.reached
    return _DOUBT if known.jumped else min(_DOUBT, ahead // limits.CLOCK_DOUBT_PARTS)


def _ahead(known: Timekeeping, now: int, passed: int) -> bool:
    return now > known.reached + passed + _APART


def _look(
    connection: sa.Connection, now: int, uptime: Uptime, own: int | None, *, doubted: bool | None
) -> Timekeeping:
    """Keep what is known after a look; `doubted` tells of the look before, None where none was."""
    passed = timekeeping.since_look(connection, uptime, own)
    before = timekeeping.read(connection)
    known = advance(before, now, passed)
    timekeeping.write(connection, known, uptime)
    if before is not None:
        # Where this process has not looked before, another one may have left something behind.
        doubted = before.doubted_ms > 0 if doubted is None else doubted
        if doubted and not _ahead(before, now, passed or 0):
            deliveries.recall(connection, now)
    return known


def _show(instant: int) -> str:
    return datetime.fromtimestamp(instant / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _show_length(milliseconds: int) -> str:
    minutes = -(-milliseconds // MILLISECONDS["minute"])
    return f"{minutes // 60} h {minutes % 60} min"
