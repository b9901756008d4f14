"""`/v1/invoiceitems` (https://docs.stripe.com/api/invoiceitems).

An item that bills usage, where a price changed in mid-period, follows that usage whenever somebody
looks at it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.api import invoice as common
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.invoice_item import (
    ItemWrite,
    blank_item,
    check_item,
    currency_of,
    line_of,
    tells_cost,
    told,
)
from meterhouse.api.once import once
from meterhouse.api.price import read_currency
from meterhouse.billing.invoice import InvoiceItem
from meterhouse.invoicing.bill import Stored
from meterhouse.invoicing.recount import items_recounted
from meterhouse.ledger import invoice_items, prices
from meterhouse.ledger.announce import announce
from meterhouse.ledger.customers import Customer
from meterhouse.ledger.invoice_items import Filter
from meterhouse.render.invoice import render_invoice_item
from meterhouse.wire import envelope, invoice_errors
from meterhouse.wire.deleted import deleted
from meterhouse.wire.expand import check_expand, expanded
from meterhouse.wire.ids import new_id
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.params import RequestParams, TimeRange, Unsupported

_EXPANDABLE = frozenset(
    {"customer", "discounts", "invoice", common.PRICE, "subscription", "tax_rates", "test_clock"}
)
_EXPANDABLE_IN_LIST = frozenset(f"data.{name}" for name in _EXPANDABLE)


class ItemCreate(ItemWrite):
    """The parameters of a new item."""

    currency: str | None = None
    customer: str | None = None
    customer_account: Unsupported | None = None
    invoice: str | None = None
    subscription: str | None = None


class ItemList(PageParams):
    """The parameters of the list."""

    created: TimeRange | None = None
    customer: str | None = None
    customer_account: Unsupported | None = None
    invoice: str | None = None
    pending: bool | None = None


async def create(call: Call) -> Answer:
    """Create an item, which waits for the next invoice unless a draft is named."""
    params = call.params(ItemCreate)
    check_expand(params.expand, _EXPANDABLE)
    check_item(params)
    if params.customer is None:
        raise invoice_errors.no_customer()
    if not tells_cost(params):
        raise invoice_errors.no_amount_of_item()

    def work(connection: sa.Connection) -> Answer:
        customer, now = common.customer_of(connection, call, params.customer or "")
        if params.subscription is not None:
            common.check_subscription(connection, call, params.subscription, customer)
        draft = _draft(connection, call, params.invoice, customer)
        if draft is None:
            _check_room(connection, customer)
        currency = _currency(connection, call, params, customer, draft)
        item = told(connection, call, _new(call, params, customer, currency, now), params)
        invoice_items.create_item(connection, item)
        if draft is not None:
            line = line_of(connection, item, new_id("il"))
            common.relined(connection, call, draft, [*draft.lines, line], draft.segments)
        _announce(connection, call, "created", item)
        return _shown(connection, call, item, params)

    return await once(call, work)


async def retrieve(call: Call) -> Answer:
    """Show an item."""
    params = call.params(RequestParams)
    check_expand(params.expand, _EXPANDABLE)
    item = await call.read(invoice_items.find_item, call.scope.id, call.ids[0])
    if item is None:
        raise invoice_errors.no_such_item(call.ids[0])
    counted = await _counted(call, [item])
    return ok((await _shown_now(call, counted, params.expand))[0])


async def update(call: Call) -> Answer:
    """Change an item that waits, or that is on a draft."""
    params = call.params(ItemWrite)
    check_expand(params.expand, _EXPANDABLE)
    check_item(params)
    known = await call.read(invoice_items.find_item, call.scope.id, call.ids[0])
    counted = await _counted(call, [known] if known else [])

    def work(connection: sa.Connection) -> Answer:
        before, draft = _locked(connection, call)
        item = told(connection, call, before, params)
        if item != before:
            invoice_items.update_item(connection, item)
            if draft is not None and item.usage_in is None:
                lines = [
                    line_of(connection, item, line.id) if line.invoice_item == item.id else line
                    for line in draft.lines
                ]
                common.relined(connection, call, draft, lines, draft.segments)
            call.note(connection, "invoice_item.updated", item.id)
        if item.usage_in is not None:
            (usage,) = counted
            item = msgspec.structs.replace(item, amount=usage.amount, quantity=usage.quantity)
        return _shown(connection, call, item, params)

    return await once(call, work)


async def delete(call: Call) -> Answer:
    """Delete an item, and take it off its draft."""
    check_expand(call.params(RequestParams).expand)

    def work(connection: sa.Connection) -> Answer:
        item, draft = _locked(connection, call)
        if draft is not None:
            lines = [line for line in draft.lines if line.invoice_item != item.id]
            segments = [one for one in draft.segments if one.invoice_item != item.id]
            common.relined(connection, call, draft, lines, segments)
        invoice_items.delete_item(connection, item.id)
        _announce(connection, call, "deleted", item)
        return ok(deleted(item.id, "invoiceitem"))

    return await call.services.stores.write(work)


async def list_(call: Call) -> Answer:
    """List items, newest first."""
    params = call.params(ItemList)
    check_expand(params.expand, _EXPANDABLE_IN_LIST)
    created = params.created.window() if params.created else (None, None)
    wanted = Filter(params.customer, params.invoice, params.pending, created)

    page = await call.read(invoice_items.list_items, call.scope.id, params, wanted)
    if page is None:
        raise envelope.no_such("invoiceitem", params.cursor, params.cursor_param)
    rows, has_more = page
    documents = await _shown_now(call, await _counted(call, rows), params.expand)
    return ok(list_object(call.path, documents, has_more))


async def _shown_now(
    call: Call, rows: list[InvoiceItem], expand: Sequence[str]
) -> list[dict[str, Any]]:
    """Return items as they are shown, and their invoices as usage makes them now."""
    drafts = None
    if "invoice" in expanded(path.removeprefix("data.") for path in expand):
        named = {row.invoice for row in rows if row.invoice is not None}
        drafts = await common.shown_now(call, named, ())
    return await call.read(_documents, call, rows, expand, drafts)


async def _counted(call: Call, rows: Sequence[InvoiceItem]) -> list[InvoiceItem]:
    """Return items as their usage makes them now."""
    if all(row.usage_in is None for row in rows):
        return list(rows)
    await call.services.progress.reach(strong=call.strong)
    return await items_recounted(call, call.scope, rows, call.now)


def _new(
    call: Call, params: ItemCreate, customer: Customer, currency: str, now: int
) -> InvoiceItem:
    item = blank_item(call.scope.id, customer.id, customer.test_clock, currency, now)
    return msgspec.structs.replace(item, subscription=params.subscription, invoice=params.invoice)


def _currency(
    connection: sa.Connection,
    call: Call,
    params: ItemCreate,
    customer: Customer,
    draft: Stored | None,
) -> str:
    """Return the currency that is asked for, or else the draft's, the price's, the customer's."""
    asked = None if params.currency is None else read_currency(params.currency)
    if draft is not None:
        own = draft.invoice.currency
        if asked not in (None, own):
            raise invoice_errors.other_currency(asked or "", own)
        return own
    own_price = currency_of(connection, call, params)
    return asked or own_price or customer.currency or common.DEFAULT_CURRENCY


