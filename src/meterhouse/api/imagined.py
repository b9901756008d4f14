"""What a preview's parameters imagine: a subscription that changes, or a new one, and more items.

They are made into the parameters of a real request and go its way, so that what cannot be done
cannot be previewed either. Only prices may be imagined that there are not.
"""

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa
from msgspec import UNSET
from msgspec.structs import replace

from meterhouse.api.call import Call
from meterhouse.api.invoice_item import blank_item, check_item, tells_cost, told
from meterhouse.api.preview import DetailsParams, InvoiceItemParams, ItemParams, PreviewParams
from meterhouse.api.price import AmountParams, default_price_of, read_currency
from meterhouse.api.subscribed import Told, recurrences
from meterhouse.api.subscription import check_not_held_up
from meterhouse.api.subscription_change import (
    SubscriptionCancel,
    SubscriptionResume,
    SubscriptionUpdate,
    canceled,
    resumed,
    updated,
)
from meterhouse.api.subscription_params import Anchor, read_instant
from meterhouse.api.subscription_start import SubscriptionCreate, begun
from meterhouse.billing.invoice import InvoiceItem
from meterhouse.billing.price import Price, Product
from meterhouse.billing.subscription import Subscription, overdue
from meterhouse.invoicing.bill import prices_of, waiting_for
from meterhouse.invoicing.preview import Preview, next_turn, preview_of, usual_turn
from meterhouse.invoicing.turn import Terms, Turn, put_aside
from meterhouse.ledger import products
from meterhouse.ledger.customers import Customer
from meterhouse.wire import envelope, invoice_errors, param_errors, preview_errors, price_errors
from meterhouse.wire import subscription_errors as errors
from meterhouse.wire.ids import new_id

_DETAILS = "subscription_details"


class _Imagined(NamedTuple):
    """A subscription as it is imagined, the turn that has made it so, and prices that are not."""

    subscription: Subscription
    turn: Turn | None
    prices: list[Price]


def preview(
    connection: sa.Connection,
    call: Call,
    params: PreviewParams,
    customer: Customer,
    subscription: Subscription | None,
    now: int,
) -> Preview | None:
    """Return the invoice that comes if what is told of a subscription, or of a new one, is true.

    It is that of the change itself, if there is anything on it, or else the next one.
    """
    one, turn, imagined = _imagine(connection, call, params, customer, subscription, now)
    known = prices_of(connection, call.scope.id, {item.price for item in one.items})
    often = recurrences(known | {price.id: price for price in imagined})
    recurring = params.preview_mode == "recurring"
    waiting = [] if recurring else waiting_for(connection, one)
    items = _pending(connection, call, params.invoice_items, waiting, one, now)
    if recurring:
        turns = [(usual_turn(one, often, now), items)]
    else:
        settled = reversed(turn.change.billed if turn else ())
        aside = [put_aside(one, stretch, now) for stretch in settled]
        turns = [(turn, items), (next_turn(one, often), [*aside, *items])]
    terms = Terms.of(call.services.config)
    for each, pending in turns:
        if each is not None and each.invoice is not None:
            found = preview_of(connection, customer, each, pending, terms, imagined)
            if found is not None:
                return found
    return None


def _imagine(
    connection: sa.Connection,
    call: Call,
    params: PreviewParams,
    customer: Customer,
    subscription: Subscription | None,
    now: int,
) -> _Imagined:
    """Return what becomes of a subscription, or a new one, if what is told is true."""
    details = params.subscription_details or DetailsParams()
    items = [_item(connection, call, *each) for each in enumerate(details.items)]
    imagined = [item.price for item in items if item.price is not None]
    if subscription is None:
        begins = _begun(connection, call, params, details, customer, items, now)
        return _Imagined(begins.change.subscription, begins, imagined)
    turn = _turned(connection, call, details, subscription, items, now)
    return _Imagined(turn.change.subscription if turn else subscription, turn, imagined)


def _begun(
    connection: sa.Connection,
    call: Call,
    params: PreviewParams,
    details: DetailsParams,
    customer: Customer,
    items: list[Told],
    now: int,
) -> Turn:
    """Return the turn with which a new subscription would begin."""
    for item in items:
        if isinstance(item.params, ItemParams) and item.params.id is not None:
            raise envelope.no_such("subscription_item", item.params.id, item.name("id"))
    start = None if details.start_date is None else details.start_date * 1000
    past = start is not None and start < now
    asked = SubscriptionCreate(
        customer=customer.id,
        backdate_start_date=details.start_date if past else None,
        billing_cycle_anchor=_anchor(details),
        billing_mode=details.billing_mode,
        cancel_at=details.cancel_at,
        cancel_at_period_end=details.cancel_at_period_end,
        currency=params.currency,
        metadata=details.metadata,
        proration_behavior=details.proration_behavior,
        trial_end=details.trial_end,
        trial_from_plan=details.trial_from_plan,
    )
    return begun(
        connection,
        lock=False,
        call=call,
        params=asked,
        told=items,
        subscription_id="",
        now=now if past else start,
    )


