"""Process: from the journal rows of a partition to outcomes, and to the usage store.

One step takes the oldest rows of the partition, judges every event, and commits to the ledger, in
one transaction: the books, what is new about dimensions, the blocks to insert, and the release of
the journal rows. Then the blocks go to the usage store, each under its token, and are released: by
the commit of a later batch, or by one of their own when there is none.

- An event is judged exactly once: the judgement and the release of its journal row are one commit.
  Where several processes share the ledger, that commit stands only if the partition is still this
  one's (`processing.lease`).
- A block is inserted at least once and counts exactly once: the usage store is asked whether it has
  a block that may have been inserted before. What a crash, or another process, left behind goes
  first.
- A step that fails changes nothing and is tried again, later and later, for as long as it takes.
- A few events wait in the journal until somebody asks; whoever asks waits for them.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.background import is_set_within
from meterhouse.engine.client import EngineClient
from meterhouse.engine.service import EngineService
from meterhouse.errors import OvertakenError, StoreError
from meterhouse.identifiers.index import Identifiers
from meterhouse.judging.dimension import Combinations
from meterhouse.judging.judge import Verdict
from meterhouse.ledger import (
    activity,
    adjustments,
    alerts,
    blocks,
    journal,
    partitions,
    rejections,
    tallies,
    touches,
)
from meterhouse.ledger.thresholds import any_watched
from meterhouse.metrics import Metrics
from meterhouse.processing.demand import Demand
from meterhouse.processing.lease import Lease
from meterhouse.stores import Stores
from meterhouse.usage import block
from meterhouse.usage.store import UsageStore

log = logging.getLogger("meterhouse.process")


class ConflictError(Exception):
    """Somebody else was faster since the judgement; the events must be judged anew."""


class Backlog(Protocol):
    """How many events are acknowledged and not judged, as far as this process knows."""

    journal_events: int


class Processor:
    """Moves one partition of the journal into the usage store, one batch after the other.

    All up to `stored_position` is stored. Where the ledger is shared, `as_of` is the instant of the
    database's clock up to which all that was committed is; and `lease` is the right to do all this.
    """

    def __init__(
        self,
        number: int,
        stores: Stores,
        engine: EngineService | EngineClient,
        identifiers: Identifiers,
        backlog: Backlog,
        demand: Demand,
        metrics: Metrics,
        lease: Lease | None = None,
    ) -> None:
        self.number = number
        self.lease = lease
        self.backlog = backlog
        self.stored_position = 0
        self.as_of = 0
        self.fence = lease.fence() if lease else None
        self._stores = stores.fenced(self.fence) if self.fence else stores
        self._engine = engine
        self._identifiers = identifiers
        self._demand = demand
        self._metrics = metrics
        self._work = asyncio.Event()
        self._hurry = asyncio.Event()
        self._wanted = asyncio.Event()  # what is held back
        self._stopping = False
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._stepping = asyncio.Lock()
        self._storing: asyncio.Task[None] | None = None
        self._ahead: asyncio.Task[list[bytes] | None] | None = None  # the next batch's judgement
        self._kept: list[Verdict] = []  # whose blocks are stored, and kept by the ledger still
        self._committed = math.inf  # the newest batch that may be committed; unknown at first
        self._stored_batch = 0  # the newest that is stored
        self._still = False
        self._held_to = 0.0  # the last position that was held back, infinite while nobody knows it
        self._trouble: str | None = None
        self._admit: Callable[[], Awaitable[None]] | None = None  # before the first step

    def trouble(self) -> str | None:
        """Return why nothing is processed, None when it is."""
        return self._trouble

    async def start(self) -> None:
        """Finish what a crash left behind, then process from now on."""
        await self._recover()
        await self._move_to(await self._stores.read(_settled, self.number))
        self._begin(failures=0)

    def take_over(self, admit: Callable[[], Awaitable[None]]) -> None:
        """Process once that is admitted, beginning with what another process may have left."""
        self._admit = admit
        self._begin(failures=1)

    async def stop(self, seconds: float) -> None:
        """Process what is pending, for at most `seconds`; what is left stays in the journal."""
        if self._task is None:
            return
        self._stopping = True
        self.hurry()
        done, _ = await asyncio.wait({self._task}, timeout=seconds)
        if not done:
            self._task.cancel()
            log.warning("stopped with events still in the journal; the next start processes them")

    def close(self) -> None:
        """Begin no other step; `leave` or `halt` follows."""
        self._closing = True

    async def leave(self) -> None:
        """End with nothing half-way: finish the batch that is under way, and begin no other."""
        async with self._stepping:
            await self._forget_ahead()
            try:
                await self._stored()
                await self._release()
            except Exception as error:  # noqa: BLE001 - the next owner begins with what is left
                log.warning("partition %d is left with a batch half-way: %s", self.number, error)
            await self._end()

    async def halt(self) -> None:
        """End, now that the partition is another process's: nothing of ours can be committed."""
        async with self._stepping:
            await self._pause()
            await self._end()

    def wake(self) -> None:
        """Tell that the journal has new rows."""
        self._work.set()
        if self.backlog.journal_events >= limits.PROCESS_HELD_EVENTS_MAX:
            self._wanted.set()

    def want(self) -> None:
        """Tell that somebody asks for what is held back."""
        self._wanted.set()

    def hurry(self) -> None:
        """Tell that somebody waits: do not linger to fill a batch."""
        self._demand.ask()
        self._wanted.set()
        self._work.set()
        self._hurry.set()

    def holds_back(self) -> bool:
        """Tell whether a reader would miss what was held back, and can wait for it."""
        return not self._still and self.stored_position < self._held_to

    async def look(self, instant: int, *, empty: bool) -> None:
        """Hear what the journal had of the partition in a view of the ledger as of an instant."""
        if not empty:
            self.wake()
        elif self._stored_batch == self._committed:
            await self._move_to(Settled(self.stored_position, instant))

    @asynccontextmanager
    async def still(self) -> AsyncIterator[None]:
        """Keep both stores as they are, with nothing of the partition half-way between them."""
        async with self._stepping:
            await self._pause()
            await self._store_left_behind()
            await self._stand(still=True)
            try:
                yield
            finally:
                await self._stand(still=False)

    def _begin(self, failures: int) -> None:
        self._work.set()
        self._task = asyncio.create_task(self._run(failures))

    async def _end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._demand.rest(self.number)
        await self._let_go(0)

    async def _run(self, failures: int) -> None:
        while True:
            await self._work.wait()
            if not failures:
                await self._hold_back()
            self._work.clear()
            self._demand.work(self.number)
            started = time.perf_counter()
            try:
                worked = await self._take_step(failures)
            except OvertakenError as error:
                log.info("partition %d is processed no more: %s", self.number, error)
                return
            except Exception as error:
                failures += 1
                self._work.set()
                if isinstance(error, ConflictError):
                    continue
                self._trouble = _reason(error)
                await self._let_go(0)  # nobody waits for what fails
                self._metrics.process_failures.inc()
                log.exception("a batch failed and will be tried again (failure %d)", failures)
                await asyncio.sleep(_retry_seconds(failures))
                continue
            failures = 0
            self._trouble = None
            if worked:
                self._work.set()
                self._metrics.batch_seconds.observe(time.perf_counter() - started)
                await self._linger(started)
                continue
            self._demand.rest(self.number)
            if self._stopping and not self._work.is_set():
                return

    async def _take_step(self, failures: int) -> bool:
        """Process one batch, as `_step` does, once and as long as that may be done."""
        if self._admit is not None:
            await self._admit()
            self._admit = None
        async with self._stepping:
            if self._closing:
                raise OvertakenError("It is given back.")
            if failures:
                await self._recover()
            return await self._step(anew=failures > 0)

    async def _recover(self) -> None:
        """Finish what was left behind, and count anew what a broken commit left unclear.

        The count goes through the writer's queue, so it comes in order with the acceptor's own.
        """
        await self._pause()
        if self.lease is not None:  # answers have to hold what a former owner has stored
            await self._stores.usage(UsageStore.sync)
        await self._identifiers.recover(self._stores, self.number)
        await self._store_left_behind()
        self.backlog.journal_events = await self._stores.write(journal.pending_events, self.number)

    async def _store_left_behind(self) -> None:
        """Let the ledger keep no block of the partition at all."""
        left = await store_left_behind(self._stores, self.number, self.lease)
        self._identifiers.stored(left)
        self._kept.clear()
        self._committed = self._stored_batch

    async def _hold_back(self) -> None:
        """Leave events in the journal, where they are safe, until somebody asks or there are some.

        A batch costs much the same for one event as for a thousand. Who has an alert waits, or a
        threshold.
        """
        self._wanted.clear()
        some = self.backlog.journal_events >= limits.PROCESS_HELD_EVENTS_MAX
        if self._demand.asked() or some or self._stopping:
            return
        if not await self._stores.read(_is_awaited):
            self._held_to = math.inf
            self._demand.rest(self.number)
            await is_set_within(self._wanted, limits.PROCESS_HELD_MILLISECONDS_MAX / 1000)

    async def _stand(self, *, still: bool) -> None:
        self._still = still
        await self._demand.moved()

    async def _let_go(self, position: int) -> None:
        """Tell up to where events were held back, now that this is known."""
        self._held_to = min(self._held_to, position)
        await self._demand.moved()

    async def _linger(self, started: float) -> None:
        """Let a batch gather, unless somebody waits for what is in it.

        Every insert makes parts that the usage store has to merge, so five a second are plenty, of
        all the processors here together.
        """
        lingers = limits.PROCESS_LINGER_MILLISECONDS / 1000 * self._demand.processors
        left = started + lingers - time.perf_counter()
        if left > 0 and not self._stopping and not await is_set_within(self._hurry, left):
            return
        if not self._stopping:
            self._hurry.clear()

    async def _step(self, *, anew: bool) -> bool:
        """Process one batch; False when the journal is empty and everything is stored.

        While a batch is committed the next one is judged, if the journal has enough for it; while a
        batch goes into the usage store the next one is committed.
        """
        digests = await self._judged(anew=anew)
        if digests is None:
            await self._stored()
            await self._release()
            await self._move_to(await self._stores.read(_settled, self.number))
            await self._let_go(0)
            return False
        taken = await self._identifiers.find(self._stores, digests)
        verdict = await asyncio.to_thread(self._engine.conclude, self.number, taken)
        await self._let_go(verdict.last)
        events = sum(verdict.counts.values())
        if self.backlog.journal_events - events >= limits.PROCESS_AHEAD_EVENTS:
            self._ahead = asyncio.create_task(
                asyncio.to_thread(self._engine.judge, self.number, verdict.under_way)
            )
        self._committed = verdict.batch
        kept, self._kept = self._kept, []
        await self._stores.write_then(
            lambda _: self._identifiers.claim(verdict.new_claims),
            _commit,
            verdict,
            _tokens(kept),
            self._identifiers,
        )
        self._released(kept)
        self.backlog.journal_events = max(0, self.backlog.journal_events - events)
        for line, events in verdict.counts.items():
            self._metrics.events.labels(line.outcome, line.code).inc(events)
        await self._stored()
        self._storing = asyncio.create_task(self._store(verdict))
        return True

    async def _judged(self, *, anew: bool) -> list[bytes] | None:
        """Return what the next batch asks for; it may have been judged ahead."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            return await ahead
        return await asyncio.to_thread(self._engine.judge, self.number, anew=anew)

    async def _forget_ahead(self) -> None:
        """Forget what was judged ahead: by what was known before something failed or changed."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            await asyncio.gather(ahead, return_exceptions=True)

    async def _pause(self) -> None:
        """Have nothing under way; whatever of it failed is left behind."""
        await self._forget_ahead()
        storing, self._storing = self._storing, None
        if storing is not None:
            await asyncio.gather(storing, return_exceptions=True)

    async def _stored(self) -> None:
        """Wait until the batch before is stored; raises what went wrong with it."""
        storing, self._storing = self._storing, None
        if storing is not None:
            await storing

    async def _store(self, verdict: Verdict) -> None:
        for one in verdict.blocks:
            if self.lease is not None:
                self.lease.assure()
            await self._stores.usage(UsageStore.insert, one.destination, one.body, one.token)
        await self._stores.usage(UsageStore.confirm)
        self._kept.append(verdict)
        self._stored_batch = verdict.batch
        settled = await self._stores.read(_settled, self.number)
        # Positions that were reserved and not needed count as settled, too, unless another batch
        # has left the journal meanwhile and is on its way.
        if self._committed != verdict.batch:
            settled = Settled(verdict.last, 0)
        await self._move_to(Settled(settled.position, max(settled.as_of, verdict.as_of)))

    async def _release(self) -> None:
        """Release the blocks that are stored, when no batch comes that would do it by the way."""
        kept, self._kept = self._kept, []
        tokens = _tokens(kept)
        if tokens:
            await self._stores.write(blocks.release, tokens)
        self._released(kept)

    def _released(self, kept: list[Verdict]) -> None:
        for verdict in kept:
            self._identifiers.stored(verdict.claims)

    async def _move_to(self, settled: "Settled") -> None:
        self.stored_position = max(self.stored_position, settled.position)
        self.as_of = max(self.as_of, settled.as_of)
        await self._demand.moved()


