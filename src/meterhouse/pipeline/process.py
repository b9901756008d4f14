"""Process: from journal rows to outcomes, and to the usage store.

One step takes the oldest journal rows, judges every event, and commits to the ledger, in one
transaction: the books, what is new about dimensions, the blocks to insert, and the release of the
journal rows. Then the blocks go to the usage store, each under its token, and are released.

- An event is judged exactly once: the judgement and the release of its journal row are one commit.
- A block is inserted at least once and counts exactly once: the usage store is asked whether it has
  a block that may have been inserted before. Blocks that a crash left behind go first.
- A step that fails changes nothing and is tried again, later and later, for as long as it takes.
"""

import asyncio
import logging
import secrets
import time
from collections import Counter
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from meterhouse import limits
from meterhouse.ledger import (
    accounts,
    adjustments,
    blocks,
    customers,
    journal,
    meters,
    tallies,
)
from meterhouse.ledger.blocks import Block
from meterhouse.ledger.journal import Cancellation, Entry
from meterhouse.metering.model import AcceptedEvent, MeterEvent, RejectedEvent, Scope, StoredEvent
from meterhouse.metering.validation import Catalog, judge
from meterhouse.metering.window import MILLISECONDS
from meterhouse.metrics import Metrics
from meterhouse.pipeline.accept import Acceptor
from meterhouse.pipeline.deduplicate import Deduplicated, deduplicate
from meterhouse.pipeline.deduplicate import write as write_claims
from meterhouse.pipeline.dimension import Combinations
from meterhouse.pipeline.stores import Stores
from meterhouse.usage import block
from meterhouse.usage.store import UsageStore

log = logging.getLogger("meterhouse.process")


class Batch(NamedTuple):
    """What one step found out: outcomes, what is new, and the last position that it covers."""

    accepted: list[AcceptedEvent]
    rejected: list[RejectedEvent]
    deduplicated: Deduplicated
    cancellations: list[Cancellation]
    combinations: list[tuple[str, str, bytes]]
    scopes: dict[int, Scope]
    first: int
    last: int


