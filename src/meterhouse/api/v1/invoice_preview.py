"""`/v1/invoices/create_preview`, and `/v1/invoices/upcoming` in old versions.

https://docs.stripe.com/api/invoices/create_preview. A preview shows usage so far, with all that was
acknowledged before it was asked for.
"""

from operator import itemgetter

import sqlalchemy as sa

from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.imagined import preview
from meterhouse.api.invoice import EXPANDABLE, expand_all
from meterhouse.api.preview import (
    DetailsParams,
    PreviewParams,
    read_preview,
    read_upcoming,
    read_upcoming_lines,
)
from meterhouse.api.price import read_currency
from meterhouse.api.subscription import customer_of
from meterhouse.billing.subscription import Subscription
from meterhouse.invoicing.count import counted, questions
from meterhouse.invoicing.present import shown_at
from meterhouse.invoicing.preview import Preview, Previewed, next_of, shown
from meterhouse.invoicing.turn import Terms
from meterhouse.ledger import subscriptions
from meterhouse.ledger.customers import Customer
from meterhouse.metering.usage import PeriodQuery
from meterhouse.render.preview import render_preview, render_preview_lines
from meterhouse.wire import envelope, invoice_errors, preview_errors
from meterhouse.wire.expand import check_expand
from meterhouse.wire.page import cut_page, list_object
from meterhouse.wire.version import BASIL

_UPCOMING = "upcoming"


async def create(call: Call) -> Answer:
    """Show an invoice as it would be."""
    params = read_preview(call)
    check_expand(params.expand, EXPANDABLE)
    return await _answer(call, params, named=True)


async def upcoming(call: Call) -> Answer:
    """Show the next invoice, which newer versions ask for by `create_preview`."""
    _require_old(call)
    params = read_upcoming(call)
    check_expand(params.expand, EXPANDABLE)
    return await _answer(call, params, named=False)


async def upcoming_lines(call: Call) -> Answer:
    """List the lines of the next invoice."""
    _require_old(call)
    params, wanted = read_upcoming_lines(call)
    check_expand(params.expand, frozenset(f"data.{name}" for name in ("discounts", "price")))
    settled, (invoice, lines, prices) = await _previewed(call, params)
    shown = render_preview_lines(
        invoice,
        lines,
        livemode=call.scope.livemode,
        version=call.version,
        prices=prices,
        named=False,
    )
    page = cut_page([(line["id"], line) for line in shown], wanted)
    if page is None:
        raise envelope.no_such("invoice line item", wanted.cursor, wanted.cursor_param)
    rows, has_more = page
    return _told(settled, ok(list_object(call.path, rows, has_more)))


def _require_old(call: Call) -> None:
    """Refuse in a newer version, in which `upcoming` could only be the id of an invoice."""
    if call.version.date >= BASIL:
        raise invoice_errors.no_such_invoice(_UPCOMING, "invoice")


async def _answer(call: Call, params: PreviewParams, *, named: bool) -> Answer:
    call.require_expanded(params.expand)
    settled, (invoice, lines, prices) = await _previewed(call, params)
    document = render_preview(
        invoice,
        lines,
        livemode=call.scope.livemode,
        version=call.version,
        prices=prices,
        named=named,
    )
    if params.expand:
        await call.read(expand_all, call, [document], params.expand)
    return _told(settled, ok(document))


async def _previewed(call: Call, params: PreviewParams) -> tuple[bool, Previewed]:
    """Return what is to be previewed, and whether it holds all that was acknowledged before."""
    settled = await call.services.progress.reach(strong=call.strong)
    wanted, asked, now = await call.read(_wanted, call, params)
    segments = await counted(call, call.scope, wanted.bill.segments, asked, now)
    return settled, shown(wanted, segments)


def _told(settled: bool, answer: Answer) -> Answer:
    headers = {"Meterhouse-Consistency": "strong" if settled else "eventual"}
    return answer._replace(headers=headers)


def _wanted(
    connection: sa.Connection, call: Call, params: PreviewParams
) -> tuple[Preview, list[PeriodQuery], int]:
    """Return the preview that is wanted, what to ask for it, and when it is looked at.

    Refuses where no invoice will come.
    """
    subscription = _subscription(connection, call, params)
    customer = _customer(connection, call, params, subscription)
    now = shown_at(connection, call.scope.id, customer.test_clock, call.now)
    details = params.subscription_details or DetailsParams()
    if subscription is None and not details.items:
        subscription = _soonest(connection, call, customer)
        if subscription is None:
            raise preview_errors.no_upcoming(customer.id)
    found = preview(connection, call, params, customer, subscription, now)
    if found is None:
        raise preview_errors.no_upcoming(customer.id)
    currency = found.invoice.currency
    if params.currency is not None and read_currency(params.currency) != currency:
        raise invoice_errors.other_currency(params.currency, currency)
    return found, questions(connection, found.bill.segments), now


def _subscription(
    connection: sa.Connection, call: Call, params: PreviewParams
) -> Subscription | None:
    if params.subscription is None:
        return None
    found = subscriptions.find_subscription(connection, call.scope.id, params.subscription)
    if found is None:
        raise envelope.no_such("subscription", params.subscription, "subscription")
    if params.customer not in (None, found.customer):
        raise invoice_errors.not_of_customer(found.id, params.customer or "")
    return found


def _customer(
    connection: sa.Connection,
    call: Call,
    params: PreviewParams,
    subscription: Subscription | None,
) -> Customer:
    named = subscription.customer if subscription else params.customer
    if named is None:
        raise preview_errors.nobody()
    return customer_of(connection, call, named, lock=False)


def _soonest(connection: sa.Connection, call: Call, customer: Customer) -> Subscription | None:
    """Return the subscription of a customer whose invoice comes next."""
    terms = Terms.of(call.services.config)
    found = [
        (coming.invoice.created, one)
        for one in subscriptions.of_customer(connection, customer.scope, customer.id)
        if (coming := next_of(connection, customer, one, terms)) is not None
    ]
    return min(found, key=itemgetter(0))[1] if found else None