class Settled(NamedTuple):
    """Up to where all of a partition is judged: a position, and an instant, 0 where nothing tells.

    What was committed later than that instant may be judged as well.
    """

    position: int
    as_of: int


async def store_left_behind(
    stores: Stores, partition: int | None = None, lease: Lease | None = None
) -> dict[int, list[bytes]]:
    """Bring the blocks that a crash or a failure left behind into the usage store.

    Those of one `partition` are brought, or all. Returns the digests of the identifiers among them,
    by day.
    """
    left = await stores.read(blocks.read, None, partition)
    for one in left:
        if lease is not None:
            lease.assure()
        await stores.usage(UsageStore.insert_again, one.destination, one.body, one.token)
    if left:
        await stores.usage(UsageStore.confirm)
        await stores.write(blocks.release, [one.token for one in left])
    claimed: dict[int, list[bytes]] = {}
    for one in left:
        if one.destination == "identifiers":
            for day, digests in block.claims(one.body).by_day().items():
                claimed.setdefault(day, []).extend(digests)
    return claimed


def _tokens(verdicts: list[Verdict]) -> list[str]:
    return [one.token for verdict in verdicts for one in verdict.blocks]


def _retry_seconds(failures: int) -> float:
    """Return how long to wait after so many failures in a row; nobody hurries a failing store."""
    doublings = min(failures, limits.PROCESS_RETRY_DOUBLINGS_MAX)
    return min(0.05 * 2.0**doublings, limits.PROCESS_RETRY_SECONDS_MAX)


