"""The partitions of this process, and what readers in the same process ask of who processes them.

A ledger that one process has to itself has one partition, which is processed from `start()` to
`stop()`. On one that is shared a partition comes with its lease and goes with it
(`processing.keeper`); readers ask the ledger how far all of them are (`processing.progress`).
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

from meterhouse import limits
from meterhouse.engine.client import EngineClient
from meterhouse.engine.service import EngineService
from meterhouse.identifiers.index import Identifiers
from meterhouse.identifiers.load import Loader
from meterhouse.ledger import journal
from meterhouse.metrics import Metrics
from meterhouse.processing.demand import Demand
from meterhouse.processing.lease import Lease
from meterhouse.processing.parts import Part
from meterhouse.processing.process import Backlog, Processor
from meterhouse.processing.stillness import Pauses, Rest
from meterhouse.stores import Stores

log = logging.getLogger("meterhouse.partitions")


class Partitions:
    """The partitions that this process has, and their processor."""

    def __init__(
        self,
        stores: Stores,
        engine: EngineService | EngineClient,
        identifiers: Identifiers,
        loader: Loader,
        metrics: Metrics,
        pauses: Pauses,
        backlog: Backlog | None = None,
    ) -> None:
        """Process; `backlog` counts what waits, where this process is the one that takes events."""
        self.demand = Demand()
        self.busy = self.demand.busy
        self.leases = [Lease(f"partition-{number}") for number in range(identifiers.partitions)]
        self._numbers = {lease: number for number, lease in enumerate(self.leases)}
        self._stores = stores
        self._engine = engine
        self._identifiers = identifiers
        self._metrics = metrics
        self._pauses = pauses
        self._parts: dict[int, Part] = {}
        self._rests: dict[int, Rest] = {}
        self._processor = Processor(
            stores, engine, identifiers, self.demand, metrics, backlog, loader.wake
        )
        metrics.journal_events.set_function(lambda: self.journal_events)
        metrics.stored_position.set_function(lambda: self.stored_position)

    @property
    def owned(self) -> Sequence[Part]:
        """The partitions that are here now."""
        return [*self._parts.values()]

    @property
    def journal_events(self) -> int:
        """The events that wait to be judged here."""
        return self._processor.backlog.journal_events

    @property
    def stored_position(self) -> int:
        """The position up to which everything is stored, by what is known here."""
        return self._processor.stored_position

    # ---- A ledger that this process has to itself ----

    async def start(self) -> None:
        """Finish what a crash left behind, then process from now on."""
        self._parts[0] = Part(0)
        await self._processor.start(self.owned)

    async def stop(self, seconds: float) -> None:
        """Process what is pending, for at most `seconds`; what is left stays in the journal."""
        await self._processor.stop(seconds)

    def wake(self) -> None:
        """Tell that the journal has new rows."""
        self._processor.wake()

    def trouble(self) -> str | None:
        """Return why nothing is processed, None when it is.

        That the engine process has ended is found out here, and it is started again.
        """
        trouble = self._processor.trouble()
        if trouble is None and self._engine.ended():
            self.wake()
            return "The process of the usage store has ended and is started again."
        return trouble

    async def reach(self, *, strong: bool) -> bool:
        """Wait until a question may be answered; return if all that was acknowledged can be read.

        A `strong` one waits for all of it, any other for what was held back because nobody asked;
        `CONSISTENCY_WAIT_SECONDS_MAX` at most.
        """
        seconds = limits.CONSISTENCY_WAIT_SECONDS_MAX
        if strong:
            return await self.settle(seconds)
        self.demand.ask()
        self._processor.want()
        if self._processor.holds_back():
            await self.demand.until(lambda: not self._processor.holds_back(), seconds)
        return False

    async def settle(self, seconds: float) -> bool:
        """Wait until all that was acknowledged before this call can be read; False if time ran out.

        A waiting reader hurries the processor: it does not linger to fill a batch.
        """
        target = await self._stores.read(journal.last_position)
        if self.stored_position >= target:
            return True
        self._processor.hurry()
        return await self.demand.until(lambda: self.stored_position >= target, seconds)

    @asynccontextmanager
    async def still(self) -> AsyncIterator[None]:
        """Keep both stores as they are, with nothing half-way between them."""
        async with self._processor.still():
            yield

    # ---- A ledger that several processes share ----

    def gained(self, lease: Lease) -> None:
        """Process a partition from now on."""
        number = self._numbers[lease]
        part = self._parts[number] = Part(number, lease)
        stores, hold = self._stores.fenced(lease.fence()), partial(self._processor.still, part)
        rest = self._rests[number] = Rest(stores, self._pauses, number, hold)
        part.admits = rest.admits
        rest.start()
        self._processor.join(part)

    async def lost(self, lease: Lease) -> None:
        """End with a partition that another process has."""
        await self._end(self._numbers[lease], self._processor.halt)

    async def drained(self, lease: Lease) -> None:
        """End with a partition, so that nothing of it is half-way."""
        await self._end(self._numbers[lease], self._processor.leave)

    async def _end(self, number: int, how: Callable[[Part], Awaitable[None]]) -> None:
        part = self._parts.get(number)
        if part is None:
            return
        part.closing = True
        await self._rests.pop(number).stop()  # lest it holds the processor still
        await how(part)
        del self._parts[number]
        self._metrics.partition_backlog_events.remove(str(number))
        self._metrics.partition_lag_seconds.remove(str(number))
        self._identifiers.forget(number)

    async def look(self, instant: int, waiting: Mapping[int, int], *, asked: bool) -> None:
        """Hear what waits in the journal, by partition, in a view as of an instant.

        What a reader has asked for is hurried.
        """
        if asked:
            self.demand.ask()
        await self._processor.look(instant, waiting)
        if asked and waiting.keys() & self._parts.keys():
            self._processor.hurry()
        for one in self.owned:
            number = str(one.number)
            self._metrics.partition_backlog_events.labels(number).set(one.backlog_events)
            if one.as_of:
                lag = (instant - one.as_of) / 1000
                self._metrics.partition_lag_seconds.labels(number).set(lag)


async def process_pending(
    stores: Stores,
    engine: EngineService | EngineClient,
    identifiers: Identifiers,
    seconds: float,
) -> None:
    """Process what waits in a ledger that no server has; `seconds` at most."""
    numbers = range(identifiers.partitions)
    for number in numbers:
        identifiers.begin(number)
    processor = Processor(stores, engine, identifiers, Demand(), Metrics())
    await processor.start([Part(number) for number in numbers])
    await processor.stop(seconds)
