"""The journal: what was acknowledged and is not judged yet.

- A row is a request's worth of work, or those of many that had one event each. Its events have the
  positions `row.position`, `+ 1`, `+ 2` …
- Positions are reserved while the head row is locked, so they become visible in order: whoever
  has read position p will never see a smaller one appear.
- A row leaves the journal in the transaction that records what became of it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from meterhouse.ledger.dialect import insert_rows
from meterhouse.ledger.tables import event_id_key, journal, journal_head
from meterhouse.metering.model import MeterEvent


class Cancellation(msgspec.Struct, frozen=True, array_like=True):
    """A request, received at `received_at`, to cancel the event at `position` of `meter`."""

    scope: int
    adjustment: str
    meter: str
    position: int
    received_at: int


class Packed(NamedTuple):
    """Events as a row keeps them: their number, and their encoded bytes."""

    events: int
    body: bytes


class Entry(NamedTuple):
    """One row of the journal, decoded: events from `position` on, or a cancellation."""

    position: int
    events: list[MeterEvent]
    cancellations: list[Cancellation]

    @property
    def last(self) -> int:
        """The highest position of the row."""
        return self.position + max(len(self.events) + len(self.cancellations), 1) - 1

    @property
    def receipts(self) -> list[int]:
        """When each of the row's events and cancellations was received."""
        return [
            *(event.received_at for event in self.events),
            *(cancellation.received_at for cancellation in self.cancellations),
        ]


_COLUMNS = ("position", "events", "kind", "body")

_encoder = msgspec.msgpack.Encoder()
_events_decoder = msgspec.msgpack.Decoder(list[MeterEvent])
_cancellations_decoder = msgspec.msgpack.Decoder(list[Cancellation])

_reserve = (
    sa.update(journal_head)
    .values(next_position=journal_head.c.next_position + sa.bindparam("count"))
    .returning(journal_head.c.next_position)
)
_read = sa.select(journal).order_by(journal.c.position)
_after = journal.c.position > sa.bindparam("after")
_read_until = _read.where(_after, journal.c.position <= sa.bindparam("last"))
_sizes = (
    sa.select(journal.c.position, journal.c.events, sa.func.length(journal.c.body))
    .where(_after)
    .order_by(journal.c.position)
    .limit(sa.bindparam("rows"))
)


def reserve(connection: sa.Connection, count: int) -> int:
    """Take `count` positions and return the first; other writers wait until we commit."""
    after: int = connection.execute(_reserve, {"count": count}).scalar_one()
    return after - count


def last_position(connection: sa.Connection) -> int:
    """Return the highest position given out so far, 0 before the first."""
    after: int = connection.execute(sa.select(journal_head.c.next_position)).scalar_one()
    return after - 1


def read_id_key(connection: sa.Connection) -> bytes:
    """Return what hides positions in the ids of events."""
    key: bytes = connection.execute(sa.select(event_id_key.c.key)).scalar_one()
    return key


def pack(events: Sequence[MeterEvent]) -> Packed:
    """Encode the events of a row."""
    return Packed(len(events), _encoder.encode(events))


def append(connection: sa.Connection, position: int, rows: Sequence[Packed]) -> None:
    """Append the events of `rows` at the reserved positions from `position` on."""
    values = []
    for row in rows:
        values.append((position, row.events, "events", row.body))
        position += row.events
    insert_rows(connection, journal, _COLUMNS, values)


def append_cancellation(connection: sa.Connection, cancellation: Cancellation) -> int:
    """Append a cancellation and return its own position."""
    position = reserve(connection, 1)
    row = (position, 0, "adjustments", _encoder.encode([cancellation]))
    insert_rows(connection, journal, _COLUMNS, [row])
    return position


def read(
    connection: sa.Connection, events_max: int, rows_max: int, bytes_max: int, after: int = 0
) -> Iterator[Entry]:
    """Yield up to `rows_max` rows, those beyond position `after` that are oldest.

    There is at least one if there are any, and more for up to `events_max` events whose bodies
    have `bytes_max` bytes. Each is decoded when it is asked for.
    """
    last, events, size = None, 0, 0
    for position, more, length in connection.execute(_sizes, {"rows": rows_max, "after": after}):
        events, size = events + more, size + length
        if last is not None and (events > events_max or size > bytes_max):
            break
        last = position
    rows = connection.execute(_read_until, {"after": after, "last": last})
    for row in rows:
        yield _decode(row.position, row.kind, row.body)


def _all(connection: sa.Connection) -> Iterator[Entry]:
    """Yield every row, oldest first, a few of them in memory at a time."""
    with connection.execute(_read, execution_options={"yield_per": 100}) as rows:
        for row in rows:
            yield _decode(row.position, row.kind, row.body)


def _decode(position: int, kind: str, body: bytes) -> Entry:
    if kind == "events":
        return Entry(position, _events_decoder.decode(body), [])
    return Entry(position, [], _cancellations_decoder.decode(body))


def release(connection: sa.Connection, last: int) -> None:
    """Delete every row up to position `last`."""
    connection.execute(sa.delete(journal).where(journal.c.position <= last))


def first_position(connection: sa.Connection) -> int | None:
    """Return the oldest position that is not judged yet, None when the journal is empty."""
    found: int | None = connection.execute(sa.select(sa.func.min(journal.c.position))).scalar()
    return found


def oldest(connection: sa.Connection) -> tuple[int, int] | None:
    """Return the oldest position and the earliest receipt of all that is in the journal, if any.

    The one need not belong to the other: what was received first may have its position last.
    """
    first = first_position(connection)
    receipts = (one for entry in _all(connection) for one in entry.receipts)
    return None if first is None else (first, min(receipts))


def pending_by_scope(connection: sa.Connection) -> dict[int, int]:
    """Count the events that are acknowledged and not judged yet, for each scope."""
    pending: Counter[int] = Counter()
    for entry in _all(connection):
        pending.update(event.scope for event in entry.events)
    return dict(pending)


def claiming_events(connection: sa.Connection) -> Iterator[MeterEvent]:
    """Yield the pending events that were submitted alone, which claim their identifiers here."""
    for entry in _all(connection):
        for event in entry.events:
            if event.meter is not None:
                yield event


def pending_events(connection: sa.Connection) -> int:
    """Count the events that are acknowledged and not judged yet."""
    total: int = connection.execute(
        sa.select(sa.func.coalesce(sa.func.sum(journal.c.events), 0))
    ).scalar_one()
    return int(total)