def _turned(
    connection: sa.Connection,
    call: Call,
    details: DetailsParams,
    one: Subscription,
    items: list[Told],
    now: int,
) -> Turn | None:
    """Return the turn that a subscription would take; None where nothing of it is imagined."""
    if details == DetailsParams():
        return None
    for name in ("billing_mode", "start_date"):
        if getattr(details, name) is not None:
            raise param_errors.exclusive_params("subscription", f"{_DETAILS}[{name}]")
    if overdue(one, now):
        check_not_held_up(connection, one)
        raise errors.under_way(one.id)
    if details.cancel_now:
        return canceled(call, SubscriptionCancel(invoice_now=True), connection, one, now)
    if details.resume_at is not None:
        asked = SubscriptionResume(
            billing_cycle_anchor=_typed(details), proration_behavior=details.proration_behavior
        )
        return resumed(call, asked, connection, one, now)
    change = SubscriptionUpdate(
        billing_cycle_anchor=_typed(details),
        cancel_at=details.cancel_at,
        cancel_at_period_end=details.cancel_at_period_end,
        metadata=details.metadata,
        proration_behavior=details.proration_behavior,
        trial_end=details.trial_end,
        trial_from_plan=details.trial_from_plan,
    )
    return updated(call, change, items, connection, one, _change_at(details, one, now))


def _change_at(details: DetailsParams, one: Subscription, now: int) -> int:
    """Return the instant at which a subscription would change."""
    if details.proration_date is None:
        return now
    at = details.proration_date * 1000
    start, end = one.period
    if not start <= at < end:
        raise preview_errors.outside_period(f"{_DETAILS}[proration_date]")
    return at


def _typed(details: DetailsParams) -> Anchor | None:
    """Return whether the periods of a subscription would begin anew."""
    anchor = details.billing_cycle_anchor
    if anchor is None:
        return None
    if anchor.type == "now":
        return Anchor(type="now")
    if anchor.type == "unchanged":
        return Anchor(type="unchanged")
    param = f"{_DETAILS}[billing_cycle_anchor]"
    raise param_errors.invalid_choice(param, ("now", "unchanged"))


def _anchor(details: DetailsParams) -> int | None:
    """Return the second from which on the periods of a new subscription would be counted."""
    anchor = details.billing_cycle_anchor
    if anchor is None or anchor.type in ("now", "unchanged"):
        return None
    if anchor.type == "timestamp":
        return anchor.timestamp
    return read_instant(anchor.type, f"{_DETAILS}[billing_cycle_anchor]") // 1000


def _item(connection: sa.Connection, call: Call, number: int, params: ItemParams) -> Told:
    where = f"{_DETAILS}[items][{number}]"
    price = None if params.price_data is None else _price(connection, call, params, where)
    return Told(params, where, new_id("si"), price)


def _price(connection: sa.Connection, call: Call, params: ItemParams, where: str) -> Price:
    """Return a price that is only imagined."""
    data = params.price_data
    if data is None or params.price is not None:
        raise param_errors.exclusive_params(f"{where}[price]", f"{where}[price_data]")
    _product(connection, call, data.product, f"{where}[price_data]")
    if data.recurring is None:
        raise param_errors.missing_param(f"{where}[price_data][recurring]")
    amount = AmountParams(
        currency=data.currency,
        recurring=data.recurring,
        unit_amount=data.unit_amount,
        unit_amount_decimal=data.unit_amount_decimal,
    )
    return default_price_of(call, amount, data.product)


def _pending(
    connection: sa.Connection,
    call: Call,
    wanted: Sequence[InvoiceItemParams],
    waiting: Sequence[InvoiceItem],
    one: Subscription,
    now: int,
) -> list[InvoiceItem]:
    """Return the pending items of a subscription with those that are wanted, newest first."""
    items = {item.id: item for item in waiting}
    new: list[InvoiceItem] = []
    for number, params in enumerate(wanted):
        check_item(params)
        old = items.get(params.invoiceitem or "")
        if params.invoiceitem is not None and old is None:
            param = f"invoice_items[{number}][invoiceitem]"
            raise envelope.no_such("invoiceitem", params.invoiceitem, param)
        if old is None and not tells_cost(params):
            raise invoice_errors.no_amount_of_item()
        if params.currency is not None and params.currency.lower() != one.currency:
            raise invoice_errors.other_currency(params.currency, one.currency)
        plain = _as_amount(connection, call, params, one.currency)
        item = told(connection, call, old or _blank(one, now), plain)
        if old is None:
            new.insert(0, item)
        else:
            items[old.id] = item
    return [*new, *items.values()]


def _as_amount(
    connection: sa.Connection, call: Call, params: InvoiceItemParams, currency: str
) -> InvoiceItemParams:
    """Return parameters that tell the amount of a price that they only imagine."""
    data = params.price_data
    if data is None:
        return params
    product = _product(connection, call, data.product, "price_data")
    own = read_currency(data.currency, "price_data[currency]")
    if own != currency:
        raise invoice_errors.other_currency(own, currency, "price_data[currency]")
    if data.unit_amount is None and data.unit_amount_decimal is None:
        raise price_errors.no_amount()
    return replace(
        params,
        description=product.name if params.description is UNSET else params.description,
        price_data=None,
        unit_amount=data.unit_amount,
        unit_amount_decimal=data.unit_amount_decimal,
    )


def _product(connection: sa.Connection, call: Call, product: str, parent: str) -> Product:
    """Return the product of a price that is only imagined."""
    found = products.find_product(connection, call.scope.id, product)
    if found is None:
        raise envelope.no_such("product", product, f"{parent}[product]")
    return found


def _blank(one: Subscription, now: int) -> InvoiceItem:
    item = blank_item(one.scope, one.customer, one.test_clock, one.currency, now)
    return replace(item, subscription=one.id or None)
