"""Bills: what somebody is to pay for, before its usage is counted and after.

A bill has *parts* in the order in which they are printed: usage, which has to be counted and then
becomes lines, and lines that need no usage. Previews, drafts and invoices are all made of one.

What a reader may rely on:

- The same parts with the same counts make the same lines, and give them the same ids.
- A segment has at least one line, and its amount is the sum of its lines. Only one that is late may
  have none: because nothing has changed, or because its amount is credited.
- What a bill comes to is the sum of its lines.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

import msgspec

from meterhouse.billing.charge import ZERO, Charge, billable, charges
from meterhouse.billing.description import (
    describe,
    describe_billed_before,
    describe_free_trial,
)
from meterhouse.billing.invoice import Invoice, InvoiceItem, Line, Segment
from meterhouse.billing.price import Price, Pricing, Product, Recurrence
from meterhouse.billing.subscription import BillingMode

Name = Callable[[str], str]


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """A part that is counted. `metadata` is what its lines have unless they have their own.

    `mode` is the billing mode of its subscription, which has its own words for a trial.
    """

    segment: Segment
    subscription: str | None = None
    mode: BillingMode = "flexible"
    metadata: dict[str, str] = {}


Part = Usage | Line


class Catalog(NamedTuple):
    """The prices and products that a bill speaks of, by their ids."""

    prices: Mapping[str, Price]
    products: Mapping[str, Product]

    def meter(self, price: str) -> str | None:
        """Return the meter whose usage a price bills; None where it is not metered."""
        recurring = self.prices[price].recurring
        return recurring.meter if recurring else None

    def recurrence(self, price: str) -> Recurrence:
        """Return how often a recurring price is billed."""
        recurring = self.prices[price].recurring
        if recurring is None:
            raise ValueError(f"{price} is paid once")
        return recurring.recurrence

    def product(self, price: str) -> Product:
        """Return what a price is for."""
        return self.products[self.prices[price].product]


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What is billed in a currency, and the prices that it is billed under.

    A line that has no id yet is given one when the bill is `made`.
    """

    currency: str
    parts: tuple[Part, ...]
    catalog: Catalog

    @property
    def segments(self) -> list[Segment]:
        """The usage that is to be counted."""
        return [part.segment for part in self.parts if isinstance(part, Usage)]


class Made(NamedTuple):
    """The lines of a bill in their order, and its segments as they were counted."""

    lines: list[Line]
    segments: list[Segment]

    @property
    def total(self) -> int:
        """What it comes to, in minor units."""
        return sum(line.amount for line in self.lines)


def bill_of(currency: str, catalog: Catalog, parts: Iterable[Part]) -> Bill:
    """Return a bill of these parts, whose segments are numbered from 0."""
    numbered: list[Part] = []
    place = 0
    for part in parts:
        if isinstance(part, Line):
            numbered.append(part)
            continue
        segment = msgspec.structs.replace(part.segment, place=place)
        numbered.append(msgspec.structs.replace(part, segment=segment))
        place += 1
    return Bill(currency=currency, parts=tuple(numbered), catalog=catalog)


def made(
    bill: Bill,
    counted: Sequence[Segment],
    name: Name,
    kept: Mapping[str, Mapping[str, str]] | None = None,
) -> Made:
    """Return the lines of a bill whose segments have been `counted`.

    `name` gives a line its id: the same for the same text, which is another for each line. `kept`
    is the metadata of lines, by their id, that have been given their own.
    """
    totals = {segment.place: segment for segment in counted}
    lines: list[Line] = []
    segments: list[Segment] = []
    for number, part in enumerate(bill.parts):
        if isinstance(part, Line):
            id_ = part.id or name(f"part {number}")
            lines.append(msgspec.structs.replace(part, id=id_))
            continue
        segment = totals[part.segment.place]
        used = msgspec.structs.replace(part, segment=segment)
        charged = list(usage_lines(used, bill))
        amount = sum(line.amount for line in charged)
        if segment.late == "credit" or (segment.late and not amount):
            charged, amount = [], min(amount, 0)
        lines += [_named(line, name, kept or {}) for line in charged]
        segments.append(msgspec.structs.replace(segment, amount=amount))
    return Made(lines, segments)


