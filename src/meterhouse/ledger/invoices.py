"""Invoices (https://docs.stripe.com/api/invoices), without their lines and segments.

What a reader may rely on:

- What a finalized invoice says never changes: its number, its amounts, its lines and its segments.
  Whoever tries raises `ValueError`, and nothing is written.
- `revision` grows with every change that is stored, so what was computed from an invoice that has
  changed since is not mistaken for news.
- Two invoices of a customer never have the same number; the database itself sees to it.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from meterhouse.billing.invoice import Invoice, InvoiceStatus
from meterhouse.billing.subscription import CollectionMethod
from meterhouse.ledger.dialect import any_of
from meterhouse.ledger.holdups import not_waiting
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

_FIXED = ("id", "scope", "customer", "subscription", "test_clock", "created")
_CHANGING = (*(name for name in _COLUMNS if name not in _FIXED), "due", "details")

_invoices = sa.select(*(invoices.c[name] for name in (*_COLUMNS, "details")))
_held = _invoices.where(any_of(invoices.c.id, "ids")).order_by(invoices.c.id).with_for_update()
_is_same = sa.and_(
    *(invoices.c[name].is_not_distinct_from(sa.bindparam(f"same_{name}")) for name in _LASTING)
)
_update = (
    sa.update(invoices)
    .where(
        invoices.c.id == sa.bindparam("of_id"),
        sa.or_(invoices.c.finalized_at.is_(None), _is_same),
    )
    .values({name: sa.bindparam(name) for name in _CHANGING})
)
_drafts = sa.select(invoices.c.id).where(
    any_of(invoices.c.id, "ids"), invoices.c.finalized_at.is_(None)
)
_numbered = sa.select(invoices.c.customer, invoices.c.number).where(
    any_of(invoices.c.customer, "customers"), any_of(invoices.c.number, "numbers")
)


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
    create_invoices(connection, [invoice])


def create_invoices(connection: sa.Connection, new: Sequence[Invoice]) -> None:
    """Store new invoices."""
    if new:
        connection.execute(sa.insert(invoices), [_row(one) for one in new])


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
    rows = connection.execute(_held, {"ids": list(ids)}).mappings()
    return {row["id"]: _invoice(row) for row in rows}


def update_invoice(connection: sa.Connection, invoice: Invoice) -> Invoice:
    """Store what an invoice has become, and return it with its new revision.

    Read it with `lock` before. Raises `ValueError` for a change of what a finalized one keeps.
    """
    changed = revised(invoice)
    put_revised(connection, [changed])
    return changed


def revised(invoice: Invoice) -> Invoice:
    """Return an invoice that has changed in its new revision, which is to be stored."""
    return msgspec.structs.replace(invoice, revision=invoice.revision + 1)


def put_revised(connection: sa.Connection, some: Sequence[Invoice]) -> None:
    """Store new revisions of invoices; raises `ValueError` as `update_invoice` does."""
    if some:
        stored = connection.execute(_update, [_changes(one) for one in some]).rowcount
        if stored != len(some):
            raise ValueError(f"{_named(one.id for one in some)} is finalized, or gone.")


def revise_drafts(connection: sa.Connection, subscription: str) -> None:
    """Let the drafts of a subscription be counted anew, whoever has counted them already.

    Their customer must be held.
    """
    connection.execute(
        sa.update(invoices)
        .where(invoices.c.subscription == subscription, invoices.c.status == "draft")
        .values(revision=invoices.c.revision + 1)
    )


def delete_invoice(connection: sa.Connection, invoice_id: str) -> None:
    """Forget a draft, which has no lines, segments and items any more."""
    require_draft(connection, invoice_id)
    connection.execute(sa.delete(invoices).where(invoices.c.id == invoice_id))


def require_draft(connection: sa.Connection, invoice_id: str) -> None:
    """Raise `ValueError` unless there is an invoice of this id that is not finalized."""
    require_drafts(connection, {invoice_id})


def require_drafts(connection: sa.Connection, ids: Collection[str]) -> None:
    """Raise `ValueError` unless each of different ids is that of an invoice not finalized."""
    drafts = connection.execute(_drafts, {"ids": list(ids)}).scalars().all()
    if len(drafts) != len(ids):
        raise ValueError(f"{_named(set(ids) - set(drafts))} is finalized, or gone.")


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

    They live by `test_clock`, or by the machine's where it is None. What is held up is left out.
    """
    query = _invoices.where(
        invoices.c.test_clock == test_clock,  # IS NULL where that is None: only that has an index
        invoices.c.due <= until,
        not_waiting(invoices, until),
    )
    rows = connection.execute(query.order_by(invoices.c.due, invoices.c.seq).limit(rows_max))
    return [_invoice(row) for row in rows.mappings()]


def drafts_of(connection: sa.Connection, customer: str) -> list[Invoice]:
    """Return the drafts of a customer, oldest first."""
    query = _invoices.where(invoices.c.customer == customer, invoices.c.status == "draft")
    rows = connection.execute(query.order_by(invoices.c.seq)).mappings()
    return [_invoice(row) for row in rows]


def late(connection: sa.Connection, subscription: str) -> bool:
    """Tell whether an invoice of a subscription is open still, and was told to be overdue."""
    query = _invoices.where(invoices.c.subscription == subscription, invoices.c.status == "open")
    return any(_invoice(row).overdue_told for row in connection.execute(query).mappings())


def has_number(connection: sa.Connection, customer: str, number: str) -> bool:
    """Tell whether an invoice of a customer has a number."""
    return bool(taken_numbers(connection, [(customer, number)]))


def taken_numbers(
    connection: sa.Connection, wanted: Collection[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Return those pairs of a customer and a number that an invoice has."""
    customers_, numbers = zip(*wanted, strict=True) if wanted else ((), ())
    values = {"customers": list(set(customers_)), "numbers": list(set(numbers))}
    return {(row.customer, row.number) for row in connection.execute(_numbered, values)} & {*wanted}


def _named(ids: Iterable[str]) -> str:
    """Name the invoices of which one, at least, is not as it should be."""
    return "The invoice " + " or ".join(f"'{id_}'" for id_ in sorted(ids))


def _changes(invoice: Invoice) -> dict[str, Any]:
    row = _row(invoice)
    return {
        "of_id": invoice.id,
        **{name: row[name] for name in _CHANGING},
        **{f"same_{name}": row[name] for name in _LASTING},
    }


def _row(invoice: Invoice) -> dict[str, Any]:
    """Return what is stored: beside the rest what lists, and whoever is due, are looked for by."""
    return {
        **{name: getattr(invoice, name) for name in _COLUMNS},
        "due": invoice.due,
        "details": msgspec.to_builtins({name: getattr(invoice, name) for name in _DETAILS}),
    }


def _invoice(row: sa.RowMapping) -> Invoice:
    return msgspec.convert({name: row[name] for name in _COLUMNS} | row["details"], Invoice)
