from collections.abc import Iterator

import pytest

from meterhouse.ingest.pack import pack
from meterhouse.ledger import journal
from meterhouse.ledger.engine import Ledger
from meterhouse.metering.identifier import identifier_digest, partition_of
from meterhouse.metering.model import MeterEvent
from tests.metering.samples import event
from tests.pipeline import Pipeline

EVENTS = [event(identifier=f"e{number}") for number in range(30)]


def partition(one: MeterEvent, partitions: int) -> int:
    return partition_of(identifier_digest(one.scope, one.identifier), partitions)


def written(ledger: Ledger, *requests: list[MeterEvent], partitions: int) -> Iterator[MeterEvent]:
    """Write requests in one commit; yield their events in the order of their positions."""
    rows = [row for request in requests for row in pack(request, partitions)]
    with ledger.write() as connection:
        first = journal.reserve(connection, sum(map(len, requests)))
        journal.append(connection, first, rows)
        found: dict[int, MeterEvent] = {}
        for number in range(partitions):
            for entry in journal.read(connection, 100, 100, 100_000, partition=number):
                found |= dict(entry.numbered())
                assert max(found) >= entry.last
                assert {partition(one, partitions) for one in entry.events} == {number}
    assert sorted(found) == [*range(first, first + len(found))]
    return (found[position] for position in sorted(found))


@pytest.mark.parametrize("partitions", [1, 2, 8])
def test_positions_are_in_the_order_of_the_events(pipeline: Pipeline, partitions: int) -> None:
    ledger = pipeline.stores._ledger
    requests = [EVENTS[:1], EVENTS[1:20], EVENTS[20:]]
    assert [*written(ledger, *requests, partitions=partitions)] == EVENTS


def test_there_is_one_row_for_each_partition_that_has_events() -> None:
    assert [(row.partition, row.events) for row in pack(EVENTS, 1)] == [(0, 30)]
    rows = pack(EVENTS, 8)
    numbers = [row.partition for row in rows]
    assert numbers == sorted({partition(one, 8) for one in EVENTS})
    assert sum(row.events for row in rows) == 30
    [alone] = pack(EVENTS[:1], 8)
    assert (alone.partition, alone.scattered) == (partition(EVENTS[0], 8), False)