def _check_room(connection: sa.Connection, customer: Customer) -> None:
    most = limits.INVOICE_PENDING_ITEMS_MAX
    if invoice_items.count_pending(connection, customer.id) >= most:
        raise invoice_errors.too_many_pending(most)


def _draft(
    connection: sa.Connection, call: Call, invoice_id: str | None, customer: Customer
) -> Stored | None:
    """Return the draft that an item is to go on, which nobody else changes until we commit."""
    if invoice_id is None:
        return None
    draft = common.stored(connection, call, invoice_id)
    if draft is None:
        raise envelope.no_such("invoice", invoice_id, "invoice")
    if draft.invoice.customer != customer.id:
        raise invoice_errors.invoice_of_other("invoice")
    if draft.invoice.status != "draft":
        raise invoice_errors.invoice_not_draft("invoice")
    return draft


def _locked(connection: sa.Connection, call: Call) -> tuple[InvoiceItem, Stored | None]:
    """Return the item in the path to be changed, and the draft that it is on."""
    known = invoice_items.find_item(connection, call.scope.id, call.ids[0])
    if known is None:
        raise invoice_errors.no_such_item(call.ids[0])
    common.lock_time(connection, call, known.customer)
    item = invoice_items.find_item(connection, call.scope.id, known.id, lock=True)
    if item is None:
        raise invoice_errors.no_such_item(call.ids[0])
    if item.invoice is None:
        return item, None
    draft = common.stored(connection, call, item.invoice)
    if draft is None or draft.invoice.status != "draft":
        raise invoice_errors.item_on_finalized()
    return item, draft


def _announce(connection: sa.Connection, call: Call, what: str, item: InvoiceItem) -> None:
    document = render_invoice_item(
        item,
        livemode=call.scope.livemode,
        prices=prices.by_ids(connection, call.scope.id, [item.price] if item.price else []),
    )
    announce(connection, call.cause, f"invoiceitem.{what}", f"/v1/invoiceitems/{item.id}", document)
    call.note(connection, f"invoice_item.{what}", item.id)


def _shown(
    connection: sa.Connection, call: Call, item: InvoiceItem, params: RequestParams
) -> Answer:
    return ok(_documents(connection, call, [item], params.expand)[0])


def _documents(
    connection: sa.Connection,
    call: Call,
    rows: list[InvoiceItem],
    expand: Sequence[str],
    drafts: Mapping[str, dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Return items as they are shown, and their invoices as they are stored or in `drafts`."""
    named = {row.price for row in rows if row.price is not None}
    known = prices.by_ids(connection, call.scope.id, named)
    documents = [
        render_invoice_item(row, livemode=call.scope.livemode, version=call.version, prices=known)
        for row in rows
    ]
    paths = [path.removeprefix("data.") for path in expand]
    common.expand_members(connection, call, documents, expanded(paths), drafts)
    common.expand_prices(connection, call, documents, paths)
    return documents