class Processor:
    """Moves the journal into the usage store, one batch after the other."""

    def __init__(
        self, stores: Stores, acceptor: Acceptor, metrics: Metrics, deduplication_days: int
    ) -> None:
        self._stores = stores
        self._acceptor = acceptor
        self._metrics = metrics
        self._window = deduplication_days * MILLISECONDS["day"]
        self._combinations = Combinations()
        self._work = asyncio.Event()
        self._hurry = asyncio.Event()
        self._moved = asyncio.Condition()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self.stepping = asyncio.Lock()  # held during a step; who takes it sees the books still
        self.stored_position = 0

    async def start(self) -> None:
        """Finish what a crash left behind, then process from now on."""
        await store_left_behind(self._stores)
        self._acceptor.journal_events = await self._stores.read(journal.pending_events)
        await self._move_to(await self._stores.read(_settled_position))
        self._work.set()
        self._task = asyncio.create_task(self._run())

    async def stop(self, seconds: float) -> None:
        """Process what is pending, for at most `seconds`; what is left stays in the journal."""
        if self._task is None:
            return
        self._stopping = True
        self.wake()
        self._hurry.set()
        done, _ = await asyncio.wait({self._task}, timeout=seconds)
        if not done:
            self._task.cancel()
            log.warning("stopped with events still in the journal; the next start processes them")

    def wake(self) -> None:
        """Tell that the journal has new rows."""
        self._work.set()

    async def settle(self, seconds: float) -> bool:
        """Wait until all that was acknowledged before this call can be read; False if time ran out.

        A waiting reader hurries the processor: it does not linger to fill a batch.
        """
        target = await self._stores.read(journal.last_position)
        if self.stored_position >= target:
            return True
        self._hurry.set()
        self.wake()
        try:
            async with asyncio.timeout(seconds), self._moved:
                await self._moved.wait_for(lambda: self.stored_position >= target)
        except TimeoutError:
            return False
        return True

    async def _run(self) -> None:
        failures = 0
        while True:
            await self._work.wait()
            self._work.clear()
            started = time.perf_counter()
            try:
                async with self.stepping:
                    if failures:
                        await self._recover()
                    last = await self._step()
                    # Positions that were reserved and not needed count as settled, too.
                    await self._move_to(await self._stores.read(_settled_position))
            except Exception as error:
                failures += 1
                self._combinations.clear()
                self._work.set()
                if isinstance(error, IntegrityError) and failures == 1:
                    continue  # an identifier was claimed since the judgement: judge again
                self._metrics.process_failures.inc()
                log.exception("a batch failed and will be tried again (failure %d)", failures)
                await asyncio.sleep(_retry_seconds(failures))
                continue
            failures = 0
            if last:
                self._work.set()
                self._metrics.batch_seconds.observe(time.perf_counter() - started)
                await self._linger(started)
            elif self._stopping and not self._work.is_set():
                return

    async def _recover(self) -> None:
        """Finish what a failure left behind, and count anew what a broken commit left unclear.

        The count goes through the writer's queue, so it comes in order with the acceptor's own.
        """
        await store_left_behind(self._stores)
        self._acceptor.journal_events = await self._stores.write(journal.pending_events)

    async def _linger(self, started: float) -> None:
        """Let a batch gather, unless somebody waits for what is in it.

        Every insert makes a part that the usage store has to merge, so ten a second is plenty.
        """
        left = started + limits.PROCESS_LINGER_MILLISECONDS / 1000 - time.perf_counter()
        if left > 0 and not self._stopping:
            try:
                await asyncio.wait_for(self._hurry.wait(), left)
            except TimeoutError:
                return
        if not self._stopping:
            self._hurry.clear()

    async def _step(self) -> int:
        """Process one batch and return its last position, 0 when the journal is empty."""
        batch = await self._stores.read(self._judge)
        if batch is None:
            return 0
        cancelled = await self._find_cancelled(batch)
        made = await asyncio.to_thread(_blocks, batch, cancelled)
        counts = _counts(batch)
        await self._stores.write(_commit, batch, made, counts)
        self._acceptor.journal_events -= sum(counts.values())
        self._metrics.journal_events.set(self._acceptor.journal_events)
        for line, events in counts.items():
            self._metrics.events.labels(line.outcome, line.code).inc(events)
        await self._store(made)
        return batch.last

    def _judge(self, connection: sa.Connection) -> Batch | None:
        entries = journal.read(
            connection, limits.PROCESS_BATCH_EVENTS_MAX, limits.PROCESS_BATCH_ROWS_MAX
        )
        if not entries:
            return None
        positioned = [
            (entry.position + index, event)
            for entry in entries
            for index, event in enumerate(entry.events)
        ]
        catalog = _catalog(connection, [event for _, event in positioned])
        accepted: list[AcceptedEvent] = []
        rejected: list[RejectedEvent] = []
        for position, event in positioned:
            outcome = judge(position, event, catalog)
            if isinstance(outcome, AcceptedEvent):
                accepted.append(outcome)
            else:
                rejected.append(outcome)
        admission = self._combinations.look_up(connection, accepted, catalog.meters)
        deduplicated = deduplicate(connection, accepted, self._window, admission.refuse)
        return Batch(
            deduplicated.kept,
            rejected + deduplicated.rejected,
            deduplicated,
            [cancellation for entry in entries for cancellation in entry.cancellations],
            admission.new,
            accounts.scopes_by_id(connection),
            entries[0].position,
            _last(entries),
        )

    async def _find_cancelled(self, batch: Batch) -> list[StoredEvent]:
        """Return the events that are cancelled.

        A cancellation was only taken because the usage store had its event. Where the store has
        lost it since, nothing is left to cancel; that must not hold up everybody else's usage.
        """
        found: list[StoredEvent] = []
        for cancellation in batch.cancellations:
            stored = await self._stores.usage(
                UsageStore.find,
                batch.scopes[cancellation.scope],
                cancellation.meter,
                cancellation.position,
            )
            if stored is not None:
                found.append(stored)
            else:
                log.error(
                    "the usage store has lost the event at position %d that %s cancels",
                    cancellation.position,
                    cancellation.adjustment,
                )
        return found

    async def _store(self, made: list[Block]) -> None:
        for one in made:
            await self._stores.usage(UsageStore.insert, one.destination, one.body, one.token)
        await _release(self._stores, made)

    async def _move_to(self, position: int) -> None:
        async with self._moved:
            self.stored_position = max(self.stored_position, position)
            self._moved.notify_all()
        self._metrics.stored_position.set(self.stored_position)


