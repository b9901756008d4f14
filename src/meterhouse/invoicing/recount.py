"""Make lines of bills from usage as it is now, and drafts anew.

What a reader may rely on:

- Whoever wants all that was acknowledged waits for it first (`Progress`), and then counts.
- A draft that is counted anew keeps its lines' ids and what was written onto them. Nothing is
  stored: a draft follows usage by being counted whenever somebody looks at it.
- A finalized invoice is shown as it was stored.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from meterhouse.billing.bill import Bill, Made, Name, made, totalled
from meterhouse.billing.invoice import Invoice, Segment
from meterhouse.invoicing.bill import Stored, of_drafts
from meterhouse.invoicing.count import Asked, count
from meterhouse.ledger import invoice_lines, invoice_segments
from meterhouse.metering.model import Scope
from meterhouse.wire.ids import derived_id


def names(invoice_id: str, kind: str = "il") -> Name:
    """Return what names the lines of an invoice: the same line has the same id each time."""
    return lambda text: derived_id(kind, False, invoice_id, text)


async def made_now(stores: Asked, scope: Scope, bill: Bill, invoice_id: str, now: int) -> Made:
    """Return the lines that a bill comes to for an invoice of this id, and its counted segments."""
    return made(bill, await count(stores, scope, bill.segments, now), names(invoice_id))


async def recounted(
    stores: Asked, scope: Scope, invoices: Sequence[Invoice], now: int
) -> list[Stored]:
    """Return invoices of one scope in their order, each draft as usage makes it now."""
    stored, bills = await stores.read(_read, invoices)
    asked = [segment for bill in bills.values() for segment in bill.segments]
    counted = iter(await count(stores, scope, asked, now))
    return [
        _anew(one, bill, [next(counted) for _ in bill.segments])
        if (bill := bills.get(one.invoice.id))
        else one
        for one in stored
    ]


def _anew(draft: Stored, bill: Bill, counted: Sequence[Segment]) -> Stored:
    kept = {line.id: line.metadata for line in draft.lines}
    lines, segments = made(bill, counted, names(draft.invoice.id), kept)
    return Stored(totalled(draft.invoice, lines), lines, segments)


def _read(
    connection: sa.Connection, invoices: Sequence[Invoice]
) -> tuple[list[Stored], dict[str, Bill]]:
    """Return what is stored of each invoice, and the bills of those that follow usage."""
    ids = [invoice.id for invoice in invoices]
    lines = invoice_lines.lines_of(connection, ids)
    segments = invoice_segments.segments_of(connection, ids)
    stored = [Stored(one, lines[one.id], segments[one.id]) for one in invoices]
    drafts = [one for one in stored if one.invoice.status == "draft" and one.segments]
    bills = of_drafts(connection, drafts)
    return stored, {one.invoice.id: bill for one, bill in zip(drafts, bills, strict=True)}
