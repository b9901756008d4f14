"""Pack: events as rows of the journal, one row for each partition that they belong to."""

from collections import defaultdict
from collections.abc import Sequence

from meterhouse.ledger import journal
from meterhouse.ledger.journal import Packed
from meterhouse.metering.identifier import identifier_digest, partition_of
from meterhouse.metering.model import MeterEvent


def pack(events: Sequence[MeterEvent], partitions: int) -> tuple[Packed, ...]:
    """Pack events in their order, which they keep within a row."""
    if partitions == 1:
        return (journal.pack(events),)
    parts: dict[int, list[MeterEvent]] = defaultdict(list)
    for event in events:
        digest = identifier_digest(event.scope, event.identifier)
        parts[partition_of(digest, partitions)].append(event)
    return tuple(journal.pack(parts[number], number) for number in sorted(parts))
