from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import sqlalchemy as sa

from meterhouse.ingest.claims import LocalClaims
from meterhouse.ingest.commit import Sent, StreamSubmission, commit
from meterhouse.ingest.pack import pack
from meterhouse.ledger import journal
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.journal import Entry, Packed
from meterhouse.metering.identifier import identifier_digest, partition_of
from meterhouse.metering.model import MeterEvent
from tests.metering.rows import events_of
from tests.metering.samples import NOW, event
from tests.pipeline import Pipeline

EVENTS = [event(identifier=f"e{number}") for number in range(30)]


def partition(one: MeterEvent, partitions: int) -> int:
    return partition_of(identifier_digest(one.scope, one.identifier), partitions)


def written(ledger: Ledger, rows: Sequence[Packed], partitions: int) -> Iterator[MeterEvent]:
    """Write rows in one commit; yield their events in the order of their positions."""
    with ledger.write() as connection:
        first = journal.reserve(connection, sum(row.events for row in rows))
        journal.append(connection, first, rows)
        found: dict[int, MeterEvent] = {}
        for number in range(partitions):
            for entry in journal.read(connection, 100, 100, 100_000, partitions=[number]):
                columns = journal.events_of([entry])
                found |= dict(events_of(columns))
                assert max(found) >= entry.last
                assert {partition(one, partitions) for one in columns.one_by_one()} == {number}
    assert sorted(found) == [*range(first, first + len(found))]
    return (found[position] for position in sorted(found))


def all_of(connection: sa.Connection) -> list[Entry]:
    """Return all rows of the journal."""
    return [*journal.read(connection, 100_000, 100, 100_000_000)]


@pytest.mark.parametrize("partitions", [1, 2, 8])
def test_positions_are_in_the_order_of_the_events(pipeline: Pipeline, partitions: int) -> None:
    ledger = pipeline.stores._ledger
    requests = [EVENTS[:1], EVENTS[1:20], EVENTS[20:]]
    rows = [row for request in requests for row in pack(request, partitions)]
    assert [*written(ledger, rows, partitions)] == EVENTS
    joined = journal.join(rows)
    assert [row.partition for row in joined] == sorted({partition(e, partitions) for e in EVENTS})
    with ledger.write() as connection:
        journal.release(connection, [entry.position for entry in all_of(connection)])
    assert [*written(ledger, joined, partitions)] == EVENTS


@pytest.mark.parametrize("number", [1, 15, 16, 17, 65_535, 65_536])
def test_joined_rows_are_read_however_many_parts_they_have(pipeline: Pipeline, number: int) -> None:
    rows = [journal.pack(EVENTS[:2])] * (number - 1)
    [joined] = journal.join([*rows, journal.pack(EVENTS[2:3])])
    with pipeline.stores._ledger.write() as connection:
        journal.append(connection, journal.reserve(connection, 1), [joined])
        [entry] = all_of(connection)
        assert entry.events == 2 * number - 1
        assert not entry.offsets
        columns = journal.events_of([entry])
    last = columns.take(np.arange(len(columns))[-3:])
    assert [*last.one_by_one()] == [*(EVENTS[:2] if number > 1 else []), EVENTS[2]]


def test_there_is_one_row_for_each_partition_that_has_events() -> None:
    assert [(row.partition, row.events) for row in pack(EVENTS, 1)] == [(0, 30)]
    rows = pack(EVENTS, 8)
    numbers = [row.partition for row in rows]
    assert numbers == sorted({partition(one, 8) for one in EVENTS})
    assert sum(row.events for row in rows) == 30
    [alone] = pack(EVENTS[:1], 8)
    assert (alone.partition, alone.offsets) == (partition(EVENTS[0], 8), ())


def test_a_commit_has_one_row_for_each_partition(pipeline: Pipeline) -> None:
    sent = [
        Sent(StreamSubmission(pipeline.scope.id, pack(some, 2), None), len(some), None)
        for some in (EVENTS[:10], EVENTS[10:11], EVENTS[11:])
    ]
    claims = LocalClaims(pipeline.identifiers)
    with pipeline.stores._ledger.write() as connection:
        assert commit(connection, sent, NOW, claims, 2).events == 30
        rows = all_of(connection)
        assert [row.events for row in rows] == [*Counter(partition(e, 2) for e in EVENTS).values()]
        assert [*journal.events_of(rows).one_by_one()] == EVENTS
