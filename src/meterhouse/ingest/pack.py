"""Pack: events as rows of the journal, one row for each partition that they belong to."""

from collections import defaultdict
from collections.abc import Sequence

from meterhouse.ledger import journal
from meterhouse.ledger.journal import Packed
from meterhouse.metering.identifier import identifier_digest, partition_of
from meterhouse.metering.model import MeterEvent


def pack(events: Sequence[MeterEvent], partitions: int) -> tuple[Packed, ...]:
    """Pack events, whose positions will be in their order; the rows stay next to each other."""
    if partitions == 1:
        return (journal.pack(events),)
    parts: dict[int, list[int]] = defaultdict(list)
    for index, event in enumerate(events):
        digest = identifier_digest(event.scope, event.identifier)
        parts[partition_of(digest, partitions)].append(index)
    rows: list[Packed] = []
    before = 0
    for number, indexes in sorted(parts.items()):
        some = [events[index] for index in indexes]
        rows.append(journal.pack_scattered(some, number, indexes, before))
        before += len(some)
    return tuple(rows)
