"""Meters whose usage may reach the threshold of a subscription, or might have once.

What a reader may rely on: who sees a subscription with thresholds sees its meters here. One that is
watched remains so, which costs little and spares whoever judges events to look who is gone.
"""

from collections.abc import Collection

import sqlalchemy as sa

from meterhouse.ledger.dialect import any_of, insert_missing
from meterhouse.ledger.tables import prices, watched_meters

_all = sa.select(watched_meters.c.meter)
_missing = (
    sa.select(prices.c.meter)
    .where(
        any_of(prices.c.id, "prices"),
        prices.c.meter.is_not(None),
        prices.c.meter.not_in(_all),
    )
    .distinct()
    .order_by(prices.c.meter)
)


def watch(connection: sa.Connection, price_ids: Collection[str]) -> None:
    """Watch the meters of prices from now on."""
    if not price_ids:
        return
    missing = connection.execute(_missing, {"prices": list(price_ids)}).scalars().all()
    if missing:
        rows = [{"meter": meter} for meter in missing]
        connection.execute(insert_missing(connection.dialect.name, watched_meters), rows)


def all_watched(connection: sa.Connection) -> frozenset[str]:
    """Return the meters that are watched."""
    return frozenset(connection.execute(_all).scalars())
