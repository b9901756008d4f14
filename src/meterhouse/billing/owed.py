"""What is owed when a subscription begins, goes from one period into the next, and ends.

Metered items are owed for afterwards, for what was used; licensed ones beforehand, for the period
that begins.

What a reader may rely on:

- The parts of items stand newest first, and those of one item together.
- Usage before an item's `since` is in none of it: it is on an invoice, or waits to be.
- Usage in a trial is counted, and costs nothing.

https://docs.stripe.com/billing/subscriptions/billing-mode/compare
"""

from collections.abc import Iterator
from decimal import Decimal

from meterhouse.billing.bill import Catalog, Part, Usage, pricing_in
from meterhouse.billing.charge import ZERO, Charge, charges
from meterhouse.billing.description import describe, describe_free_trial, describe_trial
from meterhouse.billing.invoice import Line, Segment
from meterhouse.billing.period import Period, period_at
from meterhouse.billing.subscription import Item, Subscription


def at_start(subscription: Subscription, catalog: Catalog) -> list[Part]:
    """Return what is owed as a subscription begins.

    That is what was used, and what there was, in the periods before an item's `since`, where it
    was begun in the past; and the first period of licensed items, unless it is a part of one. In
    classic mode a metered item has a line of nothing.
    """
    return [
        part
        for item in reversed(subscription.items)
        for part in _at_start(subscription, item, catalog)
    ]


def at_renewal(before: Subscription, after: Subscription, catalog: Catalog) -> list[Part]:
    """Return what is owed as some items of `before` go into the periods that `after` has.

    It is owed for usage up to where the new period begins; and for the new periods of licensed
    items, unless the subscription ends before them.
    """
    was = {item.id: item for item in before.items}
    parts: list[Part] = []
    for item in reversed(after.items):
        old = was.get(item.id)
        if old is None or item.period.start == old.period.start:
            continue
        parts += _used(before, old, item.period.start, catalog)
        if catalog.meter(item.price) is None and not _ends_by(after, item.period.start):
            parts += _licensed(after, item, item.period, catalog)
    return parts


def at_end(subscription: Subscription, at: int, catalog: Catalog) -> list[Part]:
    """Return what is owed when a subscription ends at an instant: what was used until then."""
    return [
        part
        for item in reversed(subscription.items)
        for part in _used(subscription, item, at, catalog)
    ]


def _at_start(subscription: Subscription, item: Item, catalog: Catalog) -> Iterator[Part]:
    past = _past(subscription, item, catalog)
    if catalog.meter(item.price) is not None:
        for period in past:
            yield _usage(subscription, item, period, catalog)
        if subscription.mode == "classic":
            yield _nothing(subscription, item, catalog)
    elif subscription.status == "trialing":
        yield _trial(subscription, item, catalog)
    else:
        for period in past:
            yield from _licensed(subscription, item, period, catalog)
        if item.period == _whole(subscription, item, item.period.start, catalog):
            yield from _licensed(subscription, item, item.period, catalog)


def _past(subscription: Subscription, item: Item, catalog: Catalog) -> list[Period]:
    """Return the periods from the subscription's start to where the item begins to be billed."""
    metered = catalog.meter(item.price) is not None
    start, until = subscription.start, item.since if metered else item.period.start
    periods: list[Period] = []
    while start < until:
        end = min(until, _whole(subscription, item, start, catalog).end)
        periods.append(Period(start, end))
        start = end
    return periods


def _whole(subscription: Subscription, item: Item, instant: int, catalog: Catalog) -> Period:
    return period_at(subscription.anchor, catalog.recurrence(item.price), instant)


def _ends_by(subscription: Subscription, instant: int) -> bool:
    ended = subscription.status == "canceled"
    return ended or (subscription.cancel_at is not None and subscription.cancel_at <= instant)


def _used(subscription: Subscription, item: Item, until: int, catalog: Catalog) -> Iterator[Part]:
    if catalog.meter(item.price) is not None and item.since < until:
        yield _usage(subscription, item, Period(item.since, until), catalog)


def _usage(subscription: Subscription, item: Item, used_in: Period, catalog: Catalog) -> Usage:
    segment = Segment(
        place=0,
        customer=subscription.customer,
        meter=catalog.meter(item.price) or "",
        price=item.price,
        subscription_item=item.id,
        invoice_item=None,
        usage_in=used_in,
        period=used_in,
        free=subscription.status == "trialing",
    )
    return Usage(
        segment=segment,
        subscription=subscription.id,
        mode=subscription.mode,
        metadata=subscription.metadata,
    )


def _licensed(
    subscription: Subscription, item: Item, period: Period, catalog: Catalog
) -> Iterator[Line]:
    pricing = pricing_in(catalog.prices[item.price], subscription.currency)
    product, recurrence = catalog.product(item.price), catalog.recurrence(item.price)
    for charge in charges(pricing, Decimal(item.quantity or 0)):
        text = describe(charge, pricing, recurrence, product.name, product.unit_label)
        yield _line(subscription, item, period, charge, text, product.id)


def _trial(subscription: Subscription, item: Item, catalog: Catalog) -> Line:
    product, quantity = catalog.product(item.price), Decimal(item.quantity or 0)
    text = describe_trial(quantity, product.name, product.unit_label, subscription.mode)
    charge = Charge(quantity, ZERO, 0)
    return _line(subscription, item, item.period, charge, text, product.id)


def _nothing(subscription: Subscription, item: Item, catalog: Catalog) -> Line:
    """Return the line that a metered item has before anything was used."""
    pricing = pricing_in(catalog.prices[item.price], subscription.currency)
    product, recurrence = catalog.product(item.price), catalog.recurrence(item.price)
    charge = charges(pricing, ZERO)[0]
    if subscription.status == "trialing":
        text = describe_free_trial(ZERO, product.name, product.unit_label, subscription.mode)
    else:
        text = describe(charge, pricing, recurrence, product.name, product.unit_label)
    return _line(subscription, item, item.period, charge, text, product.id)


def _line(
    subscription: Subscription, item: Item, period: Period, charge: Charge, text: str, product: str
) -> Line:
    return Line(
        id="",
        amount=charge.amount,
        description=text,
        period=period,
        quantity=charge.quantity,
        unit_amount=charge.unit_amount,
        subscription=subscription.id,
        subscription_item=item.id,
        price=item.price,
        product=product,
        tier=charge.tier,
        flat=charge.flat,
        metadata=subscription.metadata,
    )