def totalled(invoice: Invoice, lines: Iterable[Line]) -> Invoice:
    """Return a draft with what its lines come to; a total below zero leaves nothing to pay."""
    lines = list(lines)
    subtotal = sum(line.amount for line in lines)
    total = subtotal - sum(credit.amount for line in lines for credit in line.credits)
    return msgspec.structs.replace(
        invoice, subtotal=subtotal, total=total, amount_due=max(total, 0)
    )


def credited(segments: Iterable[Segment]) -> int:
    """Return what segments add to their customer's balance: nothing, or less, which is credit."""
    return sum(segment.amount for segment in segments if segment.late == "credit")


def usage_lines(part: Usage, bill: Bill) -> Iterator[Line]:
    """Return the lines of usage that was counted, without ids."""
    segment, catalog = part.segment, bill.catalog
    product = catalog.product(segment.price)
    quantity = billable(segment.usage)
    if segment.free:
        text = describe_free_trial(quantity, product.name, product.unit_label, part.mode)
        yield _usage_line(part, product, Charge(quantity, ZERO, 0), text)
        return
    pricing = pricing_in(catalog.prices[segment.price], bill.currency)
    recurrence = catalog.recurrence(segment.price)
    for charge in charges(pricing, quantity):
        text = describe(charge, pricing, recurrence, product.name, product.unit_label)
        yield _usage_line(part, product, charge, text)
    if segment.billed_before:
        amount = -segment.billed_before
        charge = Charge(ZERO, Decimal(amount), amount, flat=True)
        yield _usage_line(part, product, charge, describe_billed_before())


def pricing_in(price: Price, currency: str) -> Pricing:
    """Return what a price comes to in a currency, which is its own or one of its options."""
    if price.pricing.currency == currency:
        return price.pricing
    return price.options[currency].pricing


def item_part(item: InvoiceItem, catalog: Catalog, mode: BillingMode) -> Part:
    """Return what a pending invoice item comes to: a line, or usage that is still counted."""
    if item.usage_in is None or item.price is None:
        return _item_line(item, catalog)
    segment = Segment(
        place=0,
        customer=item.customer,
        meter=catalog.meter(item.price) or "",
        price=item.price,
        subscription_item=item.subscription_item,
        invoice_item=item.id,
        usage_in=item.usage_in,
        period=item.period,
    )
    return Usage(segment=segment, subscription=item.subscription, mode=mode, metadata=item.metadata)


def _item_line(item: InvoiceItem, catalog: Catalog) -> Line:
    return Line(
        id="",
        amount=item.amount,
        description=item.description or "",
        period=item.period,
        quantity=item.quantity,
        unit_amount=item.unit_amount,
        subscription=item.subscription,
        subscription_item=item.subscription_item,
        invoice_item=item.id,
        price=item.price,
        product=item.price and catalog.prices[item.price].product,
        metadata=item.metadata,
    )


def _usage_line(part: Usage, product: Product, charge: Charge, text: str) -> Line:
    segment = part.segment
    return Line(
        id="",
        amount=charge.amount,
        description=text,
        period=segment.period,
        quantity=charge.quantity,
        unit_amount=charge.unit_amount,
        subscription=part.subscription,
        subscription_item=segment.subscription_item,
        invoice_item=segment.invoice_item,
        price=segment.price,
        product=product.id,
        tier=charge.tier,
        flat=charge.flat,
        segment=segment.place,
        metadata=part.metadata,
    )


def _named(line: Line, name: Name, kept: Mapping[str, Mapping[str, str]]) -> Line:
    id_ = name(f"segment {line.segment} tier {line.tier} flat {line.flat}")
    metadata = dict(kept.get(id_, line.metadata))
    return msgspec.structs.replace(line, id=id_, metadata=metadata)
