"""The processors of this process, and what readers in the same process ask of them.

A ledger that one process has to itself has one partition, which is processed from `start()` to
`stop()`. On one that is shared a processor comes with the lease of its partition and goes with it
(`processing.keeper`); readers ask the ledger how far all of them are (`processing.progress`).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from meterhouse import limits
from meterhouse.engine.client import EngineClient
from meterhouse.engine.service import EngineService
from meterhouse.identifiers.index import Identifiers
from meterhouse.identifiers.load import Loader
from meterhouse.ledger import journal
from meterhouse.metrics import Metrics
from meterhouse.processing.demand import Demand
from meterhouse.processing.lease import Lease
from meterhouse.processing.process import Backlog, Processor
from meterhouse.processing.stillness import Pauses, Rest
from meterhouse.stores import Stores

log = logging.getLogger("meterhouse.partitions")


class Waiting:
    """The events of a partition that wait, as the last look at the journal has shown."""

    journal_events = 0


class Partitions:
    """The processors of the partitions that this process has."""

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
        self._loader = loader
        self._metrics = metrics
        self._backlog = backlog
        self._pauses = pauses
        self._rests: dict[int, Rest] = {}
        self._processors: dict[int, Processor] = {}
        metrics.journal_events.set_function(lambda: self.journal_events)
        metrics.stored_position.set_function(lambda: self.stored_position)

    @property
    def owned(self) -> Sequence[Processor]:
        """The processors that are here now."""
        return [*self._processors.values()]

    @property
    def journal_events(self) -> int:
        """The events that wait to be judged here."""
        if self._backlog is not None:
            return self._backlog.journal_events
        return sum(one.backlog.journal_events for one in self.owned)

    @property
    def stored_position(self) -> int:
        """The position up to which everything is stored, by what is known here."""
        return min((one.stored_position for one in self.owned), default=0)

    # ---- A ledger that this process has to itself ----

    async def start(self) -> None:
        """Finish what a crash left behind, then process from now on."""
        await self._processor(0, None).start()

    async def stop(self, seconds: float) -> None:
        """Process what is pending, for at most `seconds`; what is left stays in the journal."""
        await asyncio.gather(*(one.stop(seconds) for one in self.owned))

    def wake(self) -> None:
        """Tell that the journal has new rows."""
        for one in self.owned:
            one.wake()

    def trouble(self) -> str | None:
        """Return why nothing is processed, None when it is.

        That the engine process has ended is found out here, and it is started again.
        """
        troubles = [one.trouble() for one in self.owned]
        if not any(troubles) and self._engine.ended():
            self.wake()
            return "The process of the usage store has ended and is started again."
        return next(filter(None, troubles), None)

    async def reach(self, *, strong: bool) -> bool:
        """Wait until a question may be answered; return if all that was acknowledged can be read.

        A `strong` one waits for all of it, any other for what was held back because nobody asked;
        `CONSISTENCY_WAIT_SECONDS_MAX` at most.
        """
        seconds = limits.CONSISTENCY_WAIT_SECONDS_MAX
        if strong:
            return await self.settle(seconds)
        self.demand.ask()
        for one in self.owned:
            one.want()
        if self._holds_back():
            await self.demand.until(lambda: not self._holds_back(), seconds)
        return False

    async def settle(self, seconds: float) -> bool:
        """Wait until all that was acknowledged before this call can be read; False if time ran out.

        A waiting reader hurries the processors: they do not linger to fill a batch.
        """
        target = await self._stores.read(journal.last_position)
        if self.stored_position >= target:
            return True
        for one in self.owned:
            one.hurry()
        return await self.demand.until(lambda: self.stored_position >= target, seconds)

    @asynccontextmanager
    async def still(self) -> AsyncIterator[None]:
        """Keep both stores as they are, with nothing half-way between them."""
        async with AsyncExitStack() as standing:
            for one in self.owned:
                await standing.enter_async_context(one.still())
            yield

    def _holds_back(self) -> bool:
        return any(one.holds_back() for one in self.owned)

    # ---- A ledger that several processes share ----

    def gained(self, lease: Lease) -> None:
        """Process a partition from now on."""
        number = self._numbers[lease]
        self._identifiers.begin(number)
        processor = self._processor(number, lease)
        stores = self._stores.fenced(lease.fence())
        rest = self._rests[number] = Rest(stores, self._pauses, number, processor.still)
        rest.start()
        processor.take_over(rest.admit)
        self._loader.wake()

    async def lost(self, lease: Lease) -> None:
        """End with a partition that another process has."""
        await self._end(self._numbers[lease], Processor.halt)

    async def drained(self, lease: Lease) -> None:
        """End with a partition, so that nothing of it is half-way."""
        await self._end(self._numbers[lease], Processor.leave)

    async def _end(self, number: int, how: Callable[[Processor], Awaitable[None]]) -> None:
        processor = self._processors.get(number)
        if processor is None:
            return
        processor.close()
        await self._rests.pop(number).stop()  # lest it holds the processor still
        await how(processor)
        del self._processors[number]
        self._metrics.partition_backlog_events.remove(str(number))
        self._metrics.partition_lag_seconds.remove(str(number))
        self.demand.processors = max(1, len(self._processors))
        self._identifiers.forget(number)
        await asyncio.to_thread(self._engine.forget, number)

    def show(self, instant: int) -> None:
        """Show in the metrics how far each is at an instant of the ledger's clock."""
        for one in self.owned:
            number = str(one.number)
            self._metrics.partition_backlog_events.labels(number).set(one.backlog.journal_events)
            if one.as_of:
                lag = (instant - one.as_of) / 1000
                self._metrics.partition_lag_seconds.labels(number).set(lag)

    def _processor(self, number: int, lease: Lease | None) -> Processor:
        self._processors[number] = made = Processor(
            number,
            self._stores,
            self._engine,
            self._identifiers,
            self._backlog or Waiting(),
            self.demand,
            self._metrics,
            lease,
        )
        self.demand.processors = len(self._processors)
        return made


async def process_pending(
    stores: Stores,
    engine: EngineService | EngineClient,
    identifiers: Identifiers,
    seconds: float,
) -> None:
    """Process what waits in a ledger that no server has; `seconds` at most for each partition."""
    demand, metrics = Demand(), Metrics()
    for number in range(identifiers.partitions):
        identifiers.begin(number)
        processor = Processor(number, stores, engine, identifiers, Waiting(), demand, metrics)
        await processor.start()
        await processor.stop(seconds)
