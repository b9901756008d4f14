"""Process: from journal rows to outcomes, and to the usage store.

One step takes the oldest journal rows, judges every event, and commits to the ledger, in one
transaction: the books, what is new about dimensions, the blocks to insert, and the release of the
journal rows. Then the blocks go to the usage store, each under its token, and are released: by the
commit of a later batch, or by one of their own when there is none.

- An event is judged exactly once: the judgement and the release of its journal row are one commit.
- A block is inserted at least once and counts exactly once: the usage store is asked whether it has
  a block that may have been inserted before. Blocks that a crash left behind go first.
- A step that fails changes nothing and is tried again, later and later, for as long as it takes.
- A few events wait in the journal until somebody asks; whoever asks waits for them (`reach`).
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.background import is_set_within
from meterhouse.engine.client import EngineClient
from meterhouse.engine.service import EngineService
from meterhouse.errors import StoreError
from meterhouse.identifiers.index import Identifiers
from meterhouse.ingest.accept import Acceptor
from meterhouse.judging.dimension import Combinations
from meterhouse.judging.judge import Verdict
from meterhouse.ledger import activity, adjustments, blocks, journal, rejections, tallies
from meterhouse.metrics import Metrics
from meterhouse.stores import Stores
from meterhouse.usage import block
from meterhouse.usage.store import UsageStore

log = logging.getLogger("meterhouse.process")


class ConflictError(Exception):
    """An identifier was claimed since the judgement; the events must be judged anew."""


class Processor:
    """Moves the journal into the usage store, one batch after the other.

    `busy` is set while it does so: neither when nothing is left nor while events are held back.
    """

    def __init__(
        self,
        stores: Stores,
        engine: EngineService | EngineClient,
        identifiers: Identifiers,
        acceptor: Acceptor,
        metrics: Metrics,
    ) -> None:
        self._stores = stores
        self._engine = engine
        self._identifiers = identifiers
        self._acceptor = acceptor
        self._metrics = metrics
        self._work = asyncio.Event()
        self._hurry = asyncio.Event()
        self._wanted = asyncio.Event()  # what is held back
        self._asked = -math.inf  # when somebody asked last
        self._readers = 0  # that wait
        self._moved = asyncio.Condition()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._stepping = asyncio.Lock()
        self._storing: asyncio.Task[None] | None = None
        self._ahead: asyncio.Task[list[bytes] | None] | None = None  # the next batch's judgement
        self._kept: list[Verdict] = []  # whose blocks are stored, and kept by the ledger still
        self.busy = asyncio.Event()
        self._committed = 0  # the last position of the newest batch that may be committed
        self._still = False
        self._held_to = 0.0  # the last position that was held back, infinite while nobody knows it
        self.stored_position = 0
        self._trouble: str | None = None

    def trouble(self) -> str | None:
        """Return why nothing is processed, None when it is.

        That the engine process has ended is found out here, and it is started again.
        """
        if self._trouble is None and self._engine.ended():
            self.wake()
            return "The process of the usage store has ended and is started again."
        return self._trouble

    async def start(self) -> None:
        """Finish what a crash left behind, then process from now on."""
        await self._store_left_behind()
        self._acceptor.journal_events = await self._stores.read(journal.pending_events)
        await self._move_to(await self._stores.read(_settled_position))
        self._work.set()
        self._task = asyncio.create_task(self._run())

    async def stop(self, seconds: float) -> None:
        """Process what is pending, for at most `seconds`; what is left stays in the journal."""
        if self._task is None:
            return
        self._stopping = True
        self._hurry_up()
        done, _ = await asyncio.wait({self._task}, timeout=seconds)
        if not done:
            self._task.cancel()
            log.warning("stopped with events still in the journal; the next start processes them")

    def wake(self) -> None:
        """Tell that the journal has new rows."""
        self._work.set()
        if self._acceptor.journal_events >= limits.PROCESS_HELD_EVENTS_MAX:
            self._wanted.set()

    async def reach(self, *, strong: bool) -> bool:
        """Wait until a question may be answered; return if all that was acknowledged can be read.

        A `strong` one waits for all of it, any other for what was held back because nobody asked;
        `CONSISTENCY_WAIT_SECONDS_MAX` at most.
        """
        seconds = limits.CONSISTENCY_WAIT_SECONDS_MAX
        if strong:
            return await self.settle(seconds)
        self._ask()
        if self._holds_back():
            await self._waited(seconds, lambda: not self._holds_back())
        return False

    async def settle(self, seconds: float) -> bool:
        """Wait until all that was acknowledged before this call can be read; False if time ran out.

        A waiting reader hurries the processor: it does not linger to fill a batch.
        """
        target = await self._stores.read(journal.last_position)
        if self.stored_position >= target:
            return True
        self._hurry_up()
        return await self._waited(seconds, lambda: self.stored_position >= target)

    @asynccontextmanager
    async def still(self) -> AsyncIterator[None]:
        """Keep both stores as they are, with nothing half-way between them."""
        async with self._stepping:
            await self._forget_ahead()
            if self._storing is not None:
                await asyncio.wait({self._storing})
            await self._store_left_behind()
            await self._stand(still=True)
            try:
                yield
            finally:
                await self._stand(still=False)

    async def _waited(self, seconds: float, until: Callable[[], bool]) -> bool:
        """Wait for batches until something holds; False if time ran out."""
        self._readers += 1
        try:
            async with asyncio.timeout(seconds), self._moved:
                await self._moved.wait_for(until)
        except TimeoutError:
            return False
        finally:
            self._readers -= 1
        return True

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._wanted.set()

    def _hurry_up(self) -> None:
        self._ask()
        self._work.set()
        self._hurry.set()

    async def _run(self) -> None:
        failures = 0
        while True:
            await self._work.wait()
            if not failures:
                await self._hold_back()
            self._work.clear()
            self.busy.set()
            started = time.perf_counter()
            try:
                async with self._stepping:
                    if failures:
                        await self._recover()
                    worked = await self._step(anew=failures > 0)
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
            self.busy.clear()
            if self._stopping and not self._work.is_set():
                return

    async def _recover(self) -> None:
        """Finish what a failure left behind, and count anew what a broken commit left unclear.

        The count goes through the writer's queue, so it comes in order with the acceptor's own.
        """
        await self._forget_ahead()
        await self._identifiers.recover(self._stores)
        await self._store_left_behind()
        self._acceptor.journal_events = await self._stores.write(journal.pending_events)

    async def _store_left_behind(self) -> None:
        """Let the ledger keep no block at all."""
        self._identifiers.stored(await store_left_behind(self._stores))
        self._kept.clear()

    async def _hold_back(self) -> None:
        """Leave events in the journal, where they are safe, until somebody asks or there are some.

        A batch costs much the same for one event as for a thousand. Who has just asked may do so
        again, and need not wait then.
        """
        self._wanted.clear()
        just_now = time.perf_counter() - limits.PROCESS_ASKED_MILLISECONDS / 1000
        asked = self._readers > 0 or self._asked > just_now
        some = self._acceptor.journal_events >= limits.PROCESS_HELD_EVENTS_MAX
        if not asked and not some and not self._stopping:
            self._held_to = math.inf
            self.busy.clear()
            await is_set_within(self._wanted, limits.PROCESS_HELD_MILLISECONDS_MAX / 1000)

    def _holds_back(self) -> bool:
        """Tell whether a reader would miss what was held back, and can wait for it."""
        return not self._still and self.stored_position < self._held_to

    async def _stand(self, *, still: bool) -> None:
        async with self._moved:
            self._still = still
            self._moved.notify_all()

    async def _let_go(self, position: int) -> None:
        """Tell up to where events were held back, now that this is known."""
        async with self._moved:
            self._held_to = min(self._held_to, position)
            self._moved.notify_all()

    async def _linger(self, started: float) -> None:
        """Let a batch gather, unless somebody waits for what is in it.

        Every insert makes a part that the usage store has to merge, so five a second are plenty.
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
            await self._move_to(await self._stores.read(_settled_position))
            await self._let_go(0)
            return False
        taken = await self._identifiers.find(self._stores, digests)
        verdict = await asyncio.to_thread(self._engine.conclude, taken)
        self._committed = verdict.last
        await self._let_go(verdict.last)
        events = sum(verdict.counts.values())
        if self._acceptor.journal_events - events >= limits.PROCESS_AHEAD_EVENTS:
            self._ahead = asyncio.create_task(
                asyncio.to_thread(self._engine.judge, verdict.positions)
            )
        kept, self._kept = self._kept, []
        await self._stores.write_then(
            lambda _: self._identifiers.claim(verdict.new_claims),
            _commit,
            verdict,
            _tokens(kept),
            self._identifiers,
        )
        self._released(kept)
        self._acceptor.journal_events -= events
        self._metrics.journal_events.set(self._acceptor.journal_events)
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
        return await asyncio.to_thread(self._engine.judge, anew=anew)

    async def _forget_ahead(self) -> None:
        """Forget what was judged ahead: by what was known before something failed or changed."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            await asyncio.gather(ahead, return_exceptions=True)

    async def _stored(self) -> None:
        """Wait until the batch before is stored; raises what went wrong with it."""
        storing, self._storing = self._storing, None
        if storing is not None:
            await storing

    async def _store(self, verdict: Verdict) -> None:
        for one in verdict.blocks:
            await self._stores.usage(UsageStore.insert, one.destination, one.body, one.token)
        await self._stores.usage(UsageStore.confirm)
        self._kept.append(verdict)
        settled = await self._stores.read(_settled_position)
        # Positions that were reserved and not needed count as settled, too, unless another batch
        # has left the journal meanwhile and is on its way.
        await self._move_to(settled if self._committed == verdict.last else verdict.last)

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

    async def _move_to(self, position: int) -> None:
        async with self._moved:
            self.stored_position = max(self.stored_position, position)
            self._moved.notify_all()
        self._metrics.stored_position.set(self.stored_position)


async def store_left_behind(stores: Stores) -> dict[int, list[bytes]]:
    """Bring the blocks that a crash or a failure left behind into the usage store.

    Returns the digests of the identifiers among them, by day.
    """
    left = await stores.read(blocks.read)
    for one in left:
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


def _settled_position(connection: sa.Connection) -> int:
    first = journal.first_position(connection)
    return journal.last_position(connection) if first is None else first - 1


def _commit(
    connection: sa.Connection, verdict: Verdict, stored: list[str], identifiers: Identifiers
) -> None:
    if identifiers.stand_against(verdict.new_claims, verdict.today):
        raise ConflictError
    tallies.add(connection, verdict.counts)
    activity.add(connection, verdict.activity)
    rejections.add(connection, verdict.rejections)
    Combinations.write(connection, verdict.combinations)
    blocks.put(connection, verdict.blocks)
    blocks.release(connection, stored)
    adjustments.complete(connection, verdict.adjustments)
    journal.release(connection, verdict.positions)
