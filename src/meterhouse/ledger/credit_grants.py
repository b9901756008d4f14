"""Credit grants (https://docs.stripe.com/api/billing/credit-grant).

What a reader may rely on:

- A grant's balance is the sum of its transactions (`ledger.credit_transactions`), which are added
  together with what they make of it; the database itself keeps it from zero to what was granted.
- Whoever changes a grant has its customer locked.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
import sqlalchemy as sa

from meterhouse.billing.credit import Grant
from meterhouse.ledger import memo
from meterhouse.ledger.dialect import any_of
from meterhouse.ledger.holdups import not_waiting
from meterhouse.ledger.paging import read_page
from meterhouse.ledger.tables import credit_grants as grants
from meterhouse.wire.page import PageParams

_COLUMNS = (
    "id",
    "scope",
    "customer",
    "test_clock",
    "currency",
    "amount",
    "balance",
    "metadata",
    "created",
)
_DETAILS = tuple(name for name in Grant.__struct_fields__ if name not in _COLUMNS)

_grants = sa.select(*(grants.c[name] for name in (*_COLUMNS, "details")))
_unspent = _grants.where(any_of(grants.c.customer, "customers"), grants.c.balance > 0).order_by(
    grants.c.seq
)
_by_ids = _grants.where(any_of(grants.c.id, "ids"))
_CHANGING = ("balance", "due", "metadata", "details")
_update = (
    sa.update(grants)
    .where(grants.c.id == sa.bindparam("grant"))
    .values({name: sa.bindparam(name) for name in _CHANGING})
)
_currencies = (
    sa.select(grants.c.currency).where(grants.c.customer == sa.bindparam("customer")).distinct()
)
_ANY = "SELECT EXISTS (SELECT 1 FROM credit_grants)"


def create_grants(connection: sa.Connection, new: Iterable[Grant]) -> None:
    """Store new grants."""
    rows = [_row(one) for one in new]
    if rows:
        connection.execute(sa.insert(grants), rows)
        memo.forget(connection)


def find_grant(connection: sa.Connection, scope: int, grant_id: str) -> Grant | None:
    """Return a grant; None when `scope` has none of this id."""
    query = _grants.where(grants.c.scope == scope, grants.c.id == grant_id)
    row = connection.execute(query).mappings().one_or_none()
    return _grant(row) if row else None


def update_grants(connection: sa.Connection, changed: Iterable[Grant]) -> None:
    """Store what grants have become, whose customers are held."""
    rows = [{name: _row(one)[name] for name in _CHANGING} | {"grant": one.id} for one in changed]
    if rows:
        connection.execute(_update, rows)


def list_grants(
    connection: sa.Connection, scope: int, page: PageParams, customer: str | None = None
) -> tuple[list[Grant], bool] | None:
    """Return a page of the grants, newest first, and whether there are more.

    Returns None when the cursor of `page` names no grant.
    """
    query = _grants if customer is None else _grants.where(grants.c.customer == customer)
    found = read_page(connection, grants, query, scope, page)
    return ([_grant(row) for row in found.rows], found.has_more) if found else None


def unspent(connection: sa.Connection, customers: Iterable[str]) -> dict[str, list[Grant]]:
    """Return the grants of each customer of which something is left, usable by now or not.

    Where nobody was ever granted anything, that is known at once.
    """
    found: dict[str, list[Grant]] = {customer: [] for customer in customers}
    if not memo.remembered(connection, "credits", lambda: _are_there(connection)):
        return found
    for row in connection.execute(_unspent, {"customers": list(found)}).mappings():
        found[row["customer"]].append(_grant(row))
    return found


def by_ids(connection: sa.Connection, ids: Iterable[str]) -> dict[str, Grant]:
    """Return the grants that have these ids."""
    rows = connection.execute(_by_ids, {"ids": list(ids)}).mappings()
    return {row["id"]: _grant(row) for row in rows}


def currencies(connection: sa.Connection, customer: str) -> list[str]:
    """Return the currencies of all grants that a customer ever had."""
    return sorted(connection.execute(_currencies, {"customer": customer}).scalars())


def due(
    connection: sa.Connection, test_clock: str | None, until: int, rows_max: int
) -> list[Grant]:
    """Return grants of which something is left that expires by `until`, the earliest first.

    They live by `test_clock`, or by the machine's where it is None. What is held up is left out.
    """
    query = _grants.where(
        grants.c.test_clock == test_clock,  # IS NULL where that is None: only that has an index
        grants.c.due <= until,
        not_waiting(grants, until),
    )
    rows = connection.execute(query.order_by(grants.c.due, grants.c.seq).limit(rows_max))
    return [_grant(row) for row in rows.mappings()]


def _are_there(connection: sa.Connection) -> bool:
    return bool(connection.exec_driver_sql(_ANY).scalar())


def _row(grant: Grant) -> dict[str, Any]:
    return {
        **{name: getattr(grant, name) for name in _COLUMNS},
        "due": grant.due,
        "details": msgspec.to_builtins({name: getattr(grant, name) for name in _DETAILS}),
    }


def _grant(row: sa.RowMapping) -> Grant:
    return msgspec.convert({name: row[name] for name in _COLUMNS} | row["details"], Grant)