def _reason(error: Exception) -> str:
    if isinstance(error, StoreError):
        return str(error)
    return "Events are acknowledged, but cannot be processed; the log tells why."


def _is_awaited(connection: sa.Connection) -> bool:
    """Tell whether somebody waits to be told, or billed, when usage comes."""
    return alerts.any_active(connection) or any_watched(connection)


def _settled(connection: sa.Connection, partition: int) -> Settled:
    instant = partitions.instant(connection)
    first = journal.first_position(connection, partition)
    if first is None:
        return Settled(journal.last_position(connection), instant)
    return Settled(first - 1, 0)


def _commit(
    connection: sa.Connection, verdict: Verdict, stored: list[str], identifiers: Identifiers
) -> None:
    if identifiers.stand_against(verdict.new_claims, verdict.today):
        raise ConflictError
    if partitions.next_batch(connection, verdict.partition) != verdict.batch:
        raise ConflictError
    tallies.add(connection, verdict.counts)
    activity.add(connection, verdict.activity)
    rejections.add(connection, verdict.rejections, verdict.partition)
    blocks.put(connection, verdict.blocks)
    touches.put(connection, verdict.touches)
    blocks.release(connection, stored)
    adjustments.complete(connection, verdict.adjustments)
    journal.release(connection, verdict.positions)
    if not Combinations.write(connection, verdict.combinations):
        raise ConflictError
