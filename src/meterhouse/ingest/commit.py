"""Commit: a group of submissions, in one transaction of the ledger.

Each is replayed (its idempotency key was used before), refused, or acknowledged. An event, its
claim on its identifier and the record of its idempotency key are written together or not at all,
so a sender who lost our answer may retry without counting twice.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from meterhouse import limits
from meterhouse.errors import Refusal
from meterhouse.identifiers.index import day_of
from meterhouse.ingest.claims import Asked, Claims
from meterhouse.ingest.pack import pack
from meterhouse.ledger import idempotency, journal, meters, tallies, test_clocks
from meterhouse.ledger.idempotency import Name, Record
from meterhouse.ledger.journal import Packed
from meterhouse.metering.model import Meter, MeterEvent
from meterhouse.metering.value import InvalidValue, read_value
from meterhouse.wire import envelope, refusals

PlaceT = TypeVar("PlaceT")


class Submission(NamedTuple):
    """A meter event whose request is in order, and what its sender shall hear if it is accepted.

    `record` is the answer to keep under the request's idempotency key; None without a key.
    `digits` tells that a value of too many digits is refused here rather than rejected later.
    `frozen` is the time of the customer's test clock that its timestamp was checked against.
    """

    event: MeterEvent
    digits: bool
    record: Record | None
    frozen: int | None = None


class Timed(NamedTuple):
    """An event is to be checked against another time: that of its customer's clock, or our own."""

    frozen: int | None


class StreamSubmission(NamedTuple):
    """The events of one stream request, whose shape is in order; `record` as above.

    They are of one scope, and packed at once: thousands may wait for a commit, and as bytes they
    neither fill the processor's caches nor are looked through by the garbage collector.
    """

    scope: int
    packed: tuple[Packed, ...]
    record: Record | None

    @property
    def events(self) -> int:
        """How many they are."""
        return sum(row.events for row in self.packed)


# What becomes of a submission: None is acknowledged; a record is replayed; a refusal is told; what
# is timed otherwise may come again.
Answer = Record | Refusal | Timed | None


class Sent(NamedTuple):
    """A submission to commit, and how many events it has.

    `digest` is that of a single event's identifier, None for a stream; `asked` what the usage store
    said about it, None where it was not asked.
    """

    submission: Submission | StreamSubmission
    events: int
    digest: bytes | None
    asked: Asked | None = None


class ConflictError(Exception):
    """Another process has used an idempotency key since it was looked for; it is found now."""


class Committed(NamedTuple):
    """What one commit did: an answer for each submission, its events, its claims, its positions."""

    answers: list[Answer]
    events: int
    claims: dict[int, list[bytes]]
    last: int


def commit(
    connection: sa.Connection, sent: Sequence[Sent], now: int, claims: Claims, partitions: int
) -> Committed:
    """Append a group to the journal, whose number of partitions is told."""
    group = _Group(connection, sent, now, claims)
    answers = group.answers(sent)
    events = group.write(partitions)
    return Committed(answers, events, group.claimed, group.position + events - 1)


