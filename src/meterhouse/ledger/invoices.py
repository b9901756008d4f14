"""Invoices (https://docs.stripe.com/api/invoices), without their lines and segments.

What a reader may rely on:

- What a finalized invoice says never changes: its number, its amounts, its lines and its segments.
  Whoever tries raises `ValueError`, and nothing is written.
- `revision` grows with every change that is stored, so what was computed from an invoice that has
  changed since is not mistaken for news.
- Two invoices of a customer never have the same number; the database itself sees to it.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from meterhouse.billing.invoice import Invoice, InvoiceStatus
from meterhouse.billing.subscription import CollectionMethod
from meterhouse.ledger.paging import of_time, read_page
from meterhouse.ledger.tables import customers, invoices
from meterhouse.wire.page import PageParams

_COLUMNS = (
    "id",
    "scope",
    "customer",
    "subscription",
    "test_clock",
    "status",
    "collection",
    "currency",
    "number",
    "due_date",
    "total",
    "finalized_at",
    "metadata",
    "created",
    "revision",
)
_DETAILS = tuple(name for name in Invoice.__struct_fields__ if name not in _COLUMNS)
# What a finalized invoice keeps for good.
_LASTING = ("currency", "customer", "finalized_at", "number", "total")

_invoices = sa.select(*(invoices.c[name] for name in (*_COLUMNS, "details")))


class Filter(NamedTuple):
    """What the invoices of a list are like; what is None leaves nothing out.

    Windows are half-open, and open where a bound is None.
    """

    customer: str | None = None
    subscription: str | None = None
    status: InvoiceStatus | None = None
    collection: CollectionMethod | None = None
    created: tuple[int | None, int | None] = (None, None)
    due_date: tuple[int | None, int | None] = (None, None)


def create_invoice(connection: sa.Connection, invoice: Invoice) -> None:
    """Store a new invoice."""
    connection.execute(sa.insert(invoices), _row(invoice))


def find_invoice(
    connection: sa.Connection, scope: int, invoice_id: str, *, lock: bool = False
) -> Invoice | None:
    """Return an invoice; None when `scope` has none of this id.

    With `lock`, inside `Ledger.write()`, nobody else changes it until we commit, nor its customer,
    who is locked first.
    """
    query = _invoices.where(invoices.c.scope == scope, invoices.c.id == invoice_id)
    if lock:
        of_invoice = sa.select(invoices.c.customer).where(
            invoices.c.scope == scope, invoices.c.id == invoice_id
        )
        owner = sa.select(customers.c.seq).where(customers.c.id == of_invoice.scalar_subquery())
        connection.execute(owner.with_for_update())
        query = query.with_for_update()
    row = connection.execute(query).mappings().one_or_none()
    return _invoice(row) if row else None


def hold(connection: sa.Connection, ids: Iterable[str]) -> dict[str, Invoice]:
    """Return the invoices that have these ids, for nobody else to change until we commit.

    Their customers must be held before (`customers.hold`); they are locked in the order of their
    ids.
    """
    query = _invoices.where(invoices.c.id.in_(list(ids))).order_by(invoices.c.id)
    rows = connection.execute(query.with_for_update()).mappings()
    return {row["id"]: _invoice(row) for row in rows}


def update_invoice(connection: sa.Connection, invoice: Invoice) -> Invoice:
    """Store what an invoice has become, and return it with its new revision.

    Read it with `lock` before. Raises `ValueError` for a change of what a finalized one keeps.
    """
    stored = msgspec.structs.replace(invoice, revision=invoice.revision + 1)
    row = _row(stored)
    same = sa.and_(*(invoices.c[name].is_not_distinct_from(row[name]) for name in _LASTING))
    kept = sa.or_(invoices.c.finalized_at.is_(None), same)
    update = sa.update(invoices).where(invoices.c.id == invoice.id, kept).values(**row)
    if connection.execute(update).rowcount != 1:
        raise ValueError(f"The invoice '{invoice.id}' is finalized, or gone.")
    return stored


def delete_invoice(connection: sa.Connection, invoice_id: str) -> None:
    """Forget a draft, which has no lines, segments and items any more."""
    require_draft(connection, invoice_id)
    connection.execute(sa.delete(invoices).where(invoices.c.id == invoice_id))


def require_draft(connection: sa.Connection, invoice_id: str) -> None:
    """Raise `ValueError` unless there is an invoice of this id that is not finalized."""
    query = sa.select(invoices.c.finalized_at).where(invoices.c.id == invoice_id)
    row = connection.execute(query).one_or_none()
    if row is None or row.finalized_at is not None:
        raise ValueError(f"The invoice '{invoice_id}' is finalized, or gone.")


def list_invoices(
    connection: sa.Connection, scope: int, page: PageParams, wanted: Filter
) -> tuple[list[Invoice], bool] | None:
    """Return a page of the invoices, newest first, and whether there are more.

    Returns None when the cursor of `page` names no invoice.
    """
    query = of_time(_invoices, invoices.c.created, wanted.created)
    query = of_time(query, invoices.c.due_date, wanted.due_date)
    for name in ("collection", "customer", "status", "subscription"):
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(invoices.c[name] == value)
    found = read_page(connection, invoices, query, scope, page)
    return ([_invoice(row) for row in found.rows], found.has_more) if found else None


def due(
    connection: sa.Connection, test_clock: str | None, until: int, rows_max: int
) -> list[Invoice]:
    """Return invoices to which something happens of itself by `until`, the earliest first.

    They live by `test_clock`, or by the machine's where it is None.
    """
    query = _invoices.where(
        invoices.c.test_clock.is_not_distinct_from(test_clock), invoices.c.due <= until
    )
    rows = connection.execute(query.order_by(invoices.c.due, invoices.c.seq).limit(rows_max))
    return [_invoice(row) for row in rows.mappings()]


def late(connection: sa.Connection, subscription: str) -> bool:
    """Tell whether an invoice of a subscription is open still, and was told to be overdue."""
    query = _invoices.where(invoices.c.subscription == subscription, invoices.c.status == "open")
    return any(_invoice(row).overdue_told for row in connection.execute(query).mappings())


def has_number(connection: sa.Connection, customer: str, number: str) -> bool:
    """Tell whether an invoice of a customer has a number."""
    query = sa.select(invoices.c.seq).where(
        invoices.c.customer == customer, invoices.c.number == number
    )
    return connection.execute(query).first() is not None


def _row(invoice: Invoice) -> dict[str, Any]:
    """Return what is stored: beside the rest what lists, and whoever is due, are looked for by."""
    return {
        **{name: getattr(invoice, name) for name in _COLUMNS},
        "due": invoice.due,
        "details": msgspec.to_builtins({name: getattr(invoice, name) for name in _DETAILS}),
    }


def _invoice(row: sa.RowMapping) -> Invoice:
    return msgspec.convert({name: row[name] for name in _COLUMNS} | row["details"], Invoice)
