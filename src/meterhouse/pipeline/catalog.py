"""The catalog as judging needs it, read for some events."""

from collections.abc import Callable, Mapping, Sequence

import sqlalchemy as sa

from meterhouse.ledger import customers, meters
from meterhouse.metering.validation import Cases, Catalog

Customer = tuple[int, str]  # scope, id
Known = Callable[[sa.Connection, set[Customer]], Mapping[Customer, int | None]]


def read_catalog(
    connection: sa.Connection, kinds: Sequence[Cases], known: Known = customers.known
) -> Catalog:
    """Read what judging these events needs, in the one view of the ledger that `connection` has.

    `known` tells of customers which of them are known, and when each was deleted.
    """
    checked = {cases.kind.meter for cases in kinds if cases.kind.meter}
    names = {(cases.kind.scope, cases.kind.event_name) for cases in kinds if not cases.kind.meter}
    by_id = meters.by_ids(connection, checked)
    active = meters.active_by_names(connection, names)
    archived = meters.archived_by_names(connection, names)
    by_id |= {meter.id: meter for meter in active.values()}
    keys = {meter.customer_key for meter in by_id.values()}
    wanted = {
        (cases.kind.scope, customer)
        for cases in kinds
        for key in keys
        for customer in {payload.get(key, "") for payload in cases.payloads} - {""}
    }
    return Catalog(
        meters=by_id, active=active, archived=archived, customers=known(connection, wanted)
    )
