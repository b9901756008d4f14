"""The journal: what was acknowledged and is not judged yet.

- A row keeps its events as columns (`metering.part`), one part for each request of a stream.
- A row is a request's worth of work, or those of many that had one event each. Its events have the
  positions `row.position`, `+ 1`, `+ 2` …
- Where there are several partitions, a row is what a commit has for one of them, and its events
  have some of these positions, in the order in which they came.
- On SQLite positions are reserved while the head row is locked, so they become visible in order:
  whoever has read position p will never see a smaller one appear. On PostgreSQL nobody may rely on
  that.
- A row belongs to a partition, whose owner alone judges it.
- A row leaves the journal in the transaction that records what became of it.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import msgspec
import numpy as np
import sqlalchemy as sa

from meterhouse.ledger.dialect import any_of, insert_rows
from meterhouse.ledger.locks import Lock, hold, share
from meterhouse.ledger.tables import event_id_key, journal, journal_head, journal_positions
from meterhouse.limits import JOURNAL_COMMIT_POSITIONS
from meterhouse.metering.columns import Events
from meterhouse.metering.model import MeterEvent
from meterhouse.metering.part import Part


class Cancellation(msgspec.Struct, frozen=True, array_like=True):
    """A request, received at `received_at`, to cancel the event at `position` of `meter`."""

    scope: int
    adjustment: str
    meter: str
    position: int
    received_at: int


class Packed(NamedTuple):
    """Events of one partition as a row keeps them: their number, and their parts, encoded.

    Where they are scattered among others of a request, or of a commit, `offsets` tell how, from the
    first of them on; that one stands `shift` positions after the end of the row before.
    """

    events: int
    body: bytes
    partition: int = 0
    offsets: tuple[int, ...] = ()
    shift: int = 0


class Entry(NamedTuple):
    """One row of the journal: the parts of its events from `position` on, or a cancellation."""

    position: int
    parts: list[Part]
    cancellations: list[Cancellation]
    offsets: Sequence[int] = ()  # of scattered events, from the row's position
    partition: int = 0

    @property
    def events(self) -> int:
        """How many events it has."""
        return sum(part.events for part in self.parts)

    @property
    def last(self) -> int:
        """The highest position of the row."""
        if self.offsets:
            return self.position + self.offsets[-1]
        return self.position + max(self.events + len(self.cancellations), 1) - 1

    @property
    def positions(self) -> Iterable[int]:
        """The positions of its events."""
        if not self.offsets:
            return range(self.position, self.position + self.events)
        return [self.position + one for one in self.offsets]


_COLUMNS = ("position", "partition", "events", "kind", "body")

# How arrays begin in MessagePack (`_array_head`).
_SHORT_ARRAY, _SHORT_ARRAY_MAX = 0x90, 15
_ARRAY, _ARRAY_MAX = b"\xdc", 65_535
_LONG_ARRAY = b"\xdd"
_PAIR = b"\x92"

_encoder = msgspec.msgpack.Encoder()
_events_decoder = msgspec.msgpack.Decoder(list[Part])
_scattered_decoder = msgspec.msgpack.Decoder(tuple[list[int], list[Part]])
_cancellations_decoder = msgspec.msgpack.Decoder(list[Cancellation])

_reserve = (
    sa.update(journal_head)
    .values(next_position=journal_head.c.next_position + sa.bindparam("count"))
    .returning(journal_head.c.next_position)
)
_NEXT = f"CASE WHEN is_called THEN last_value + {JOURNAL_COMMIT_POSITIONS} ELSE last_value END"
_LAST = f"SELECT {_NEXT} - 1 FROM journal_positions"  # noqa: S608 - a number
_forward = sa.text(
    "SELECT setval('journal_positions', :position + 1, false) FROM journal_positions"  # noqa: S608
    f" WHERE {_NEXT} <= :position"
)
_read = sa.select(journal.c.position, journal.c.kind, journal.c.body, journal.c.partition).order_by(
    journal.c.position
)
_sizes = sa.select(journal.c.position, journal.c.events, sa.func.length(journal.c.body)).order_by(
    journal.c.position
)
_of_partitions = any_of(journal.c.partition, "partitions")
_without = sa.not_(any_of(journal.c.position, "without"))
_first = sa.select(sa.func.min(journal.c.position))
_more = (
    sa.select(journal.c.position)
    .where(_of_partitions, journal.c.position > sa.bindparam("after"), _without)
    .limit(1)
)
_release = sa.delete(journal).where(any_of(journal.c.position, "positions"))


def reserve(connection: sa.Connection, count: int) -> int:
    """Take `count` positions and return the first.

    On SQLite other writers wait until we commit. On PostgreSQL they do not, so there are positions
    that nobody has: each call takes `JOURNAL_COMMIT_POSITIONS`, and `count` may be no more.
    """
    if connection.dialect.name == "sqlite":
        after: int = connection.execute(_reserve, {"count": count}).scalar_one()
        return after - count
    if count > JOURNAL_COMMIT_POSITIONS:
        raise ValueError(f"{count} positions are more than a commit may have.")
    share(connection, Lock.JOURNAL)
    first: int = connection.execute(sa.select(journal_positions.next_value())).scalar_one()
    return first


def last_position(connection: sa.Connection) -> int:
    """Return the highest position given out so far, 0 before the first.

    On PostgreSQL who has it, or a smaller one, may not have committed yet.
    """
    if connection.dialect.name == "sqlite":
        after: int = connection.execute(sa.select(journal_head.c.next_position)).scalar_one()
        return after - 1
    last: int = connection.exec_driver_sql(_LAST).scalar_one()
    return last


def watermark(connection: sa.Connection) -> int:
    """Return a position that is past: whoever has it or a smaller one has committed.

    Nobody gets a smaller one any more. On PostgreSQL who commits at the moment is waited for.
    """
    hold(connection, Lock.JOURNAL)
    return last_position(connection)


def give_out_after(connection: sa.Connection, position: int) -> None:
    """Give out no position up to this one any more."""
    if connection.dialect.name == "sqlite":
        forward = sa.update(journal_head).where(journal_head.c.next_position <= position)
        connection.execute(forward.values(next_position=position + 1))
    else:
        connection.execute(_forward, {"position": position})


def read_id_key(connection: sa.Connection) -> bytes:
    """Return what hides positions in the ids of events."""
    key: bytes = connection.execute(sa.select(event_id_key.c.key)).scalar_one()
    return key


def pack(events: Sequence[MeterEvent], partition: int = 0) -> Packed:
    """Encode the events of a row."""
    return Packed(len(events), _encoder.encode([Part.of(events)]), partition)


def pack_scattered(
    events: Sequence[MeterEvent], partition: int, indexes: Sequence[int], before: int
) -> Packed:
    """Encode events that have these indexes in their request, after rows that have `before` of it.

    So a later event of a request has a higher position, whatever partition each of them is in.
    """
    return _placed(pack(events, partition), indexes, before)


def join(rows: Sequence[Packed]) -> list[Packed]:
    """Make one row for each partition of rows of one part, as if all were of one request.

    A row costs about as much as the events of a small request, in the ledger and at the judge.
    """
    parts: defaultdict[int, tuple[list[int], list[bytes]]] = defaultdict(lambda: ([], []))
    position = 0
    for row in rows:
        indexes, bodies = parts[row.partition]
        first = position + row.shift
        indexes += [first + one for one in row.offsets or range(row.events)]
        bodies.append(row.body[len(_array_head(1)) :])
        position += row.events
    made: list[Packed] = []
    before = 0
    for partition, (indexes, bodies) in sorted(parts.items()):
        body = _array_head(len(bodies)) + b"".join(bodies)
        made.append(_placed(Packed(len(indexes), body, partition), indexes, before))
        before += len(indexes)
    return made


def _placed(row: Packed, indexes: Sequence[int], before: int) -> Packed:
    """Return a row whose events have these indexes, after rows that have `before` of all."""
    first = indexes[0]
    offsets = tuple([index - first for index in indexes])
    scattered = offsets[-1] >= len(offsets)
    return row._replace(offsets=offsets if scattered else (), shift=first - before)


def _array_head(length: int) -> bytes:
    """Return what an encoded array begins with.

    https://github.com/msgpack/msgpack/blob/master/spec.md#array-format-family
    """
    if length <= _SHORT_ARRAY_MAX:
        return bytes([_SHORT_ARRAY + length])
    if length <= _ARRAY_MAX:
        return _ARRAY + length.to_bytes(2)
    return _LONG_ARRAY + length.to_bytes(4)


def append(connection: sa.Connection, position: int, rows: Sequence[Packed]) -> None:
    """Append the events of `rows` at the reserved positions from `position` on."""
    values = []
    for row in rows:
        kind, body = "events", row.body
        if row.offsets:
            kind, body = "scattered", _PAIR + _encoder.encode(row.offsets) + body
        values.append((position + row.shift, row.partition, row.events, kind, body))
        position += row.events
    insert_rows(connection, journal, _COLUMNS, values)


def append_cancellation(
    connection: sa.Connection, cancellation: Cancellation, partition: int = 0
) -> int:
    """Append a cancellation to the partition of its event and return its own position."""
    position = reserve(connection, 1)
    row = (position, partition, 0, "adjustments", _encoder.encode([cancellation]))
    insert_rows(connection, journal, _COLUMNS, [row])
    return position


def read(
    connection: sa.Connection,
    events_max: int,
    rows_max: int,
    bytes_max: int,
    *,
    partitions: Collection[int] | None = None,
    without: Collection[int] = (),
) -> list[Entry]:
    """Return up to `rows_max` rows, the oldest of some `partitions` together, or of all.

    There is at least one if there are any, and more for up to `events_max` events whose bodies
    have `bytes_max` bytes. Rows at positions `without` which the caller does are passed over.
    """
    wanted = [*([] if partitions is None else [_of_partitions]), *([_without] if without else [])]
    values = {"partitions": partitions, "without": without}
    first, last, events, size = None, None, 0, 0
    sizes = connection.execute(_sizes.where(*wanted).limit(rows_max), values)
    for position, more, length in sizes:
        events, size = events + more, size + length
        if last is not None and (events > events_max or size > bytes_max):
            break
        first, last = first or position, position
    if last is None:
        return []
    among = journal.c.position.between(first, last)
    return [_decode(*row) for row in connection.execute(_read.where(among, *wanted), values)]


def events_of(entries: Iterable[Entry]) -> Events:
    """Return the events of rows as columns, in the order of their positions.

    Rows of several partitions have positions between each other's.
    """
    some = [entry for entry in entries if entry.parts]
    positions = np.fromiter(chain.from_iterable(entry.positions for entry in some), np.int64)
    events = Events.of_parts(positions, [part for entry in some for part in entry.parts])
    ordered = (positions[1:] > positions[:-1]).all()
    return events if ordered else events.take(np.argsort(positions))


def _all(connection: sa.Connection, partitions: Collection[int] | None = None) -> Iterator[Entry]:
    """Yield every row, of some `partitions` or all, oldest first, a few in memory at a time."""
    query = _read if partitions is None else _read.where(_of_partitions)
    values = {} if partitions is None else {"partitions": partitions}
    with connection.execute(query, values, execution_options={"yield_per": 100}) as rows:
        for row in rows:
            yield _decode(*row)


def _decode(position: int, kind: str, body: bytes, partition: int) -> Entry:
    if kind == "events":
        return Entry(position, _events_decoder.decode(body), [], (), partition)
    if kind == "scattered":
        offsets, events = _scattered_decoder.decode(body)
        return Entry(position, events, [], offsets, partition)
    return Entry(position, [], _cancellations_decoder.decode(body), (), partition)


def release(connection: sa.Connection, positions: Collection[int]) -> None:
    """Delete the rows at these positions."""
    connection.execute(_release, {"positions": positions})


def first_position(
    connection: sa.Connection, partitions: Collection[int] | None = None
) -> int | None:
    """Return the oldest position that is not judged yet, None when nothing waits.

    That is of some `partitions`, or of all.
    """
    query = _first if partitions is None else _first.where(_of_partitions)
    values = {} if partitions is None else {"partitions": partitions}
    found: int | None = connection.execute(query, values).scalar()
    return found


def has_more(
    connection: sa.Connection, partitions: Collection[int], after: int, without: Collection[int]
) -> bool:
    """Tell whether partitions have rows beyond a position, other than those `without`."""
    values = {"partitions": partitions, "after": after, "without": without}
    return connection.execute(_more, values).first() is not None


def waiting(connection: sa.Connection) -> dict[int, int]:
    """Return the partitions in which something waits, and how many events."""
    counted = sa.select(journal.c.partition, sa.func.sum(journal.c.events))
    rows = connection.execute(counted.group_by(journal.c.partition))
    return {partition: int(events) for partition, events in rows}


def oldest(connection: sa.Connection) -> tuple[int, int] | None:
    """Return the oldest position and the earliest receipt of all that is in the journal, if any.

    The one need not belong to the other: what was received first may have its position last.
    """
    first = first_position(connection)
    if first is None:
        return None
    receipts: list[int] = []
    for entry in _all(connection):
        receipts += [one.received_at for one in entry.cancellations]
        if entry.events:
            receipts.append(int(events_of([entry]).received.min()))
    return first, min(receipts)


def pending_by_scope(connection: sa.Connection) -> dict[int, int]:
    """Count the events that are acknowledged and not judged yet, for each scope."""
    pending: Counter[int] = Counter()
    for entry in _all(connection):
        scopes = events_of([entry]).scopes
        counts = np.bincount(scopes.numbers, minlength=len(scopes.values))
        pending.update(dict(zip(scopes.values, counts.tolist(), strict=True)))
    return dict(pending)


def claiming_events(
    connection: sa.Connection, partitions: Collection[int] | None = None
) -> Iterator[Events]:
    """Yield the pending events that were submitted alone, which claim their identifiers here.

    They are those of some `partitions`, or all, some at a time.
    """
    for entry in _all(connection, partitions):
        events = events_of([entry])
        if events.alone.any():
            yield events.take(np.flatnonzero(events.alone))


def pending_events(connection: sa.Connection, partitions: Collection[int] | None = None) -> int:
    """Count the events that are acknowledged and not judged yet, of some partitions or of all."""
    counted = sa.select(sa.func.coalesce(sa.func.sum(journal.c.events), 0))
    if partitions is not None:
        counted = counted.where(_of_partitions)
    values = {} if partitions is None else {"partitions": partitions}
    return int(connection.execute(counted, values).scalar_one())
