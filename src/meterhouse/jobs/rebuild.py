"""Rebuild: a meter gets other dimensions, and its slots are made anew from its events.

- Until everything is there the judge and whoever asks know nothing of it. Then the meter switches
  in one transaction, while nothing is half-way between the stores.
- A pass adds the events that came since the pass before, month by month. When little is left, the
  last pass runs while processing stands still, and adds the cancellations: all of them, because a
  cancellation has the position of its event. The switch fails unless it stands still to the end.
- Nothing else writes slots of the version that is made. Whether a month that was begun is finished
  nobody knows after a crash, and whoever began it may go on adding to it. So the change goes on
  with a version of its own then, from the beginning.
- What is left of other versions goes a while after the switch, when nobody asks for it.
"""

import asyncio
import logging
import time
from collections.abc import Iterable

import msgspec
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.background import Worker, is_set_within
from meterhouse.clock import Clock
from meterhouse.errors import OvertakenError
from meterhouse.ledger import accounts, dimensions, journal, meters
from meterhouse.ledger.dimensions import DimensionChange, RebuiltMonth
from meterhouse.metering.model import Meter
from meterhouse.processing.stillness import Settle, Still
from meterhouse.stores import Fence, Stores
from meterhouse.usage.rebuild import (
    Month,
    Positions,
    Slots,
    add_month,
    clear_abandoned,
    clear_former,
    find_months,
)

log = logging.getLogger("meterhouse.rebuild")

_LAST = 2**63 - 1  # beyond every position


class Rebuilder(Worker):
    """Runs one change after the other.

    It has `writing` while the stores say different things of a month: whoever has it finds them
    equal, and keeps them so.
    """

    def __init__(
        self, stores: Stores, settle: Settle, still: Still, clock: Clock, writing: asyncio.Lock
    ) -> None:
        super().__init__()
        self._stores = stores
        self._settle = settle
        self._still = still
        self._clock = clock
        self._writing = writing

    async def _run(self) -> None:
        while True:
            self._work.clear()
            try:
                while change := await self._stores.read(dimensions.oldest_running):
                    await self._rebuild(change)
                await self._clear()
            except OvertakenError:
                return
            except Exception:
                log.exception("a rebuild failed and will be tried again")
                await asyncio.sleep(limits.REBUILD_RETRY_SECONDS)
                self._work.set()
            await is_set_within(self._work, limits.REBUILD_LOOK_SECONDS)

    async def _rebuild(self, change: DimensionChange) -> None:
        """Bring a change to its end."""
        change = await self._alone(change)
        meter, slots = await self._stores.read(_slots, change)
        last = 0
        if meter.slotted:
            if slots.version > meter.dimension_version + 1:
                await self._stores.usage(clear_abandoned, slots, meter.dimension_version)
            for _ in range(limits.REBUILD_PASSES_MAX):
                started = time.monotonic()
                last = await self._pass(change, slots, last)
                if time.monotonic() - started < limits.REBUILD_STILL_SECONDS_MAX:
                    break
        async with self._still() as stillness:
            if meter.slotted:
                await self._last_pass(change, slots, last)
            await self._stores.write(_switch, stillness, change, self._clock.now())

    async def _alone(self, change: DimensionChange) -> DimensionChange:
        """Return a change to whose version nobody else adds anything."""
        if any(one.begun for one in await self._stores.read(dimensions.months, change)):
            return await self._stores.write(dimensions.renew, change)
        return change

    async def _pass(self, change: DimensionChange, slots: Slots, after: int) -> int:
        """Add what is stored; return the position up to which that is. It is done up to `after`."""
        last = await self._stores.write(journal.watermark)
        while not await self._settle(limits.CONSISTENCY_WAIT_SECONDS_MAX):
            log.info("a rebuild waits until what was acknowledged is stored")
        found = await self._stores.usage(find_months, slots, Positions(after, last))
        if change.events_total is None and not after:
            events = sum(month.events for month in found)
            await self._stores.write(dimensions.count_events, change, events)
        known = await self._known(change)
        for month in found:
            before = known.get(month.number) or RebuiltMonth(month.number, 0, 0, begun=False)
            if before.position < last:
                # Of a month that has slots already only newer events are counted here.
                events = month.events + (before.events if after else 0)
                done = RebuiltMonth(month.number, last, events, begun=False)
                async with self._writing:
                    await self._add(change, slots, before, done)
        return last

    async def _add(
        self, change: DimensionChange, slots: Slots, before: RebuiltMonth, done: RebuiltMonth
    ) -> None:
        """Add to a month what came up to a position."""
        begun = msgspec.structs.replace(before, begun=True)
        await self._stores.write(dimensions.save_months, change, [begun])
        among = Positions(before.position, done.position)
        await self._stores.usage(add_month, slots, done.month, among)
        await self._stores.write(dimensions.save_months, change, [done])

    async def _last_pass(self, change: DimensionChange, slots: Slots, after: int) -> None:
        """Add what came since, and all cancellations; the switch alone ends it."""
        rest = await self._stores.usage(find_months, slots, Positions(after, _LAST))
        cancelled = await self._stores.usage(find_months, slots, None)
        known = await self._known(change)
        await self._stores.write(dimensions.save_months, change, _begun(known, rest, cancelled))
        for month in rest:
            before = known.get(month.number)
            among = Positions(before.position if before else 0, _LAST)
            await self._stores.usage(add_month, slots, month.number, among)
        for month in cancelled:
            await self._stores.usage(add_month, slots, month.number, None)

    async def _known(self, change: DimensionChange) -> dict[int, RebuiltMonth]:
        months = await self._stores.read(dimensions.months, change)
        return {one.month: one for one in months}

    async def _clear(self) -> None:
        """Delete what is left of other versions, once nobody asks for it any more."""
        change = await self._stores.read(dimensions.oldest_uncleared)
        before = self._clock.now() - limits.REBUILD_FORMER_SECONDS * 1000
        if change is None or change.completed_at is None or change.completed_at > before:
            return
        _, slots = await self._stores.read(_slots, change)
        async with self._writing:
            await self._stores.usage(clear_former, slots)
            chunk = limits.RETAIN_CHUNK_ROWS_MAX
            while chunk == limits.RETAIN_CHUNK_ROWS_MAX:
                chunk = await self._stores.write(
                    dimensions.forget_combinations, change, limits.RETAIN_CHUNK_ROWS_MAX
                )
            await self._stores.write(dimensions.clear, change)


def _slots(connection: sa.Connection, change: DimensionChange) -> tuple[Meter, Slots]:
    """Return the meter of a change, and the slots that the change makes."""
    meter = meters.by_ids(connection, [change.meter])[change.meter]
    scope = accounts.scopes_by_id(connection)[change.scope]
    return meter, Slots(scope, change.meter, change.version, change.keys or ())


def _switch(connection: sa.Connection, stillness: Fence, change: DimensionChange, now: int) -> None:
    """Let the meter switch, if processing has stood still until now."""
    stillness.check(connection)
    dimensions.complete(connection, change, now)


def _begun(
    known: dict[int, RebuiltMonth], rest: Iterable[Month], cancelled: Iterable[Month]
) -> list[RebuiltMonth]:
    """Return the months of the last pass as begun."""
    numbers = {month.number for month in (*rest, *cancelled)}
    nothing = RebuiltMonth(0, 0, 0, begun=True)
    return [
        msgspec.structs.replace(known.get(number, nothing), month=number, begun=True)
        for number in numbers
    ]
