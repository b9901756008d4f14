"""What is owed when a subscription begins, goes from one period into the next, and ends.

Metered items are owed for afterwards, for what was used; licensed ones beforehand, for the period
that begins.

What a reader may rely on:

- The parts of items stand newest first, and those of one item together.
- Usage that is settled (`billing.change`) is owed for, or has a line that says that it was free.
- A licensed item is owed for whole periods: one that it joins or leaves in the midst is not charged
  in part.
- A subscription that is only imagined has an empty id, and its lines name none.

https://docs.stripe.com/billing/subscriptions/billing-mode/compare
"""

from collections.abc import Iterator
from decimal import Decimal

from meterhouse.billing.bill import Catalog, Part, Usage, pricing_in
from meterhouse.billing.change import Change, Stretch
from meterhouse.billing.charge import ZERO, Charge, charges
from meterhouse.billing.description import describe, describe_free_trial, describe_trial
from meterhouse.billing.invoice import Line, Segment
from meterhouse.billing.period import Period, period_at
from meterhouse.billing.subscription import Item, Subscription


def owed(before: Subscription | None, change: Change, catalog: Catalog) -> list[Part]:
    """Return what is owed as `before`, None where it begins, becomes what the `change` says."""
    after = change.subscription
    old = {item.id: item for item in before.items} if before else {}
    new = {item.id: item for item in after.items}
    parts: list[Part] = []
    for item_id in reversed(old | new):
        parts += [
            _usage(after, stretch, catalog)
            for stretch in change.settled
            if stretch.item.id == item_id and stretch.fate != "dropped"
        ]
        if item_id not in new:
            continue
        if before is None:
            parts += _beginning(after, new[item_id], catalog)
        elif _begins(old.get(item_id), new[item_id]):
            parts += _period(after, new[item_id], catalog)
    return parts


def _begins(old: Item | None, new: Item) -> bool:
    """Tell whether a period of an item begins."""
    return old is None or old.period.start != new.period.start


def _beginning(one: Subscription, item: Item, catalog: Catalog) -> Iterator[Part]:
    """Return what is owed for an item of a subscription that begins, or began in the past."""
    if catalog.meter(item.price) is None:
        start = one.start
        while start < item.period.start:
            past = _whole(one, item, start, catalog)
            if past.start == start:
                yield from _licensed(one, item, past, catalog)
            start = past.end
    elif one.mode == "classic":
        yield _nothing(one, item, catalog)
    yield from _period(one, item, catalog)


def _period(one: Subscription, item: Item, catalog: Catalog) -> Iterator[Part]:
    """Return what is owed beforehand for the period of an item."""
    ends = one.status == "canceled" or (
        one.cancel_at is not None and one.cancel_at <= item.period.start
    )
    if catalog.meter(item.price) is not None or one.status == "paused" or ends:
        return
    if one.status == "trialing":
        yield _trial(one, item, catalog)
    elif item.period == _whole(one, item, item.period.start, catalog):
        yield from _licensed(one, item, item.period, catalog)


def _whole(one: Subscription, item: Item, instant: int, catalog: Catalog) -> Period:
    return period_at(one.anchor, catalog.recurrence(item.price), instant)


def _usage(one: Subscription, stretch: Stretch, catalog: Catalog) -> Usage:
    segment = Segment(
        place=0,
        customer=one.customer,
        meter=catalog.meter(stretch.item.price) or "",
        price=stretch.item.price,
        subscription_item=stretch.item.id,
        invoice_item=None,
        usage_in=stretch.usage_in,
        period=stretch.usage_in,
        free=stretch.fate == "free",
        early=stretch.fate == "early",
    )
    return Usage(segment=segment, subscription=one.id or None, mode=one.mode, metadata=one.metadata)


def _licensed(one: Subscription, item: Item, period: Period, catalog: Catalog) -> Iterator[Line]:
    pricing = pricing_in(catalog.prices[item.price], one.currency)
    product, recurrence = catalog.product(item.price), catalog.recurrence(item.price)
    for charge in charges(pricing, Decimal(item.quantity or 0)):
        text = describe(charge, pricing, recurrence, product.name, product.unit_label)
        yield _line(one, item, period, charge, text, product.id)


def _trial(one: Subscription, item: Item, catalog: Catalog) -> Line:
    product, quantity = catalog.product(item.price), Decimal(item.quantity or 0)
    text = describe_trial(quantity, product.name, product.unit_label, one.mode)
    charge = Charge(quantity, ZERO, 0)
    return _line(one, item, item.period, charge, text, product.id)


def _nothing(one: Subscription, item: Item, catalog: Catalog) -> Line:
    """Return the line that a metered item has before anything was used."""
    pricing = pricing_in(catalog.prices[item.price], one.currency)
    product, recurrence = catalog.product(item.price), catalog.recurrence(item.price)
    charge = charges(pricing, ZERO)[0]
    if one.status == "trialing":
        text = describe_free_trial(ZERO, product.name, product.unit_label, one.mode)
    else:
        text = describe(charge, pricing, recurrence, product.name, product.unit_label)
    return _line(one, item, item.period, charge, text, product.id)


def _line(
    one: Subscription, item: Item, period: Period, charge: Charge, text: str, product: str
) -> Line:
    return Line(
        id="",
        amount=charge.amount,
        description=text,
        period=period,
        quantity=charge.quantity,
        unit_amount=charge.unit_amount,
        subscription=one.id or None,
        subscription_item=item.id,
        price=item.price,
        product=product,
        tier=charge.tier,
        flat=charge.flat,
        metadata=one.metadata,
    )
