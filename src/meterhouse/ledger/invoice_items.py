"""Invoice items: what goes onto a later invoice (https://docs.stripe.com/api/invoiceitems).

One is *pending* until an invoice has it; then it stays with that invoice.
"""

from collections.abc import Collection, Iterable
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
    invoice_items.c.customer == sa.bindparam("customer"), invoice_items.c.invoice.is_(None)
).order_by(invoice_items.c.seq.desc())
_pending_of = _pending.where(
    sa.or_(
        invoice_items.c.subscription.is_(None),
        invoice_items.c.subscription == sa.bindparam("subscription"),
    )
)
_assign = (
    sa.update(invoice_items)
    .where(any_of(invoice_items.c.id, "ids"), invoice_items.c.invoice.is_(None))
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
    connection.execute(sa.insert(invoice_items), _row(item))


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
    query = _pending if subscription is None else _pending_of
    values = {"customer": customer, "subscription": subscription}
    return [_item(row) for row in connection.execute(query, values).mappings()]


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


def assign(connection: sa.Connection, ids: Collection[str], invoice_id: str) -> None:
    """Put pending items onto an invoice; raises `ValueError` if one of them waits no more."""
    if not ids:
        return
    values = {"ids": list(ids), "onto": invoice_id}
    if connection.execute(_assign, values).rowcount != len(ids):
        raise ValueError(f"An item for the invoice '{invoice_id}' is on another, or gone.")


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
