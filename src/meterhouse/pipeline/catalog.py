"""The catalog as judging needs it, read for some events."""

from collections.abc import Callable, Mapping, Sequence

import sqlalchemy as sa

from meterhouse.ledger import customers, meters
from meterhouse.metering.model import MeterEvent
from meterhouse.metering.validation import Catalog

Customer = tuple[int, str]  # scope, id
Known = Callable[[sa.Connection, set[Customer]], Mapping[Customer, int | None]]


def read_catalog(
    connection: sa.Connection, events: Sequence[MeterEvent], known: Known = customers.known
) -> Catalog:
    """Read what judging these events needs, in the one view of the ledger that `connection` has.

    `known` tells of customers which of them are known, and when each was deleted.
    """
    by_id = meters.by_ids(connection, {event.meter for event in events if event.meter})
    names = {(event.scope, event.event_name) for event in events if not event.meter}
    active = meters.active_by_names(connection, names)
    archived = meters.archived_by_names(connection, names)
    by_id |= {meter.id: meter for meter in active.values()}
    wanted = {
        (event.scope, event.payload[key])
        for key in {meter.customer_key for meter in by_id.values()}
        for event in events
        if key in event.payload
    }
    return Catalog(
        meters=by_id, active=active, archived=archived, customers=known(connection, wanted)
    )
