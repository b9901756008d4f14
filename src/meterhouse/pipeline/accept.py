"""Accept: from a checked request to a committed journal row.

Submissions that wait for the disk at the same time share one transaction and one fsync. In that
transaction each is replayed (its idempotency key was used before), refused, or acknowledged; only
after the commit does any sender hear.

- A single event is refused if no active meter has its name or its identifier is taken. The event,
  its claim on its identifier and the record of its idempotency key are written together or not at
  all, so a sender who lost our answer may retry without counting twice.
- The events of a stream are acknowledged as they are; the processor judges them and claims their
  identifiers.
"""

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.clock import Clock
from meterhouse.errors import Refusal
from meterhouse.ledger import idempotency, identifiers, journal, meters, tallies
from meterhouse.ledger.idempotency import Record
from meterhouse.metering.model import Meter, MeterEvent
from meterhouse.metering.value import InvalidValue, read_value
from meterhouse.metering.window import MILLISECONDS
from meterhouse.metrics import Metrics
from meterhouse.pipeline.stores import Stores
from meterhouse.wire import envelope
from meterhouse.wire.version import Api

PlaceT = TypeVar("PlaceT")


class Submission(NamedTuple):
    """A meter event whose request is in order, and what its sender shall hear if it is accepted.

    `record` is the answer to keep under the request's idempotency key; None without a key.
    `digits` tells that a value of too many digits is refused here rather than rejected later.
    """

    event: MeterEvent
    digits: bool
    record: Record | None


class StreamSubmission(NamedTuple):
    """The events of one stream request, whose shape is in order; `record` as above."""

    events: Sequence[MeterEvent]
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
        self._window = deduplication_days * MILLISECONDS["day"]
        self._on_commit = on_commit
        self._waiting: deque[_Waiting] = deque()
        self._waiting_events = 0
        self._task: asyncio.Task[None] | None = None
        self.journal_events = 0  # acknowledged and not judged; the processor lowers it

    async def accept(self, submission: Submission | StreamSubmission) -> Answer:
        """Commit a submission to the journal; the answer stands once it is on disk.

        Raises a `Refusal` with status 429 when a queue is full, and whatever the database raises
        when the commit fails.
        """
        queue = self.overloaded()
        if queue is not None:
            self._metrics.overloads.labels(queue).inc()
            raise envelope.overloaded()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        events = len(submission.events) if isinstance(submission, StreamSubmission) else 1
        self._waiting.append(_Waiting(submission, future, events))
        self._waiting_events += events
        if self._task is None:
            self._task = loop.create_task(self._run())
        return await future

    def overloaded(self) -> str | None:
        """Return the name of the queue that is full, None when there is room."""
        if self._waiting_events >= limits.ACCEPT_WAITING_EVENTS_MAX:
            return "accept"
        if self.journal_events >= limits.JOURNAL_LAG_EVENTS_MAX:
            return "journal"
        return None

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._gather()
                await self._commit(self._next_group())
        finally:
            self._task = None

    async def _gather(self) -> None:
        """Wait until no more requests arrive; a sender that is alone does not wait.

        A larger group costs hardly more than a small one, and while the event loop is busy with
        requests, the writer would wait for the interpreter lock at every statement.
        """
        before = -1
        while before < self._waiting_events < limits.ACCEPT_GROUP_EVENTS_MAX:
            before = self._waiting_events
            await asyncio.sleep(0)  # their bytes are read in this pass of the event loop,
            await asyncio.sleep(0)  # and their handlers run in the next
            if self._waiting_events > 1:
                await asyncio.sleep(limits.ACCEPT_GATHER_MICROSECONDS / 1_000_000)

    def _next_group(self) -> list["_Waiting"]:
        """Take what goes into one commit: at least one submission, whatever its size."""
        group = [self._waiting.popleft()]
        events = group[0].events
        while self._waiting and events + self._waiting[0].events <= limits.ACCEPT_GROUP_EVENTS_MAX:
            group.append(self._waiting.popleft())
            events += group[-1].events
        self._waiting_events -= events
        return group

    async def _commit(self, group: list["_Waiting"]) -> None:
        started = time.perf_counter()
        try:
            committed = await self._stores.write(
                commit, [one.submission for one in group], self._clock.now(), self._window
            )
        except Exception as error:  # noqa: BLE001 - each sender hears it and may retry
            for one in group:
                if not one.future.done():
                    one.future.set_exception(error)
            return
        self._metrics.commit_seconds.observe(time.perf_counter() - started)
        self._metrics.commit_events.observe(committed.events)
        self._metrics.events.labels("acknowledged", "").inc(committed.events)
        self.journal_events += committed.events
        for one, answer in zip(group, committed.answers, strict=True):
            if not one.future.done():
                one.future.set_result(answer)
        if committed.events:
            self._on_commit(committed.last)

    async def drain(self) -> None:
        """Wait until nothing waits for a commit any more."""
        if self._task is not None:
            await self._task


