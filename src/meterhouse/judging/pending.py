"""Pending events: what a search finds in the journal."""

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.judging.catalog import CatalogReader
from meterhouse.ledger import journal
from meterhouse.metering import search
from meterhouse.metering.search import EventSearch, FoundEvent
from meterhouse.metering.validation import by_kind


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
    numbered = [
        (position, event)
        for entry in entries
        for position, event in entry.numbered()
        if event.scope == wanted.scope.id
    ]
    events = dict(sorted(numbered, key=lambda one: one[0]))
    kinds = by_kind(events.items())
    catalog = CatalogReader(connection).read(kinds)
    found = [search.pending(position, event, catalog) for position, event in events.items()]
    return [event for event in reversed(found) if wanted.wants(event)]
