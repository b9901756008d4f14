"""`/v1/invoices`: made, read, changed and deleted (https://docs.stripe.com/api/invoices).

What becomes of them is in `invoice_actions`, what is done to their lines in `invoice_lines`.
"""

from functools import partial
from typing import Literal

import msgspec
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.api import invoice as common
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.invoice_params import InvoiceWrite, check_built, check_lasting, written
from meterhouse.api.once import once
from meterhouse.api.price import read_currency
from meterhouse.billing.bill import Bill, Made, bill_of, item_part
from meterhouse.billing.invoice import Invoice, InvoiceItem, InvoiceStatus
from meterhouse.billing.period import Period
from meterhouse.billing.subscription import CollectionMethod
from meterhouse.errors import OutdatedError
from meterhouse.invoicing.bill import Stored, catalog_of
from meterhouse.invoicing.create import create_invoice
from meterhouse.invoicing.credit import simulated_of
from meterhouse.invoicing.posting import posted
from meterhouse.invoicing.recount import made_now
from meterhouse.invoicing.tell import tell
from meterhouse.ledger import (
    customers,
    invoice_items,
    invoice_lines,
    invoice_segments,
    invoices,
)
from meterhouse.ledger.customers import Customer
from meterhouse.ledger.invoices import Filter
from meterhouse.wire import envelope, invoice_errors
from meterhouse.wire.deleted import deleted
from meterhouse.wire.expand import check_expand
from meterhouse.wire.ids import new_id
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.params import RequestParams, TimeRange, Unsupported


class InvoiceCreate(InvoiceWrite):
    """The parameters of a new invoice."""

    currency: str | None = None
    customer: str | None = None
    customer_account: Unsupported | None = None
    from_invoice: Unsupported | None = None
    pending_invoice_items_behavior: Literal["exclude", "include"] = "exclude"
    subscription: str | None = None


class InvoiceList(PageParams):
    """The parameters of the list."""

    collection_method: CollectionMethod | None = None
    created: TimeRange | None = None
    customer: str | None = None
    customer_account: Unsupported | None = None
    due_date: TimeRange | None = None
    status: InvoiceStatus | None = None
    subscription: str | None = None


async def create(call: Call) -> Answer:
    """Create a draft that no subscription owes; pending items go onto it where that is wished."""
    params = call.params(InvoiceCreate)
    check_expand(params.expand, common.EXPANDABLE)
    check_built(params)
    if params.customer is None:
        raise invoice_errors.no_customer()
    invoice_id = new_id("in")
    for _ in range(limits.INVOICE_COUNT_ATTEMPTS):
        bill = await call.read(_bill, call, params)
        made = await made_now(call, call.scope, bill, invoice_id, call.now)
        try:
            return await once(call, partial(_create, call, params, invoice_id, bill, made))
        except OutdatedError:
            continue
    raise envelope.lock_timeout()


async def retrieve(call: Call) -> Answer:
    """Show an invoice."""
    params = call.params(RequestParams)
    check_expand(params.expand, common.EXPANDABLE)
    found = await common.find(call, "invoice")
    documents = await call.read(common.shown, call, [found], params.expand)
    return ok(documents[0])


async def update(call: Call) -> Answer:
    """Change nearly all of a draft, and little of what is finalized."""
    params = call.params(InvoiceWrite)
    check_expand(params.expand, common.EXPANDABLE)
    check_built(params)
    delay = call.services.config.invoice_finalization_delay * 1000

    def work(connection: sa.Connection, before: Stored, now: int) -> Stored:
        if before.invoice.status != "draft":
            check_lasting(before.invoice, params)
        invoice = written(before.invoice, params, now, delay)
        if invoice.number != before.invoice.number:
            _check_number(connection, invoice)
        after = before._replace(invoice=invoice)
        if invoice != before.invoice:
            after = before._replace(invoice=invoices.update_invoice(connection, invoice))
            common.tell_updated(connection, call, before, after)
        return after

    return await common.change(call, work, params.expand)


async def delete(call: Call) -> Answer:
    """Delete a draft that no subscription owes, and the items on it.

    Usage that it would have billed waits for another invoice.
    """
    check_expand(call.params(RequestParams).expand)

    def work(connection: sa.Connection, before: Stored, _: int) -> Answer:
        invoice = before.invoice
        if invoice.status != "draft":
            raise invoice_errors.not_a_draft_to_delete()
        if invoice.reason != "manual":
            raise invoice_errors.deleted_by_subscription()
        _take_off(connection, invoice)
        invoices.delete_invoice(connection, invoice.id)
        tell(connection, call.cause, "deleted", invoice, before.lines)
        call.note(connection, "invoice.deleted", invoice.id)
        return ok(deleted(invoice.id, "invoice"))

    return await common.locked(call, work, param="invoice")


