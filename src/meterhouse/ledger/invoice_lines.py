"""The lines of invoices (https://docs.stripe.com/api/invoice-line-item).

They are replaced as a whole, in their order, as long as their invoice is a draft, and never again.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from meterhouse.billing.invoice import Line
from meterhouse.ledger.dialect import any_of, as_json, insert_rows
from meterhouse.ledger.invoices import require_drafts
from meterhouse.ledger.tables import invoice_lines

_COLUMNS = ("id", "segment", "amount", "metadata")
_DETAILS = tuple(name for name in Line.__struct_fields__ if name not in _COLUMNS)

_STORED = (*_COLUMNS, "scope", "invoice", "place", "details")

Lined = tuple[int, str, Sequence[Line]]  # the scope and the id of an invoice, and all its lines

_delete = sa.delete(invoice_lines).where(any_of(invoice_lines.c.invoice, "invoices"))
_lines = (
    sa.select(invoice_lines.c.invoice, *(invoice_lines.c[name] for name in (*_COLUMNS, "details")))
    .where(any_of(invoice_lines.c.invoice, "invoices"))
    .order_by(invoice_lines.c.invoice, invoice_lines.c.place)
)


def put_lines(
    connection: sa.Connection, scope: int, invoice_id: str, lines: Sequence[Line]
) -> None:
    """Store these as all the lines of a draft; raises `ValueError` for a finalized invoice."""
    replace_lines(connection, [(scope, invoice_id, lines)])


def replace_lines(connection: sa.Connection, some: Sequence[Lined]) -> None:
    """Store the lines of several drafts as `put_lines` does."""
    ids = {invoice_id for _, invoice_id, _ in some}
    if not ids:
        return
    require_drafts(connection, ids)
    connection.execute(_delete, {"invoices": list(ids)})
    insert_lines(connection, some)


def insert_lines(connection: sa.Connection, some: Iterable[Lined]) -> None:
    """Store the lines of new invoices, which have none yet."""
    rows = [
        _row(scope, invoice_id, place, line)
        for scope, invoice_id, lines in some
        for place, line in enumerate(lines)
    ]
    insert_rows(connection, invoice_lines, _STORED, rows)


def lines_of(connection: sa.Connection, invoice_ids: Iterable[str]) -> dict[str, list[Line]]:
    """Return the lines of each of the invoices, in their order."""
    found: dict[str, list[Line]] = {invoice_id: [] for invoice_id in invoice_ids}
    for row in connection.execute(_lines, {"invoices": list(found)}).mappings():
        found[row["invoice"]].append(_line(row))
    return found


def find_line(connection: sa.Connection, scope: int, line_id: str) -> str | None:
    """Return the id of the invoice that a line of `scope` is on; None when there is no such line.

    Drafts are known by the lines that they were stored with.
    """
    query = sa.select(invoice_lines.c.invoice).where(
        invoice_lines.c.scope == scope, invoice_lines.c.id == line_id
    )
    invoice_id: str | None = connection.execute(query).scalar_one_or_none()
    return invoice_id


def _row(scope: int, invoice_id: str, place: int, line: Line) -> tuple[Any, ...]:
    details = {name: getattr(line, name) for name in _DETAILS}
    return (
        line.id,
        line.segment,
        line.amount,
        as_json(line.metadata),
        scope,
        invoice_id,
        place,
        as_json(details),
    )


def _line(row: sa.RowMapping) -> Line:
    return msgspec.convert({name: row[name] for name in _COLUMNS} | row["details"], Line)
