"""Prices: what a product costs (https://docs.stripe.com/api/prices).

- What a price comes to never changes once it is made, and prices are never deleted.
- In a scope one price at most has a lookup key; the database itself sees to it.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from meterhouse.billing.price import Price
from meterhouse.ledger.dialect import any_of
from meterhouse.ledger.paging import of_time, read_page
from meterhouse.ledger.tables import (
    invoice_items,
    invoice_segments,
    prices,
    subscription_items,
)
from meterhouse.wire.page import PageParams

_COLUMNS = ("id", "scope", "product", "active", "lookup_key", "metadata", "created")
_DETAILS = ("pricing", "recurring", "options", "nickname", "tax_behavior")

_prices = sa.select(*(prices.c[name] for name in (*_COLUMNS, "details")))
_by_ids = _prices.where(prices.c.scope == sa.bindparam("scope"), any_of(prices.c.id, "ids"))


class Filter(NamedTuple):
    """What the prices of a list are like; what is None leaves nothing out."""

    active: bool | None = None
    currency: str | None = None
    lookup_keys: tuple[str, ...] | None = None
    product: str | None = None
    recurring: bool | None = None
    interval: str | None = None
    meter: str | None = None
    usage_type: str | None = None
    created: tuple[int | None, int | None] = (None, None)


def create_price(connection: sa.Connection, price: Price) -> None:
    """Store a new price, whose lookup key no other has."""
    connection.execute(sa.insert(prices), _row(price))


def find_price(
    connection: sa.Connection, scope: int, price_id: str, *, lock: bool = False
) -> Price | None:
    """Return a price; None when `scope` has none of this id.

    With `lock`, inside `Ledger.write()`, nobody else changes it until we commit.
    """
    query = _prices.where(prices.c.scope == scope, prices.c.id == price_id)
    return _one(connection, query.with_for_update() if lock else query)


def find_lookup_key(connection: sa.Connection, scope: int, lookup_key: str) -> Price | None:
    """Return the price that has a lookup key, which stays its own until we commit."""
    query = _prices.where(prices.c.scope == scope, prices.c.lookup_key == lookup_key)
    return _one(connection, query.with_for_update())


def by_ids(connection: sa.Connection, scope: int, ids: Iterable[str]) -> dict[str, Price]:
    """Return the prices of a scope that have these ids."""
    rows = connection.execute(_by_ids, {"scope": scope, "ids": list(ids)}).mappings()
    return {row["id"]: _price(row) for row in rows}


def has_prices(connection: sa.Connection, scope: int, product: str) -> bool:
    """Tell whether a product has a price, active or not."""
    query = sa.select(prices.c.seq).where(prices.c.scope == scope, prices.c.product == product)
    return connection.execute(query.limit(1)).first() is not None


def is_billed(connection: sa.Connection, price: str) -> bool:
    """Tell whether usage or a subscription is, or ever was, billed under a price."""
    waits = sa.and_(
        invoice_items.c.invoice.is_(None),
        invoice_items.c.details["price"].as_string() == price,
    )
    query = sa.select(
        sa.or_(
            sa.exists().where(subscription_items.c.price == price),
            sa.exists().where(invoice_segments.c.price == price),
            sa.exists().where(waits),
        )
    )
    return bool(connection.execute(query).scalar_one())


def update_price(connection: sa.Connection, price: Price) -> None:
    """Store what a price has become; read it with `lock` before."""
    connection.execute(sa.update(prices).where(prices.c.id == price.id).values(**_row(price)))


def list_prices(
    connection: sa.Connection, scope: int, page: PageParams, wanted: Filter
) -> tuple[list[Price], bool] | None:
    """Return a page of the prices, newest first, and whether there are more.

    Returns None when the cursor of `page` names no price.
    """
    query = of_time(_prices, prices.c.created, wanted.created)
    for name in ("active", "currency", "interval", "meter", "product", "usage_type"):
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(prices.c[name] == value)
    if wanted.lookup_keys is not None:
        query = query.where(prices.c.lookup_key.in_(wanted.lookup_keys))
    if wanted.recurring is not None:
        query = query.where(prices.c.interval.is_not(None) == sa.literal(wanted.recurring))
    found = read_page(connection, prices, query, scope, page)
    return ([_price(row) for row in found.rows], found.has_more) if found else None


def _one(connection: sa.Connection, query: sa.Select[Any]) -> Price | None:
    row = connection.execute(query).mappings().one_or_none()
    return _price(row) if row else None


def _row(price: Price) -> dict[str, Any]:
    """Return what is stored: decimals as text, and beside the rest what lists look for."""
    recurring = price.recurring
    return {
        **{name: getattr(price, name) for name in _COLUMNS},
        "currency": price.pricing.currency,
        "interval": recurring and recurring.recurrence.interval,
        "usage_type": recurring and recurring.usage_type,
        "meter": recurring and recurring.meter,
        "details": msgspec.to_builtins({name: getattr(price, name) for name in _DETAILS}),
    }


def _price(row: sa.RowMapping) -> Price:
    values = {name: row[name] for name in _COLUMNS} | row["details"]
    return msgspec.convert(values, Price)
