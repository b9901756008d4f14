"""Invoice items: what goes onto a later invoice (https://docs.stripe.com/api/invoiceitems).

One is *pending* until an invoice has it; then it stays with that invoice.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from meterhouse.billing.invoice import InvoiceItem
from meterhouse.ledger.dialect import any_of
from meterhouse.ledger.paging import of_time, read_page
from meterhouse.ledger.tables import invoice_items
from meterhouse.wire.page import PageParams

_COLUMNS = (
    "id",
    "scope",
    "customer",
    "subscription",
    "invoice",
    "test_clock",
    "metadata",
    "created",
)
_DETAILS = tuple(name for name in InvoiceItem.__struct_fields__ if name not in _COLUMNS)

_items = sa.select(*(invoice_items.c[name] for name in (*_COLUMNS, "details")))
_by_ids = _items.where(any_of(invoice_items.c.id, "ids"))
_pending = _items.where(
    any_of(invoice_items.c.customer, "customers"), invoice_items.c.invoice.is_(None)
).order_by(invoice_items.c.seq.desc())
_assign = (
    sa.update(invoice_items)
    .where(invoice_items.c.id == sa.bindparam("of_id"), invoice_items.c.invoice.is_(None))
    .values(invoice=sa.bindparam("onto"))
)


class Filter(NamedTuple):
    """What the items of a list are like; what is None leaves nothing out."""

    customer: str | None = None
    invoice: str | None = None
    pending: bool | None = None
    created: tuple[int | None, int | None] = (None, None)


def create_item(connection: sa.Connection, item: InvoiceItem) -> None:
    """Store a new item."""
    create_items(connection, [item])


def create_items(connection: sa.Connection, new: Sequence[InvoiceItem]) -> None:
    """Store new items."""
    if new:
        connection.execute(sa.insert(invoice_items), [_row(item) for item in new])


def find_item(
    connection: sa.Connection, scope: int, item_id: str, *, lock: bool = False
) -> InvoiceItem | None:
    """Return an item; None when `scope` has none of this id.

    With `lock`, inside `Ledger.write()`, nobody else changes it until we commit.
    """
    query = _items.where(invoice_items.c.scope == scope, invoice_items.c.id == item_id)
    query = query.with_for_update() if lock else query
    row = connection.execute(query).mappings().one_or_none()
    return _item(row) if row else None


def by_ids(connection: sa.Connection, ids: Iterable[str]) -> dict[str, InvoiceItem]:
    """Return the items that have these ids."""
    rows = connection.execute(_by_ids, {"ids": list(ids)}).mappings()
    return {row["id"]: _item(row) for row in rows}


def update_item(connection: sa.Connection, item: InvoiceItem) -> None:
    """Store what an item has become; read it with `lock` before."""
    update = sa.update(invoice_items).where(invoice_items.c.id == item.id).values(**_row(item))
    connection.execute(update)


def delete_item(connection: sa.Connection, item_id: str) -> None:
    """Forget an item."""
    connection.execute(sa.delete(invoice_items).where(invoice_items.c.id == item_id))


def pending(
    connection: sa.Connection, customer: str, subscription: str | None
) -> list[InvoiceItem]:
    """Return what waits for an invoice of a customer, newest first.

    With a subscription those of others are left out, as the invoices of a subscription do; what
    belongs to none goes onto the first invoice there is.
    """
    found = pending_of(connection, [customer])[customer]
    if subscription is None:
        return found
    return [item for item in found if item.subscription in (None, subscription)]


def pending_of(connection: sa.Connection, customers: Iterable[str]) -> dict[str, list[InvoiceItem]]:
    """Return what waits for an invoice of each of the customers, newest first."""
    found: dict[str, list[InvoiceItem]] = {customer: [] for customer in customers}
    for row in connection.execute(_pending, {"customers": list(found)}).mappings():
        found[row["customer"]].append(_item(row))
    return found


def count_pending(connection: sa.Connection, customer: str) -> int:
    """Count what waits for an invoice of a customer."""
    query = sa.select(sa.func.count()).where(
        invoice_items.c.customer == customer, invoice_items.c.invoice.is_(None)
    )
    counted: int = connection.execute(query).scalar_one()
    return counted


def on_invoice(connection: sa.Connection, invoice_id: str) -> list[InvoiceItem]:
    """Return the items that an invoice has, newest first."""
    query = _items.where(invoice_items.c.invoice == invoice_id)
    rows = connection.execute(query.order_by(invoice_items.c.seq.desc())).mappings()
    return [_item(row) for row in rows]


def assign(connection: sa.Connection, some: Iterable[tuple[str, str]]) -> None:
    """Put pending items onto invoices, told by their ids; raises `ValueError` if one waits no more.

    None of them is named twice.
    """
    rows = [{"of_id": item_id, "onto": invoice_id} for item_id, invoice_id in some]
    if rows and connection.execute(_assign, rows).rowcount != len(rows):
        raise ValueError("An item for an invoice is on another, or gone.")


def list_items(
    connection: sa.Connection, scope: int, page: PageParams, wanted: Filter
) -> tuple[list[InvoiceItem], bool] | None:
    """Return a page of the items, newest first, and whether there are more.

    Returns None when the cursor of `page` names no item.
    """
    query = of_time(_items, invoice_items.c.created, wanted.created)
    for name in ("customer", "invoice"):
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(invoice_items.c[name] == value)
    if wanted.pending is not None:
        query = query.where(invoice_items.c.invoice.is_(None) == sa.literal(wanted.pending))
    found = read_page(connection, invoice_items, query, scope, page)
    return ([_item(row) for row in found.rows], found.has_more) if found else None


def _row(item: InvoiceItem) -> dict[str, Any]:
    return {
        **{name: getattr(item, name) for name in _COLUMNS},
        "details": msgspec.to_builtins({name: getattr(item, name) for name in _DETAILS}),
    }


def _item(row: sa.RowMapping) -> InvoiceItem:
    return msgspec.convert({name: row[name] for name in _COLUMNS} | row["details"], InvoiceItem)