class _Waiting(NamedTuple):
    """A submission that waits for its commit, and who waits for the answer."""

    submission: Submission | StreamSubmission
    future: asyncio.Future[Answer]
    events: int


class Committed(NamedTuple):
    """What one commit did: an answer for each submission, how many events, the last position."""

    answers: list[Answer]
    events: int
    last: int


def commit(
    connection: sa.Connection,
    submissions: Sequence[Submission | StreamSubmission],
    now: int,
    window: int,
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
        self,
        connection: sa.Connection,
        submissions: Sequence[Submission | StreamSubmission],
        now: int,
        window: int,
    ) -> None:
        self._connection = connection
        self._now = now
        self.events: list[MeterEvent] = []
        self._claims: list[tuple[int, int, str, int]] = []
        self._records: list[Record] = []
        single = [one for one in submissions if isinstance(one, Submission)]
        streamed = sum(len(one.events) for one in submissions if isinstance(one, StreamSubmission))
        self.position = journal.reserve(connection, len(single) + streamed)
        self._meters: dict[tuple[int, str], Meter] = {}
        self._taken: set[tuple[int, str]] = set()
        self._expired: dict[tuple[int, str], int] = {}  # claims that a new one may replace
        self._replaced: list[int] = []
        if single:
            names = {(one.event.scope, one.event.event_name) for one in single}
            self._meters = meters.active_by_names(connection, names)
            self._find_claims(single, now - window)
        self._find_records([one.record for one in submissions if one.record])

    def _find_claims(self, submissions: Sequence[Submission], since: int) -> None:
        wanted = _grouped((s.event.scope, s.event.identifier) for s in submissions)
        for scope, names in wanted.items():
            for name, claim in identifiers.find(self._connection, scope, names).items():
                if claim.received_at >= since:
                    self._taken.add((scope, name))
                else:
                    self._expired[scope, name] = claim.position

    def _find_records(self, records: Iterable[Record]) -> None:
        self._replays: dict[tuple[int, Api, str], Record] = {}
        expired: list[Record] = []
        wanted = _grouped(((record.scope, record.api), record.key) for record in records)
        for (scope, api), keys in wanted.items():
            for record in idempotency.find(self._connection, scope, api, keys).values():
                if record.expires_at > self._now:
                    self._replays[record.name] = record
                else:
                    expired.append(record)
        idempotency.forget(self._connection, expired)

    def answer(self, submission: Submission | StreamSubmission) -> Answer:
        """Decide about one submission, as if those before it in the group were committed."""
        record = submission.record
        if record is not None:
            before = self._replays.get(record.name)
            if before is not None:
                if before.fingerprint == record.fingerprint:
                    return before
                return envelope.idempotency_mismatch(record.key)
        if isinstance(submission, StreamSubmission):
            self.events.extend(submission.events)
        else:
            refusal = self._refuse(submission)
            if refusal is not None:
                return refusal
        if record is not None:
            self._records.append(record)
            self._replays[record.name] = record
        return None

    def _refuse(self, submission: Submission) -> Refusal | None:
        """Take a single event up, or say why not."""
        event = submission.event
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
        if name in self._expired:
            self._replaced.append(self._expired[name])
        position = self.position + len(self.events)
        self._claims.append((position, event.scope, event.identifier, self._now))
        self.events.append(_with_meter(event, meter.id))
        return None

    def write(self) -> None:
        """Write what was acknowledged: journal, claims, idempotency records, books."""
        if not self.events:
            return
        journal.append_events(self._connection, self.position, self.events)
        if self._replaced:
            identifiers.release(self._connection, self._replaced)
        identifiers.claim(self._connection, self._claims)
        if self._records:
            idempotency.put(self._connection, self._records)
        counts = Counter(event.scope for event in self.events)
        acknowledged = {
            tallies.Line(scope, "acknowledged"): events for scope, events in counts.items()
        }
        tallies.add(self._connection, acknowledged)


def _grouped(pairs: Iterable[tuple[PlaceT, str]]) -> dict[PlaceT, set[str]]:
    grouped: dict[PlaceT, set[str]] = defaultdict(set)
    for place, name in pairs:
        grouped[place].add(name)
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
