"""Make lines of bills from usage as it is now, and drafts anew.

What a reader may rely on:

- Whoever wants all that was acknowledged waits for it first (`Progress`), and then counts.
- A draft that is counted anew keeps its lines' ids and what was written onto them. Nothing is
  stored: a draft follows usage by being counted whenever somebody looks at it.
- A draft is shown as credits would pay for it now. Nothing of that is stored either.
- A finalized invoice is shown as it was stored.
- An invoice item that bills usage is shown as its invoice has it or, while it is pending, as one
  would have it now.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from msgspec.structs import replace

from meterhouse.billing.bill import Bill, Made, Name, bill_of, item_part, made, totalled
from meterhouse.billing.charge import billable
from meterhouse.billing.credit import Grant, simulated
from meterhouse.billing.invoice import Invoice, InvoiceItem, Segment
from meterhouse.invoicing.bill import Stored, catalog_of, less_early, of_drafts
from meterhouse.invoicing.count import Asked, count
from meterhouse.ledger import credit_grants, invoice_lines, invoice_segments, invoices
from meterhouse.metering.model import Scope
from meterhouse.wire.ids import derived_id


def names(invoice_id: str, kind: str = "il") -> Name:
    """Return what names the lines of an invoice: the same line has the same id each time."""
    return lambda text: derived_id(kind, False, invoice_id, text)


async def made_now(stores: Asked, scope: Scope, bill: Bill, invoice_id: str, now: int) -> Made:
    """Return the lines that a bill comes to for an invoice of this id, and its counted segments."""
    return made(bill, await count(stores, scope, bill.segments, now), names(invoice_id))


async def recounted(
    stores: Asked, scope: Scope, shown: Sequence[Invoice], now: int
) -> list[Stored]:
    """Return invoices of one scope in their order, each draft as usage makes it now."""
    stored, bills, grants = await stores.read(_read, shown)
    asked = [segment for bill in bills.values() for segment in bill.segments]
    counted = iter(await count(stores, scope, asked, now))
    return [
        _anew(one, bill, [next(counted) for _ in bill.segments], grants[one.invoice.customer])
        if (bill := bills.get(one.invoice.id))
        else one
        for one in stored
    ]


async def items_recounted(
    stores: Asked, scope: Scope, items: Sequence[InvoiceItem], now: int
) -> list[InvoiceItem]:
    """Return invoice items of one scope in their order, with what their usage comes to."""
    found, bills = await stores.read(_read_items, scope.id, items)
    asked = [segment for bill in bills for segment in bill.segments]
    counted = await count(stores, scope, asked, now)
    settled = [
        segment
        for bill, one in zip(bills, counted, strict=True)
        for segment in made(bill, [one], names("")).segments
    ]
    for stored in await recounted(stores, scope, found, now):
        settled += stored.segments
    of = {segment.invoice_item: segment for segment in settled}
    return [
        replace(item, amount=segment.amount, quantity=billable(segment.usage))
        if (segment := of.get(item.id))
        else item
        for item in items
    ]


def _read_items(
    connection: sa.Connection, scope: int, items: Sequence[InvoiceItem]
) -> tuple[list[Invoice], list[Bill]]:
    """Return the invoices that have items of usage, and a bill of each that has none yet."""
    usage = [item for item in items if item.usage_in is not None]
    holders = {item.invoice for item in usage if item.invoice is not None}
    found = [invoices.find_invoice(connection, scope, id_) for id_ in sorted(holders)]
    waiting = [item for item in usage if item.invoice is None]
    catalog = catalog_of(connection, scope, {item.price for item in waiting if item.price})
    parts = less_early(connection, [item_part(item, catalog, "flexible") for item in waiting])
    bills = [
        bill_of(item.currency, catalog, [part]) for item, part in zip(waiting, parts, strict=True)
    ]
    return [one for one in found if one is not None], bills


def _anew(draft: Stored, bill: Bill, counted: Sequence[Segment], grants: Sequence[Grant]) -> Stored:
    kept = {line.id: line.metadata for line in draft.lines}
    lines, segments = made(bill, counted, names(draft.invoice.id), kept)
    lines = simulated(grants, lines, draft.invoice.period.end, draft.invoice.currency)
    return Stored(totalled(draft.invoice, lines), lines, segments)


def _read(
    connection: sa.Connection, shown: Sequence[Invoice]
) -> tuple[list[Stored], dict[str, Bill], dict[str, list[Grant]]]:
    """Return what is stored of each invoice, the bills of those that follow usage, and credits."""
    ids = [invoice.id for invoice in shown]
    lines = invoice_lines.lines_of(connection, ids)
    segments = invoice_segments.segments_of(connection, ids)
    stored = [Stored(one, lines[one.id], segments[one.id]) for one in shown]
    drafts = [one for one in stored if one.invoice.status == "draft" and one.segments]
    bills = of_drafts(connection, drafts)
    return (
        stored,
        {one.invoice.id: bill for one, bill in zip(drafts, bills, strict=True)},
        credit_grants.unspent(connection, {one.invoice.customer for one in drafts}),
    )
