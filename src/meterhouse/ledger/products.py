"""Products: what is sold (https://docs.stripe.com/api/products).

A product that has, or ever had, a price is never deleted: what a line was for stays explained.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from meterhouse.billing.price import Product
from meterhouse.ledger.dialect import any_of
from meterhouse.ledger.paging import of_time, read_page
from meterhouse.ledger.tables import products
from meterhouse.wire.page import PageParams

_products = sa.select(*(products.c[name] for name in Product.__struct_fields__))
_by_ids = _products.where(products.c.scope == sa.bindparam("scope"), any_of(products.c.id, "ids"))


class Filter(NamedTuple):
    """What the products of a list are like; what is None leaves nothing out."""

    active: bool | None = None
    ids: tuple[str, ...] | None = None
    created: tuple[int | None, int | None] = (None, None)
    details: Mapping[str, Any] = {}


def create_product(connection: sa.Connection, product: Product) -> bool:
    """Store a new product; False when one of the scope has its id."""
    try:
        with connection.begin_nested():
            connection.execute(sa.insert(products), msgspec.structs.asdict(product))
    except IntegrityError:
        if find_product(connection, product.scope, product.id) is None:
            raise
        return False
    return True


def find_product(
    connection: sa.Connection, scope: int, product_id: str, *, lock: bool = False
) -> Product | None:
    """Return a product; None when `scope` has none of this id.

    With `lock`, inside `Ledger.write()`, nobody else changes it until we commit.
    """
    query = _products.where(products.c.scope == scope, products.c.id == product_id)
    query = query.with_for_update() if lock else query
    row = connection.execute(query).mappings().one_or_none()
    return Product(**row) if row else None


def by_ids(connection: sa.Connection, scope: int, ids: Iterable[str]) -> dict[str, Product]:
    """Return the products of a scope that have these ids."""
    rows = connection.execute(_by_ids, {"scope": scope, "ids": list(ids)}).mappings()
    return {row["id"]: Product(**row) for row in rows}


def update_product(connection: sa.Connection, product: Product) -> None:
    """Store what a product has become; read it with `lock` before."""
    connection.execute(
        sa.update(products).where(_is(product)).values(**msgspec.structs.asdict(product))
    )


def delete_product(connection: sa.Connection, product: Product) -> None:
    """Delete a product that has no price."""
    connection.execute(sa.delete(products).where(_is(product)))


def list_products(
    connection: sa.Connection, scope: int, page: PageParams, wanted: Filter
) -> tuple[list[Product], bool] | None:
    """Return a page of the products, newest first, and whether there are more.

    Returns None when the cursor of `page` names no product.
    """
    query = of_time(_products, products.c.created, wanted.created)
    if wanted.active is not None:
        query = query.where(products.c.active == wanted.active)
    if wanted.ids is not None:
        query = query.where(products.c.id.in_(wanted.ids))
    for name, value in wanted.details.items():
        member = products.c.details[name]
        query = query.where(
            member.as_boolean() == value if isinstance(value, bool) else member.as_string() == value
        )
    found = read_page(connection, products, query, scope, page)
    return ([Product(**row) for row in found.rows], found.has_more) if found else None


def _is(product: Product) -> sa.ColumnElement[bool]:
    return sa.and_(products.c.scope == product.scope, products.c.id == product.id)