async def list_(call: Call) -> Answer:
    """List invoices, newest first."""
    params = call.params(InvoiceList)
    check_expand(params.expand, common.EXPANDABLE_IN_LIST)
    wanted = Filter(
        customer=params.customer,
        subscription=params.subscription,
        status=params.status,
        collection=params.collection_method,
        created=params.created.window() if params.created else (None, None),
        due_date=params.due_date.window() if params.due_date else (None, None),
    )
    page = await call.read(invoices.list_invoices, call.scope.id, params, wanted)
    if page is None:
        raise envelope.no_such("invoice", params.cursor, params.cursor_param)
    found, has_more = page
    rows = await common.current(call, found)
    data = await call.read(common.shown, call, rows, params.expand, listed=True)
    return ok(list_object(call.path, data, has_more))


def _bill(connection: sa.Connection, call: Call, params: InvoiceCreate) -> Bill:
    """Return what waits for a new invoice, if that is wished."""
    customer_id, scope = params.customer or "", call.scope.id
    customer = customers.find_customer(connection, scope, customer_id)
    waiting: list[InvoiceItem] = []
    if params.pending_invoice_items_behavior == "include":
        waiting = invoice_items.pending(connection, customer_id, params.subscription)
    if params.subscription is not None:
        waiting = [item for item in waiting if item.subscription == params.subscription]
    currency = _currency(customer, waiting, params)
    own = [item for item in waiting if item.currency == currency and item.scope == scope]
    catalog = catalog_of(connection, scope, [item.price for item in own if item.price])
    return bill_of(currency, catalog, [item_part(item, catalog, "flexible") for item in own])


def _currency(customer: Customer | None, waiting: list[InvoiceItem], params: InvoiceCreate) -> str:
    """Return the currency that is asked for; else the customer's, or that of what waits."""
    if params.currency is not None:
        return read_currency(params.currency)
    if customer is not None and customer.currency is not None:
        return customer.currency
    return waiting[0].currency if waiting else common.DEFAULT_CURRENCY


def _create(
    call: Call,
    params: InvoiceCreate,
    invoice_id: str,
    bill: Bill,
    made: Made,
    connection: sa.Connection,
) -> Answer:
    customer, now = common.customer_of(connection, call, params.customer or "")
    if params.subscription is not None:
        common.check_subscription(connection, call, params.subscription, customer)
    if bill != _bill(connection, call, params):
        raise OutdatedError
    draft = Invoice(
        id=invoice_id,
        scope=call.scope.id,
        customer=customer.id,
        subscription=params.subscription,
        test_clock=customer.test_clock,
        status="draft",
        reason="manual",
        currency=bill.currency,
        period=Period(now, now),
        created=now,
    )
    delay = call.services.config.invoice_finalization_delay * 1000
    draft = written(draft, params, now, delay)
    if draft.number is not None:
        _check_number(connection, draft)
    with posted(connection) as posting:
        invoice = create_invoice(posting, call.cause, draft, made.lines, made.segments)
    call.note(connection, "invoice.created", invoice.id)
    rows = [Stored(invoice, simulated_of(connection, invoice, made.lines), made.segments)]
    return ok(common.shown(connection, call, rows, params.expand)[0])


def _check_number(connection: sa.Connection, invoice: Invoice) -> None:
    number = invoice.number
    if number is not None and invoices.has_number(connection, invoice.customer, number):
        raise invoice_errors.number_taken(number)


def _take_off(connection: sa.Connection, invoice: Invoice) -> None:
    """Take everything off a draft that goes: usage waits on, plain items go with it."""
    for item in invoice_items.on_invoice(connection, invoice.id):
        if item.usage_in is None:
            invoice_items.delete_item(connection, item.id)
        else:
            waiting = msgspec.structs.replace(item, invoice=None)
            invoice_items.update_item(connection, waiting)
    invoice_lines.put_lines(connection, invoice.scope, invoice.id, [])
    invoice_segments.put_segments(connection, invoice.scope, invoice.id, [])
