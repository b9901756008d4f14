"""Who is watched: subscriptions that are invoiced early when their usage reaches a threshold."""

from collections.abc import Collection

import sqlalchemy as sa

from meterhouse.billing.subscription import Subscription
from meterhouse.ledger.dialect import any_of
from meterhouse.ledger.subscriptions import by_ids
from meterhouse.ledger.tables import prices, subscription_items, subscriptions

_ENDED = ("canceled", "incomplete_expired")

_watched = sa.and_(subscriptions.c.watched.is_(True), subscriptions.c.status.not_in(_ENDED))
_items = subscription_items.join(
    subscriptions, subscriptions.c.id == subscription_items.c.subscription
).join(prices, prices.c.id == subscription_items.c.price)
_any = sa.select(sa.exists(sa.select(subscriptions.c.id).where(_watched)))
_of_customers = (
    sa.select(subscriptions.c.customer, prices.c.meter, subscriptions.c.id)
    .select_from(_items)
    .where(_watched, any_of(subscriptions.c.customer, "customers"))
)
_of_clock = sa.select(subscriptions.c.id).where(
    _watched, subscriptions.c.test_clock == sa.bindparam("test_clock")
)


def any_watched(connection: sa.Connection) -> bool:
    """Tell whether anybody is watched at all."""
    return bool(connection.execute(_any).scalar_one())


def watched_of(
    connection: sa.Connection, scope: int, touched: Collection[tuple[str, str]]
) -> list[Subscription]:
    """Return the watched subscriptions that bill one of the (meter, customer) pairs of a scope."""
    customers = {customer for _, customer in touched}
    rows = connection.execute(_of_customers, {"customers": list(customers)})
    pairs = set(touched)
    ids = {id_ for customer, meter, id_ in rows if (meter, customer) in pairs}
    return list(by_ids(connection, scope, ids).values()) if ids else []


def watched_by_clock(connection: sa.Connection, scope: int, test_clock: str) -> list[Subscription]:
    """Return the watched subscriptions that live by a test clock."""
    ids = set(connection.execute(_of_clock, {"test_clock": test_clock}).scalars())
    return list(by_ids(connection, scope, ids).values()) if ids else []
