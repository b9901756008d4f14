"""Pending events: what a search finds in the journal."""

import numpy as np
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.judging.catalog import CatalogReader
from meterhouse.ledger import journal
from meterhouse.metering import search
from meterhouse.metering.search import EventSearch, FoundEvent


def find_pending(connection: sa.Connection, wanted: EventSearch) -> list[FoundEvent]:
    """Return the pending events that a search is for, newest first.

    Only `SEARCH_PENDING_EVENTS_MAX` of the journal are looked through, the oldest.
    """
    if wanted.outcome not in (None, "pending") or wanted.code is not None:
        return []
    entries = journal.read(
        connection,
        limits.SEARCH_PENDING_EVENTS_MAX,
        limits.PROCESS_BATCH_ROWS_MAX,
        limits.PROCESS_BATCH_BYTES_MAX,
    )
    events = journal.events_of(entries)
    events = events.take(
        np.flatnonzero(
            events.which([head.scope == wanted.scope.id for head in events.heads.values])
        )
    )
    catalog = CatalogReader(connection).read(events)
    found = [
        search.pending(position, event, catalog)
        for position, event in zip(events.positions.tolist(), events.one_by_one(), strict=True)
    ]
    return [event for event in reversed(found) if wanted.wants(event)]
