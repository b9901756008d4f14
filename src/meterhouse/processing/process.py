"""Process: from journal rows to outcomes, and to the usage store.

One step takes the oldest rows of all partitions that this process has, judges every event, and
commits to the ledger, in one transaction: the books, what is new about dimensions, the blocks to
insert, and the release of the journal rows. Then the blocks go to the usage store, each under its
token, and are released: by the commit of a later batch, or by one of their own when there is none.

- An event is judged exactly once: the judgement and the release of its journal row are one commit.
  Where several processes share the ledger, that commit stands only if all partitions of the batch
  are still this one's (`processing.lease`); else the rest is judged anew.
- A block is inserted at least once and counts exactly once: the usage store is asked whether it has
  a block that may have been inserted before. What a crash, or another process, left behind goes
  first (`processing.parts`).
- Partitions come and go when nothing of any of them is half-way.
- A step that fails changes nothing and is tried again, later and later, for as long as it takes.
- A few events wait in the journal until somebody asks; whoever asks waits for them.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
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
from meterhouse.judging.judge import UnderWay, Verdict
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
from meterhouse.processing.parts import Part, Parts
from meterhouse.stores import Stores
from meterhouse.usage.store import UsageStore

log = logging.getLogger("meterhouse.process")

_COMING_SECONDS = limits.PARTITION_COMING_MILLISECONDS / 1000


class ConflictError(Exception):
    """Somebody else was faster since the judgement; the events must be judged anew."""


class Backlog(Protocol):
    """How many events are acknowledged and not judged, as far as this process knows."""

    journal_events: int


class Waiting:
    """The events that wait in the partitions of this process, as far as it has looked."""

    journal_events = 0


class Processor:
    """Moves partitions of the journal into the usage store, one batch after the other.

    All up to `stored_position` is stored. Where the ledger is shared, the `as_of` of each part is
    the instant of the database's clock up to which all that was committed is.
    """

    def __init__(
        self,
        stores: Stores,
        engine: EngineService | EngineClient,
        identifiers: Identifiers,
        demand: Demand,
        metrics: Metrics,
        backlog: Backlog | None = None,
        arrived: Callable[[], None] = lambda: None,
    ) -> None:
        """Process; `backlog` counts what waits, where this process is the one that takes events.

        `arrived` is called when a partition has come of which the usage store may know more.
        """
        self.backlog = backlog or Waiting()
        self.stored_position = 0
        self._stores = stores
        self._engine = engine
        self._identifiers = identifiers
        self._demand = demand
        self._metrics = metrics
        self._parts = Parts(stores, identifiers, arrived)
        self._work = asyncio.Event()
        self._hurry = asyncio.Event()
        self._wanted = asyncio.Event()  # what is held back
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._stepping = asyncio.Lock()
        self._storing: asyncio.Task[None] | None = None
        self._ahead: asyncio.Task[list[bytes] | None] | None = None  # the next batch's judgement
        self._kept: list[Verdict] = []  # whose blocks are stored, and kept by the ledger still
        self._begun = 0  # how many batches may be committed
        self._done = 0  # how many of these are stored
        self._resting = asyncio.Lock()
        self._still = 0  # how many want it
        self._doubted = False  # whether anything may be committed that is not noted here
        self._held_to = 0.0  # the last position that was held back, infinite while nobody knows it
        self._trouble: str | None = None

    def trouble(self) -> str | None:
        """Return why nothing is processed, None when it is."""
        return self._trouble

    async def start(self, parts: Collection[Part]) -> None:
        """Finish what a crash left behind, then process from now on, what nobody else can have."""
        self._parts.begin(parts)
        await self._recover()
        await self._move_to(await self._stores.read(_settled, self._parts.numbers))
        self._begin()

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

    def join(self, part: Part) -> None:
        """Process a partition, too, once nothing is left of what another process had begun."""
        self._parts.coming.append(part)
        self._wanted.set()
        self._work.set()
        if self._task is None:
            self._begin()

    async def leave(self, part: Part) -> None:
        """End with a partition with nothing half-way; once it is `closing` no step begins."""
        async with self._between_steps():
            if part in self._parts.members:
                try:
                    if self._doubted:
                        await self._recover()
                    await self._drain()
                except Exception as error:  # noqa: BLE001 - the next owner begins with what is left
                    self._doubted = True
                    log.warning(
                        "partition %d is left with a batch half-way: %s", part.number, error
                    )
            await self._without(part)

    async def halt(self, part: Part) -> None:
        """End with a partition that is another process's: nothing of it can be committed."""
        async with self._between_steps():
            if part in self._parts.members:
                await self._pause()
                self._doubted = True
            await self._without(part)

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

    async def look(self, instant: int, waiting: Mapping[int, int]) -> None:
        """Hear what waits in the journal, by partition, in a view as of an instant."""
        for one in self._parts.members:
            one.backlog_events = waiting.get(one.number, 0)
            if one.number not in waiting and self._done == self._begun:
                one.as_of = max(one.as_of, instant)
        self.backlog.journal_events = sum(one.backlog_events for one in self._parts.members)
        if waiting.keys() & set(self._parts.numbers):
            self.wake()
        await self._demand.moved()

    @asynccontextmanager
    async def still(self, part: Part | None = None) -> AsyncIterator[None]:
        """Keep both stores as they are, with nothing half-way between them.

        That goes for all members, and for a `part` that is still coming, too.
        """
        async with self._resting:
            if not self._still:
                await self._come_to_rest()
            self._still += 1
        try:
            while part in self._parts.coming and not await self._parts.is_clean(part):  # noqa: ASYNC110 - others tell nobody
                await asyncio.sleep(_COMING_SECONDS)
            await self._demand.moved()
            yield
        finally:
            self._still -= 1
            if not self._still:
                self._stepping.release()
            await self._demand.moved()

    async def _come_to_rest(self) -> None:
        await self._stepping.acquire()
        try:
            await self._pause()
            await self._store_left_behind()
        except BaseException:
            self._stepping.release()
            raise

    @asynccontextmanager
    async def _between_steps(self) -> AsyncIterator[None]:
        """Keep a step from beginning, where it does not stand still anyhow."""
        async with self._resting:
            if self._still:
                yield
                return
            async with self._stepping:
                yield

    def _begin(self) -> None:
        self._work.set()
        self._task = asyncio.create_task(self._run())

    async def _without(self, part: Part) -> None:
        """Have a partition no more; with the last one the work ends."""
        self._parts.remove(part)
        self._work.set()
        if not self._parts and self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
            self._demand.busy.clear()
        await self._let_go(0)

    async def _run(self) -> None:
        failures = 0
        while True:
            await self._work.wait()
            try:
                if not failures and not self._parts.coming:
                    await self._hold_back()
                self._work.clear()
                self._demand.busy.set()
                started = time.perf_counter()
                worked = await self._take_step(anew=failures > 0)
            except Exception as error:
                failures += 1
                self._doubted = True
                self._work.set()
                if isinstance(error, ConflictError):
                    continue
                if isinstance(error, OvertakenError):
                    log.info("a batch is judged anew: %s", error)
                    await asyncio.sleep(_retry_seconds(failures))
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
            self._demand.busy.clear()
            if self._stopping and not self._work.is_set():
                return

    async def _take_step(self, *, anew: bool) -> bool:
        """Process one batch, as `_step` does, of all partitions that are here by now."""
        async with self._stepping:
            if self._parts.closing:
                return False
            if self._doubted:
                await self._recover()
            if self._parts.coming:
                anew |= await self._let_in()
            return await self._step(anew=anew)

    async def _let_in(self) -> bool:
        """Let partitions in that have come; those for which it is too early are looked at again."""
        came = await self._parts.let_in(self._drain)
        if came:
            await self._count()
        if self._parts.coming:
            asyncio.get_running_loop().call_later(_COMING_SECONDS, self._work.set)
        return came

    async def _recover(self) -> None:
        """Finish what was left behind, and count anew what a broken commit left unclear."""
        await self._pause()
        await self._parts.recover()
        self._forget_kept()
        await self._count()
        self._doubted = False

    async def _store_left_behind(self) -> None:
        """Let the ledger keep no block of the members at all."""
        await self._parts.bring()
        self._forget_kept()

    def _forget_kept(self) -> None:
        self._kept.clear()
        self._done = self._begun

    async def _count(self) -> None:
        """Count what waits, by way of the writer's queue: in order with the acceptor's counts."""
        self.backlog.journal_events = await self._stores.write(
            journal.pending_events, self._parts.numbers
        )

    async def _drain(self) -> None:
        """Have nothing half-way, and nothing of one partition kept under another."""
        await self._forget_ahead()
        await self._stored()
        await self._release()
        await self._parts.part()

    async def _hold_back(self) -> None:
        """Leave events in the journal, where they are safe, until somebody asks or there are some.

        A batch costs much the same for one event as for a thousand. Who has an alert waits, or a
        threshold.
        """
        self._wanted.clear()
        some = self.backlog.journal_events >= limits.PROCESS_HELD_EVENTS_MAX
        if self._demand.asked() or some or self._stopping:
            return
        held_to, self._held_to = self._held_to, math.inf  # whoever asks from now on waits
        if await self._stores.read(_is_awaited):
            await self._let_go(held_to)
            return
        self._demand.busy.clear()
        await is_set_within(self._wanted, limits.PROCESS_HELD_MILLISECONDS_MAX / 1000)

    async def _let_go(self, position: float) -> None:
        """Tell up to where events were held back, now that this is known."""
        self._held_to = min(self._held_to, position)
        await self._demand.moved()

    async def _linger(self, started: float) -> None:
        """Let a batch gather, unless somebody waits for what is in it.

        Every insert makes parts that the usage store has to merge, so five a second are plenty.
        """
        left = started + limits.PROCESS_LINGER_MILLISECONDS / 1000 - time.perf_counter()
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
            await self._move_to(await self._stores.read(_settled, self._parts.numbers))
            await self._let_go(0)
            return False
        taken = await self._identifiers.find(self._stores, digests)
        verdict = await asyncio.to_thread(self._engine.conclude, taken)
        await self._let_go(verdict.last)
        events = sum(verdict.events.values())
        if self.backlog.journal_events - events >= limits.PROCESS_AHEAD_EVENTS:
            self._ahead = asyncio.create_task(self._judge(verdict.under_way))
        self._begun += 1
        kept, self._kept = self._kept, []
        await self._parts.writing(verdict.batches).write_then(
            lambda _: self._identifiers.claim(verdict.new_claims),
            _commit,
            verdict,
            _tokens(kept),
            self._identifiers,
        )
        self._released(kept)
        self._count_out(verdict, events)
        await self._stored()
        self._storing = asyncio.create_task(self._store(verdict, self._begun))
        return True

    async def _judged(self, *, anew: bool) -> list[bytes] | None:
        """Return what the next batch asks for; it may have been judged ahead."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            return await ahead
        return await self._judge(anew=anew)

    async def _judge(
        self, under_way: UnderWay | None = None, *, anew: bool = False
    ) -> list[bytes] | None:
        numbers = self._parts.numbers
        if not numbers:
            return None
        return await asyncio.to_thread(self._engine.judge, numbers, under_way, anew=anew)

    def _count_out(self, verdict: Verdict, events: int) -> None:
        """Count events that wait no more, and what became of them."""
        self.backlog.journal_events = max(0, self.backlog.journal_events - events)
        for one in self._parts.members:
            one.backlog_events = max(0, one.backlog_events - verdict.events.get(one.number, 0))
        for line, counted in verdict.counts.items():
            self._metrics.events.labels(line.outcome, line.code).inc(counted)

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

    async def _store(self, verdict: Verdict, number: int) -> None:
        for one in verdict.blocks:
            self._parts.assure(verdict.under)
            await self._stores.usage(UsageStore.insert, one.destination, one.body, one.token)
        await self._stores.usage(UsageStore.confirm)
        self._kept.append(verdict)
        self._done = number
        settled = await self._stores.read(_settled, self._parts.numbers)
        # Positions that were reserved and not needed count as settled, too, unless another batch
        # has left the journal meanwhile and is on its way.
        if self._begun != number:
            settled = Settled(verdict.last, 0)
        await self._move_to(Settled(settled.position, max(settled.as_of, verdict.as_of)))

    async def _release(self) -> None:
        """Release the blocks that are stored, when no batch comes that would do it by the way."""
        kept, self._kept = self._kept, []
        tokens = _tokens(kept)
        if tokens:
            stores = self._parts.writing({verdict.under for verdict in kept})
            await stores.write(blocks.release, tokens)
        self._released(kept)

    def _released(self, kept: list[Verdict]) -> None:
        for verdict in kept:
            self._identifiers.stored(verdict.claims)

    async def _move_to(self, settled: "Settled") -> None:
        self.stored_position = max(self.stored_position, settled.position)
        for one in self._parts.members:
            one.as_of = max(one.as_of, settled.as_of)
        await self._demand.moved()


class Settled(NamedTuple):
    """Up to where all of some partitions is judged: a position, and an instant, 0 if nothing tells.

    What was committed later than that instant may be judged as well.
    """

    position: int
    as_of: int


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


def _settled(connection: sa.Connection, numbers: Collection[int]) -> Settled:
    instant = partitions.instant(connection)
    first = journal.first_position(connection, numbers)
    if first is None:
        return Settled(journal.last_position(connection), instant)
    return Settled(first - 1, 0)


def _commit(
    connection: sa.Connection, verdict: Verdict, stored: list[str], identifiers: Identifiers
) -> None:
    if identifiers.stand_against(verdict.new_claims, verdict.today):
        raise ConflictError
    if partitions.next_batches(connection, verdict.batches, verdict.under) != verdict.batches:
        raise ConflictError
    tallies.add(connection, verdict.counts)
    activity.add(connection, verdict.activity)
    rejections.add(connection, verdict.rejections, verdict.under)
    blocks.put(connection, verdict.blocks)
    touches.put(connection, verdict.touches)
    blocks.release(connection, stored)
    adjustments.complete(connection, verdict.adjustments)
    journal.release(connection, verdict.positions)
    if not Combinations.write(connection, verdict.combinations):
        raise ConflictError
