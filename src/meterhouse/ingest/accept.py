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
import logging
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.clock import Clock
from meterhouse.errors import Refusal
from meterhouse.identifiers.index import Identifiers, day_of
from meterhouse.ledger import idempotency, journal, meters, tallies
from meterhouse.ledger.idempotency import Record
from meterhouse.ledger.journal import Packed
from meterhouse.metering.identifier import identifier_digest
from meterhouse.metering.model import Meter, MeterEvent
from meterhouse.metering.value import InvalidValue, read_value
from meterhouse.metrics import Metrics
from meterhouse.stores import Stores
from meterhouse.usage.store import UsageStore
from meterhouse.wire import envelope, refusals
from meterhouse.wire.version import Api

log = logging.getLogger("meterhouse.accept")

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
    """The events of one stream request, whose shape is in order; `record` as above.

    They are of one scope, and packed at once: thousands may wait for a commit, and as bytes they
    neither fill the processor's caches nor are looked through by the garbage collector.
    """

    scope: int
    packed: Packed
    record: Record | None


_UNASKED = -1  # the usage store was not asked

# What becomes of a submission: None is acknowledged; a record is replayed; a refusal is told.
Answer = Record | Refusal | None


class Acceptor:
    """Takes submissions from many requests and commits them in groups."""

    def __init__(
        self,
        stores: Stores,
        identifiers: Identifiers,
        clock: Clock,
        metrics: Metrics,
        on_commit: Callable[[int], None],
    ) -> None:
        self._stores = stores
        self._identifiers = identifiers
        self._clock = clock
        self._metrics = metrics
        self._on_commit = on_commit
        self._waiting: deque[_Waiting] = deque()
        self._waiting_events = 0
        self._task: asyncio.Task[None] | None = None
        self._asking: set[asyncio.Task[None]] = set()
        self._unsure = False  # a commit failed, and may have succeeded all the same
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
        events = submission.packed.events if isinstance(submission, StreamSubmission) else 1
        digest = None
        if isinstance(submission, Submission):
            digest = identifier_digest(submission.event.scope, submission.event.identifier)
        self._wait(_Waiting(submission, future, events, digest))
        return await future

    def overloaded(self) -> str | None:
        """Return the name of the queue that is full, None when there is room."""
        if self._waiting_events >= limits.ACCEPT_WAITING_EVENTS_MAX:
            return "accept"
        if self.journal_events >= limits.JOURNAL_LAG_EVENTS_MAX:
            return "journal"
        return None

    def _wait(self, waiting: "_Waiting") -> None:
        self._waiting.append(waiting)
        self._waiting_events += waiting.events
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._gather()
                # Nobody would hear the answer to a request that was given up.
                group = [one for one in self._next_group() if not one.future.done()]
                try:
                    with self._identifiers.held():
                        await self._commit(self._without_suspects(group))
                except Exception as error:
                    log.exception("a group of submissions failed")
                    _fail(group, error)
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

    def _without_suspects(self, group: list["_Waiting"]) -> list["_Waiting"]:
        """Return those of a group whose identifiers need no question to the usage store.

        The others are asked about meanwhile, and come back with the answer in a later group.
        """
        unasked = [one.digest for one in group if one.digest and one.before == _UNASKED]
        suspects = set(self._identifiers.suspects(unasked))
        if not suspects:
            return group
        asked: list[_Waiting] = []
        certain: list[_Waiting] = []
        for one in group:
            suspected = one.before == _UNASKED and one.digest in suspects
            (asked if suspected else certain).append(one)
        task = asyncio.create_task(self._ask(asked))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)
        return certain

    async def _ask(self, asked: list["_Waiting"]) -> None:
        """Ask the usage store who took these identifiers, then let the submissions wait again."""
        digests = [one.digest for one in asked if one.digest]
        try:
            with self._identifiers.held():
                found = await self._stores.usage(UsageStore.claims, digests)
                for one in asked:
                    claim = found.get(one.digest or b"")
                    self._wait(one._replace(before=claim.day if claim else None))
                # The answer holds as long as the claims that were pending stay so.
                await asyncio.wait([one.future for one in asked])
        except Exception as error:  # noqa: BLE001 - each sender hears it and may retry
            _fail(asked, error)

    async def _commit(self, group: list["_Waiting"]) -> None:
        if not group:
            return
        started = time.perf_counter()
        now = self._clock.now()
        try:
            if self._unsure:
                await self._identifiers.recover(self._stores)
                self._unsure = False
            committed = await self._stores.write_then(
                lambda committed: self._identifiers.claim(committed.claims),
                commit,
                group,
                now,
                self._identifiers,
            )
        except Exception as error:  # noqa: BLE001 - each sender hears it and may retry
            self._unsure = True
            _fail(group, error)
            return
        if committed.events:
            self._stores.mended()
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
        while self._task is not None or self._asking:
            await asyncio.wait({*self._asking, *([self._task] if self._task else [])})