class _Group:
    """One commit in the making.

    On SQLite nobody else writes meanwhile. On PostgreSQL others do: that somebody has taken the
    same identifier or used the same key shows when ours are written, after that one's commit.
    """

    def __init__(
        self, connection: sa.Connection, sent: Sequence[Sent], now: int, claims: Claims
    ) -> None:
        self._connection = connection
        self._now = now
        self._claims = claims
        self.claimed: dict[int, list[bytes]] = {}  # digests by day
        self._events: list[MeterEvent] = []  # that came alone
        self._rows: list[Packed] = []  # of those that came in streams
        self._counts: Counter[int] = Counter()  # events by scope
        self._records: list[Record] = []
        self.position = journal.reserve(connection, sum(one.events for one in sent))
        self._meters: dict[tuple[int, str], Meter] = {}
        submissions = [one.submission for one in sent]
        single = [one for one in submissions if isinstance(one, Submission)]
        if single:
            names = {(one.event.scope, one.event.event_name) for one in single}
            self._meters = meters.active_by_names(connection, names)
        self._frozen = self._frozen_times([one.event for one in single])
        self._replays: dict[Name, Record] = {}
        self._find_records([one.record for one in submissions if one.record])

    def _frozen_times(self, events: Sequence[MeterEvent]) -> dict[tuple[int, str], int]:
        """Return what time it is for the customers of events that live by a test clock."""
        scopes = {event.scope for event in events}
        clocked = test_clocks.scopes_with_clocks(self._connection, scopes) if scopes else set()
        if not clocked:
            return {}
        customers = {
            (event.scope, meter.customer_of(event.payload))
            for event in events
            if event.scope in clocked and (meter := self._meter(event))
        }
        return test_clocks.frozen_times(self._connection, customers)

    def _meter(self, event: MeterEvent) -> Meter | None:
        return self._meters.get((event.scope, event.event_name))

    def _find_records(self, records: Sequence[Record]) -> None:
        expired: list[Record] = []
        wanted = _grouped(((record.scope, record.api), record.key) for record in records)
        for (scope, api), keys in wanted.items():
            for record in idempotency.find(self._connection, scope, api, keys).values():
                if record.expires_at > self._now:
                    self._replays[record.name] = record
                else:
                    expired.append(record)
        idempotency.forget(self._connection, expired)

    def answers(self, sent: Sequence[Sent]) -> list[Answer]:
        """Decide about each, as if those before it in the group were committed.

        Who is refused for another reason must not have taken an identifier, so they come last.
        """
        said = [self._said(one) for one in sent]
        asked = {
            one.digest: one.asked
            for one, answer in zip(sent, said, strict=True)
            if answer is None and one.digest is not None
        }
        taken = self._claims.taken(self._connection, asked, self._now) if asked else set()
        self._free = asked.keys() - taken
        # Who has taken it meanwhile may have been the same request, sent to another process.
        again = [one.submission.record for one in sent if one.digest in taken]
        self._find_records([record for record in again if record])
        return [answer or self._take(one) for one, answer in zip(sent, said, strict=True)]

    def _said(self, one: Sent) -> Answer:
        """Replay an answer, or refuse, where that does not depend on who comes first."""
        submission = one.submission
        replayed = self._replayed(submission.record)
        if replayed is not None or isinstance(submission, StreamSubmission):
            return replayed
        return self._refuse(submission, one)

    def _replayed(self, record: Record | None) -> Answer:
        before = None if record is None else self._replays.get(record.name)
        if record is None or before is None:
            return None
        if before.fingerprint == record.fingerprint:
            return before
        return envelope.idempotency_mismatch(record.key)

    def _refuse(self, submission: Submission, one: Sent) -> Refusal | Timed | None:
        event = submission.event
        meter = self._meter(event)
        if meter is None:
            return refusals.no_active_meter(event.event_name)
        if self._frozen or submission.frozen is not None:
            frozen = self._frozen.get((event.scope, meter.customer_of(event.payload)))
            if frozen != submission.frozen:
                return Timed(frozen)
        refusal = _too_many_digits(meter, event) if submission.digits else None
        if refusal is not None:
            return refusal
        if one.asked and one.asked.day is not None and self._claims.holds(one.asked.day, self._now):
            return refusals.duplicate_identifier(event.identifier)
        return None

    def _take(self, one: Sent) -> Answer:
        """Take up what nothing speaks against, unless its identifier is taken."""
        submission = one.submission
        if isinstance(submission, StreamSubmission):
            self._rows += submission.packed
            self._counts[submission.scope] += one.events
        else:
            event, digest = submission.event, one.digest or b""
            if digest not in self._free:
                duplicate = refusals.duplicate_identifier(event.identifier)
                return self._replayed(submission.record) or duplicate
            self._free.remove(digest)
            self.claimed.setdefault(day_of(event.received_at), []).append(digest)
            meter = self._meters[event.scope, event.event_name]
            self._events.append(self._claims.written(event, meter))
            self._counts[event.scope] += 1
        if submission.record is not None:
            self._records.append(submission.record)
        return None

    def write(self, partitions: int) -> int:
        """Write what was acknowledged: journal, idempotency records, books; return its number."""
        if self._events:
            self._rows += pack(self._events, partitions)
        if self._rows:
            rows = journal.join(self._rows) if partitions > 1 else self._rows
            journal.append(self._connection, self.position, rows)
            self._put_records()
            acknowledged = {
                tallies.Line(scope, "acknowledged"): events
                for scope, events in self._counts.items()
            }
            tallies.add(self._connection, acknowledged)
        return self._counts.total()

    def _put_records(self) -> None:
        try:
            idempotency.put(self._connection, self._records)
        except IntegrityError as error:
            raise ConflictError from error


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
