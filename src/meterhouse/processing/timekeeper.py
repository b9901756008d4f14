"""The timekeeper: how far time has come, whatever the machine's clock says.

The ledger keeps the instant that time is known to have *reached*. It goes with the clock as long as
the two are at most `CLOCK_APART_MINUTES_MAX` apart, and never back. What a reader may rely on:

- A clock that is further *ahead* is doubted: it may have jumped, or the server may have stood
  still. Events are received by it, but nothing is over its time by it. What is reached moves on by
  the time that passes, until servers have run with such a clock for `CLOCK_DOUBT_HOURS`; then it is
  believed. A clock that comes back earlier has cost nothing.
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
import time
from datetime import UTC, datetime

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.background import Background
from meterhouse.clock import Clock
from meterhouse.errors import StoreError
from meterhouse.ledger import deliveries, timekeeping
from meterhouse.ledger.timekeeping import Timekeeping
from meterhouse.metering.window import MILLISECONDS
from meterhouse.stores import Stores

_APART = limits.CLOCK_APART_MINUTES_MAX * MILLISECONDS["minute"]
_DOUBT = limits.CLOCK_DOUBT_HOURS * MILLISECONDS["hour"]
_LOOK = limits.CLOCK_LOOK_SECONDS * 1000

log = logging.getLogger("meterhouse.clock")


class Timekeeper(Background):
    """A clock that is late rather than wrong; `open` comes before it is asked."""

    def __init__(self, stores: Stores, clock: Clock) -> None:
        super().__init__()
        self._stores = stores
        self._clock = clock
        self._known: Timekeeping | None = None
        self._doubts: bool | None = None  # this clock; None before the first look
        self._told = "settled"

    def now(self) -> int:
        """Return an instant that is surely not later than the present (milliseconds)."""
        now = self._clock.now()
        return now if self._known is None else min(now, self._known.reached + _APART)

    def behind(self) -> str | None:
        """Return a sentence when the clock is further behind than it may be, else None."""
        now = self._clock.now()
        if self._known is None or now >= self._known.reached - _APART:
            return None
        return (
            f"The clock says {_show(now)}, but time has reached {_show(self._known.reached)} "
            "before. Set the clock right; if it is right, run `meterhouse clock accept`."
        )

    async def open(self) -> None:
        """Read what is known, and look for the first time; a ledger that is full may be read."""
        self._known = await self._stores.read(timekeeping.read)
        try:
            await self.look()
        except StoreError as error:
            log.warning("what the clock says now could not be kept: %s", error)

    async def look(self, passed: int = 0) -> None:
        """Look at the clock, `passed` milliseconds after the last look, and keep what is known.

        This writes to the ledger each time, so it also tells whether that takes anything.
        """
        now = self._clock.now()
        self._known = await self._stores.write(_look, now, passed, doubted=self._doubts)
        self._doubts = self._known.doubted_ms > 0
        self._stores.mended()
        self._tell(now, self._known)

    async def _run(self) -> None:
        looked = time.monotonic()
        while True:
            await asyncio.sleep(limits.CLOCK_UNSETTLED_LOOK_SECONDS)
            passed = int((time.monotonic() - looked) * 1000)
            if passed < _LOOK and self._stores.trouble() is None and self.behind() is None:
                continue
            looked = time.monotonic()
            try:
                # Who has faked or suspended this clock, too, has not let so much time pass.
                await self.look(min(passed, 2 * _LOOK))
            except StoreError as error:
                log.debug("nothing can be kept of a look at the clock: %s", error)
            except Exception:
                log.exception("a look at the clock failed")

    def _tell(self, now: int, known: Timekeeping) -> None:
        """Say in the log, once, that the clock is doubted or wrong, and that it no longer is."""
        behind = self.behind()
        state = "behind" if behind else "ahead" if known.doubted_ms else "settled"
        if state == self._told:
            return
        self._told = state
        if behind:
            log.warning("%s Until then events are answered with 503.", behind)
        elif state == "ahead":
            ahead = now - known.reached
            log.log(
                logging.WARNING if ahead >= MILLISECONDS["day"] else logging.INFO,
                "The clock says %s, and %s was the last instant known before. Where the server did "
                "not stand still for so long, the clock has jumped: set it right. Nothing that is "
                "kept for some time is dropped by it until servers have run so for %d hours, or "
                "you run `meterhouse clock accept`.",
                _show(now),
                _show(known.reached),
                limits.CLOCK_DOUBT_HOURS,
            )
        else:
            log.info("The clock is believed again: it says %s.", _show(now))


def advance(known: Timekeeping | None, now: int, passed: int) -> Timekeeping:
    """Return what is known after a look at a clock that says `now`, `passed` ms after the last."""
    if known is None:
        return Timekeeping(now, now, 0)
    reached, doubted = max(known.reached, now), 0
    if _ahead(known, now, passed):
        doubted = known.doubted_ms + max(passed, 1)
        if doubted < _DOUBT:
            reached = known.reached + passed
        else:
            doubted = 0
    return Timekeeping(reached, max(known.furthest, reached), doubted)


def _ahead(known: Timekeeping, now: int, passed: int) -> bool:
    return now > known.reached + passed + _APART


def _look(connection: sa.Connection, now: int, passed: int, *, doubted: bool | None) -> Timekeeping:
    """Keep what is known after a look; `doubted` tells of the look before, None where none was."""
    passed = timekeeping.uncounted(connection, passed)
    before = timekeeping.read(connection)
    known = advance(before, now, passed)
    timekeeping.write(connection, known)
    if before is not None:
        # Where this process has not looked before, another one may have left something behind.
        doubted = before.doubted_ms > 0 if doubted is None else doubted
        if doubted and not _ahead(before, now, passed):
            deliveries.recall(connection, now)
    return known


def _show(instant: int) -> str:
    return datetime.fromtimestamp(instant / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
