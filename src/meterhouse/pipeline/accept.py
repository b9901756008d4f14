"""Accept: from a checked request to a committed journal row.

Events that wait for the disk at the same time share one transaction and one fsync. In that
transaction each event is refused (no active meter, a taken identifier), or replayed (its
idempotency key was used before), or acknowledged; only after the commit does any sender hear.

An event, its claim on its identifier and the record of its idempotency key are written together or
not at all, so a sender who lost our answer may retry without counting twice.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.clock import Clock
from meterhouse.errors import Refusal
from meterhouse.ledger import idempotency, identifiers, journal, meters, tallies
from meterhouse.ledger.idempotency import Record
from meterhouse.metering.model import Meter, MeterEvent
from meterhouse.metering.value import InvalidValue, read_value
from meterhouse.metrics import Metrics
from meterhouse.pipeline.stores import Stores
from meterhouse.wire import envelope

_DAY_MILLISECONDS = 86_400_000
_HOUR_MILLISECONDS = 3_600_000


class Submission(NamedTuple):
    """A meter event whose request is in order, and what its sender shall hear if it is accepted.

    `record` is the answer to keep under the request's idempotency key; None without a key.
    `digits` tells that a value of too many digits is refused here rather than rejected later.
    """

    event: MeterEvent
    digits: bool
    record: Record | None


# What becomes of a submission: None is acknowledged; a record is replayed; a refusal is told.
Answer = Record | Refusal | None


class Acceptor:
    """Takes submissions from many requests and commits them in groups."""

    def __init__(
        self,
        stores: Stores,
        clock: Clock,
        metrics: Metrics,
        deduplication_days: int,
        on_commit: Callable[[int], None],
    ) -> None:
        self._stores = stores
        self._clock = clock
        self._metrics = metrics
        self._window = deduplication_days * _DAY_MILLISECONDS
        self._on_commit = on_commit
        self._waiting: list[tuple[Submission, asyncio.Future[Answer]]] = []
        self._task: asyncio.Task[None] | None = None
        self.journal_events = 0  # acknowledged and not judged; the processor lowers it

    async def accept(self, submission: Submission) -> Answer:
        """Commit one event to the journal; the answer stands once it is on disk.

        Raises a `Refusal` with status 429 when a queue is full, whatever the database raises
        when the commit fails.
        """
        queue = self.overloaded()
        if queue is not None:
            self._metrics.overloads.labels(queue).inc()
            raise envelope.overloaded()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((submission, future))
        if self._task is None:
            self._task = loop.create_task(self._run())
        return await future

    def overloaded(self) -> str | None:
        """Return the name of the queue that is full, None when there is room."""
        if len(self._waiting) >= limits.ACCEPT_WAITING_EVENTS_MAX:
            return "accept"
        if self.journal_events >= limits.JOURNAL_LAG_EVENTS_MAX:
            return "journal"
        return None

    async def _run(self) -> None:
        while self._waiting:
            group = self._waiting[: limits.ACCEPT_GROUP_EVENTS_MAX]
            del self._waiting[: limits.ACCEPT_GROUP_EVENTS_MAX]
            await self._commit([submission for submission, _ in group], [f for _, f in group])
        self._task = None

    async def _commit(
        self, submissions: list[Submission], futures: list[asyncio.Future[Answer]]
    ) -> None:
        started = time.perf_counter()
        try:
            committed = await self._stores.write(
                commit, submissions, self._clock.now(), self._window
            )
        except Exception as error:  # noqa: BLE001 - each sender hears it and may retry
            for future in futures:
                if not future.done():
                    future.set_exception(error)
            return
        self._metrics.commit_seconds.observe(time.perf_counter() - started)
        self._metrics.commit_events.observe(committed.events)
        self._metrics.events.labels("acknowledged", "").inc(committed.events)
        self.journal_events += committed.events
        for future, answer in zip(futures, committed.answers, strict=True):
            if not future.done():
                future.set_result(answer)
        if committed.events:
            self._on_commit(committed.last)

    async def drain(self) -> None:
        """Wait until nothing waits for a commit any more."""
        if self._task is not None:
            await self._task


class Committed(NamedTuple):
    """What one commit did: an answer for each submission, how many events, the last position."""

    answers: list[Answer]
    events: int
    last: int


def commit(
    connection: sa.Connection, submissions: Sequence[Submission], now: int, window: int
) -> Committed:
    """Append a group to the journal in one transaction; `window` is that of deduplication (ms)."""
    group = _Group(connection, submissions, now, window)
    answers = [group.answer(submission) for submission in submissions]
    group.write()
    return Committed(answers, len(group.events), group.position + len(group.events) - 1)


class _Group:
    """One commit in the making.

    Reserving positions comes first, because it locks the head of the journal: what is looked up
    afterwards cannot change before the commit.
    """

    def __init__(
        self, connection: sa.Connection, submissions: Sequence[Submission], now: int, window: int
    ) -> None:
        self._connection = connection
        self._now = now
        self.position = journal.reserve(connection, len(submissions))
        self.events: list[MeterEvent] = []
        self._records: list[Record] = []
        self._meters = meters.active_by_names(
            connection, {(s.event.scope, s.event.event_name) for s in submissions}
        )
        self._find_claims(submissions, now - window)
        self._find_records(submissions, now - limits.IDEMPOTENCY_V1_HOURS * _HOUR_MILLISECONDS)

    def _find_claims(self, submissions: Sequence[Submission], since: int) -> None:
        self._taken: set[tuple[int, str]] = set()
        expired: list[int] = []
        wanted = _by_scope((s.event.scope, s.event.identifier) for s in submissions)
        for scope, names in wanted.items():
            for name, claim in identifiers.find(self._connection, scope, names).items():
                if claim.received_at >= since:
                    self._taken.add((scope, name))
                else:
                    expired.append(claim.position)
        if expired:
            identifiers.release(self._connection, expired)

    def _find_records(self, submissions: Sequence[Submission], since: int) -> None:
        self._replays: dict[tuple[int, str], Record] = {}
        expired: list[Record] = []
        wanted = _by_scope((s.record.scope, s.record.key) for s in submissions if s.record)
        for scope, keys in wanted.items():
            for key, record in idempotency.find(self._connection, scope, keys).items():
                if record.created >= since:
                    self._replays[scope, key] = record
                else:
                    expired.append(record)
        idempotency.forget(self._connection, expired)

    def answer(self, submission: Submission) -> Answer:
        """Decide about one submission, as if those before it in the group were committed."""
        event, record = submission.event, submission.record
        if record is not None:
            before = self._replays.get((record.scope, record.key))
            if before is not None:
                if before.fingerprint == record.fingerprint:
                    return before
                return envelope.idempotency_mismatch(record.key)
        meter = self._meters.get((event.scope, event.event_name))
        if meter is None:
            return envelope.no_active_meter(event.event_name)
        refusal = _too_many_digits(meter, event) if submission.digits else None
        if refusal is not None:
            return refusal
        name = (event.scope, event.identifier)
        if name in self._taken:
            return envelope.duplicate_identifier(event.identifier)
        self._taken.add(name)
        self.events.append(_with_meter(event, meter.id))
        if record is not None:
            self._records.append(record)
            self._replays[record.scope, record.key] = record
        return None

    def write(self) -> None:
        """Write what was acknowledged: journal, claims, idempotency records, books."""
        if not self.events:
            return
        journal.append_events(self._connection, self.position, self.events)
        identifiers.claim(
            self._connection,
            [
                (self.position + index, event.scope, event.identifier, self._now)
                for index, event in enumerate(self.events)
            ],
        )
        if self._records:
            idempotency.put(self._connection, self._records)
        acknowledged: dict[tallies.Line, int] = defaultdict(int)
        for event in self.events:
            acknowledged[tallies.Line(event.scope, "acknowledged")] += 1
        tallies.add(self._connection, acknowledged)


def _by_scope(pairs: Iterable[tuple[int, str]]) -> dict[int, set[str]]:
    grouped: dict[int, set[str]] = defaultdict(set)
    for scope, name in pairs:
        grouped[scope].add(name)
    return grouped


def _too_many_digits(meter: Meter, event: MeterEvent) -> Refusal | None:
    if meter.formula == "count":
        return None
    text = event.payload.get(meter.value_key)
    if text is None or read_value(text, whole=event.whole) is not InvalidValue.TOO_MANY_DIGITS:
        return None
    return envelope.value_too_many_digits(text, limits.EVENT_VALUE_DIGITS_MAX)


def _with_meter(event: MeterEvent, meter: str) -> MeterEvent:
    return MeterEvent(
        event.scope,
        event.identifier,
        event.event_name,
        event.timestamp,
        event.received_at,
        event.payload,
        meter,
        event.whole,
    )
