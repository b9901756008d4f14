"""Duplicates on their way into the usage store.

A duplicate was judged as an event that would count, so its block is that of an accepted event, for
another table.
"""

from collections.abc import Mapping, Sequence

import msgspec

from meterhouse.metering.model import AcceptedEvent, Scope
from meterhouse.usage import block
from meterhouse.usage.block import Block


def duplicates(rows: Sequence[AcceptedEvent], scopes: Mapping[int, Scope]) -> list[Block]:
    """Pack duplicates, one block for each month of their timestamps.

    `scopes` holds the scope of every event by its id.
    """
    return [
        msgspec.structs.replace(one, destination="duplicate_events")
        for one in block.accepted(rows, scopes)
    ]