def _retry_seconds(failures: int) -> float:
    """Return how long to wait after so many failures in a row; nobody hurries a failing store."""
    doublings = min(failures, limits.PROCESS_RETRY_DOUBLINGS_MAX)
    return min(0.05 * 2.0**doublings, limits.PROCESS_RETRY_SECONDS_MAX)


async def store_left_behind(stores: Stores) -> None:
    """Bring the blocks that a crash or a failure left behind into the usage store."""
    left = await stores.read(blocks.read)
    for one in left:
        await stores.usage(UsageStore.insert_again, one.destination, one.body, one.token)
    await _release(stores, left)


async def _release(stores: Stores, stored: list[Block]) -> None:
    if stored:
        await stores.write(blocks.release, [one.token for one in stored])


def _last(entries: list[Entry]) -> int:
    return max(entry.last for entry in entries)


def _settled_position(connection: sa.Connection) -> int:
    first = journal.first_position(connection)
    return journal.last_position(connection) if first is None else first - 1


def _catalog(connection: sa.Connection, events: list[MeterEvent]) -> Catalog:
    """Read what judging these events needs, in the one view of the ledger that `connection` has."""
    by_id = meters.by_ids(connection, {event.meter for event in events if event.meter})
    names = {(event.scope, event.event_name) for event in events if not event.meter}
    active = meters.active_by_names(connection, names)
    archived = meters.archived_by_names(connection, names)
    by_id |= {meter.id: meter for meter in active.values()}
    keys = {meter.customer_key for meter in by_id.values()}
    wanted = {
        (event.scope, event.payload[key])
        for event in events
        for key in keys
        if key in event.payload
    }
    return Catalog(
        meters=by_id,
        active=active,
        archived=archived,
        customers=customers.known(connection, wanted),
    )


def _blocks(batch: Batch, cancelled: list[StoredEvent]) -> list[Block]:
    """Make the inserts: one for each table and partition, each under a token of its own.

    The token has a random part, so that a ledger that starts anew beside a usage store that is
    kept never has a block mistaken for an old one.
    """
    name = f"{batch.first}-{batch.last}-{secrets.token_hex(8)}"
    made = [
        *block.accepted(batch.accepted, batch.scopes),
        *block.cancelled(cancelled),
        *block.rejected(batch.rejected, batch.scopes),
    ]
    return [
        Block(f"{name}-{number}", one.destination, one.rows, one.body)
        for number, one in enumerate(made)
    ]


def _counts(batch: Batch) -> dict[tallies.Line, int]:
    counts = Counter(tallies.Line(one.event.scope, "accepted") for one in batch.accepted)
    counts.update(
        tallies.Line(one.event.scope, "duplicate") for one in batch.deduplicated.duplicates
    )
    counts.update(tallies.Line(one.event.scope, "rejected", one.code) for one in batch.rejected)
    return dict(counts)


def _commit(
    connection: sa.Connection, batch: Batch, made: list[Block], counts: dict[tallies.Line, int]
) -> None:
    tallies.add(connection, counts)
    write_claims(connection, batch.deduplicated)
    Combinations.write(connection, batch.combinations)
    blocks.put(connection, made)
    adjustments.complete(connection, [one.adjustment for one in batch.cancellations])
    journal.release(connection, batch.last)