class _Waiting(NamedTuple):
    """A submission that waits for its commit, and who waits for the answer.

    `digest` is that of a single event's identifier; `before` the day of the claim on it that the
    usage store has, None where it has none.
    """

    submission: Submission | StreamSubmission
    future: asyncio.Future[Answer]
    events: int
    digest: bytes | None
    before: int | None = _UNASKED


def _fail(group: Sequence[_Waiting], error: Exception) -> None:
    for one in group:
        if not one.future.done():
            one.future.set_exception(error)


class Committed(NamedTuple):
    """What one commit did: an answer for each submission, its events, its claims, its positions."""

    answers: list[Answer]
    events: int
    claims: dict[int, list[bytes]]
    last: int


def commit(
    connection: sa.Connection, waiting: Sequence[_Waiting], now: int, identifiers: Identifiers
) -> Committed:
    """Append a group to the journal in one transaction."""
    group = _Group(connection, waiting, now, identifiers)
    answers = [group.answer(one) for one in waiting]
    events = group.write()
    return Committed(answers, events, group.claims, group.position + events - 1)


class _Group:
    """One commit in the making.

    Reserving positions comes first, because it locks the head of the journal: what is looked up
    afterwards cannot change before the commit.
    """

    def __init__(
        self,
        connection: sa.Connection,
        waiting: Sequence[_Waiting],
        now: int,
        identifiers: Identifiers,
    ) -> None:
        self._connection = connection
        self._now = now
        self._identifiers = identifiers
        self.claims: dict[int, list[bytes]] = {}  # digests by day
        self._events: list[MeterEvent] = []  # that came alone
        self._rows: list[Packed] = []  # of those that came in streams
        self._counts: Counter[int] = Counter()  # events by scope
        self._records: list[Record] = []
        self.position = journal.reserve(connection, sum(one.events for one in waiting))
        self._meters: dict[tuple[int, str], Meter] = {}
        submissions = [one.submission for one in waiting]
        single = [one for one in submissions if isinstance(one, Submission)]
        if single:
            names = {(one.event.scope, one.event.event_name) for one in single}
            self._meters = meters.active_by_names(connection, names)
        digests = [one.digest for one in waiting if one.digest]
        self._taken = identifiers.taken(digests, now)
        self._find_records([one.record for one in submissions if one.record])

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

    def answer(self, waiting: _Waiting) -> Answer:
        """Decide about one submission, as if those before it in the group were committed."""
        submission = waiting.submission
        record = submission.record
        if record is not None:
            before = self._replays.get(record.name)
            if before is not None:
                if before.fingerprint == record.fingerprint:
                    return before
                return envelope.idempotency_mismatch(record.key)
        if isinstance(submission, StreamSubmission):
            self._rows.append(submission.packed)
            self._counts[submission.scope] += submission.packed.events
        else:
            refusal = self._refuse(submission, waiting.digest or b"", waiting.before)
            if refusal is not None:
                return refusal
        if record is not None:
            self._records.append(record)
            self._replays[record.name] = record
        return None

    def _refuse(self, submission: Submission, digest: bytes, before: int | None) -> Refusal | None:
        """Take a single event up, or say why not; `before` is when another took its identifier."""
        event = submission.event
        meter = self._meters.get((event.scope, event.event_name))
        if meter is None:
            return refusals.no_active_meter(event.event_name)
        refusal = _too_many_digits(meter, event) if submission.digits else None
        if refusal is not None:
            return refusal
        if digest in self._taken or (
            before is not None and self._identifiers.holds(before, self._now)
        ):
            return refusals.duplicate_identifier(event.identifier)
        self._taken.add(digest)
        self.claims.setdefault(day_of(event.received_at), []).append(digest)
        self._events.append(_with_meter(event, meter.id))
        self._counts[event.scope] += 1
        return None

    def write(self) -> int:
        """Write what was acknowledged: journal, idempotency records, books; return its number."""
        if self._events:
            self._rows.append(journal.pack(self._events))
        if self._rows:
            journal.append(self._connection, self.position, self._rows)
            idempotency.put(self._connection, self._records)
            acknowledged = {
                tallies.Line(scope, "acknowledged"): events
                for scope, events in self._counts.items()
            }
            tallies.add(self._connection, acknowledged)
        return self._counts.total()


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
    return refusals.value_too_many_digits(text, limits.EVENT_VALUE_DIGITS_MAX)


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
