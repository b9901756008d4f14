"""Invoices, as plain values: what somebody owes, line by line, and how the usage in it was counted.

What a reader may rely on:

- The total is the sum of the lines without what credits pay of them. All amounts are whole minor
  units of the invoice's currency.
- Lines that come of usage belong to a *segment*: a customer's usage of one meter in one range,
  under one price. Of each segment an invoice keeps what was counted and when, so that its lines can
  be made again, and can be explained.
- Once an invoice is finalized neither its lines nor its segments change.

https://docs.stripe.com/api/invoices/object
"""

from decimal import Decimal
from typing import Any, Literal, NamedTuple

import msgspec

from meterhouse.billing.charge import ZERO
from meterhouse.billing.period import Period
from meterhouse.billing.subscription import CollectionMethod

Reason = Literal[
    "manual",
    "subscription_create",
    "subscription_cycle",
    "subscription_threshold",
    "subscription_update",
    "upcoming",
]
InvoiceStatus = Literal["draft", "open", "paid", "uncollectible", "void"]
# What becomes of usage that has changed since it was billed.
LateUsage = Literal["bill", "credit"]


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """Usage that is billed: by `customer` on `meter` in the half-open range `usage_in`.

    `place` numbers the segments of an invoice. `period` is what its lines say that they are for.
    `invoice_item` is the pending item that it was, where a price changed or an item went in
    mid-period. A `free` one costs nothing: it was a trial. One that is `late` has been billed by
    earlier invoices, for `billed_before` in all: what it comes to by now is billed and that taken
    off again or, where it is less, the difference goes to the customer's credit. An `early` one is
    billed because a threshold was reached: who bills its range to the end begins where it began,
    and takes off what it has charged, which is `billed_before` there, too.

    `usage` is the exact total, of `events` events, as it was `counted_at`: None until it is. That
    is an instant of the machine's time, by which events are received, also with a test clock.
    """

    place: int
    customer: str
    meter: str
    price: str
    subscription_item: str | None
    invoice_item: str | None
    usage_in: Period
    period: Period
    free: bool = False
    early: bool = False
    late: LateUsage | None = None
    billed_before: int = 0
    usage: Decimal = ZERO
    events: int = 0
    amount: int = 0
    counted_at: int | None = None


class Credit(NamedTuple):
    """What a credit grant pays of a line; `transaction` is None while that is only expected."""

    amount: int
    transaction: str | None


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line of an invoice. `segment` is the place of its segment, None where usage has no part.

    `unit_amount` is in minor units. A line of a tier has its number, and is that of its units or of
    its flat amount. `credits` pay some of its `amount`, or all of it.
    """

    id: str
    amount: int
    description: str
    period: Period
    quantity: Decimal
    unit_amount: Decimal
    subscription: str | None = None
    subscription_item: str | None = None
    invoice_item: str | None = None
    price: str | None = None
    product: str | None = None
    tier: int | None = None
    flat: bool = False
    proration: bool = False
    segment: int | None = None
    credits: tuple[Credit, ...] = ()
    metadata: dict[str, str] = {}


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice without its lines.

    `finalizes_at` is when a draft is finalized of itself. `details` are members of the object that
    are only given back, as the wire has them: what the customer's name and address were, and the
    like. `revision` grows with every change.
    """

    id: str
    scope: int
    customer: str
    subscription: str | None
    test_clock: str | None
    status: InvoiceStatus
    reason: Reason
    currency: str
    period: Period
    collection: CollectionMethod = "charge_automatically"
    due_date: int | None = None
    auto_advance: bool = False
    finalizes_at: int | None = None
    number: str | None = None
    subtotal: int = 0
    total: int = 0
    amount_due: int = 0
    amount_paid: int = 0
    amount_paid_off_stripe: int = 0
    starting_balance: int = 0
    ending_balance: int | None = None
    attempted: bool = False
    finalized_at: int | None = None
    paid_at: int | None = None
    voided_at: int | None = None
    marked_uncollectible_at: int | None = None
    overdue_told: bool = False
    description: str | None = None
    footer: str | None = None
    metadata: dict[str, str] = {}
    details: dict[str, Any] = {}
    created: int
    revision: int = 0

    @property
    def due(self) -> int | None:
        """When something happens to it of itself: it is finalized, or has not been paid in time."""
        if self.status == "draft":
            return self.finalizes_at
        return self.due_date if self.status == "open" and not self.overdue_told else None


class InvoiceItem(msgspec.Struct, frozen=True, kw_only=True):
    """What goes onto a later invoice: `invoice` is the one that has it, None while it is pending.

    `usage_in` is the range of usage that it bills under its price, where a price changed or an item
    went in mid-period: then `amount` and `quantity` are as they were last counted.
    """

    id: str
    scope: int
    customer: str
    subscription: str | None
    subscription_item: str | None
    invoice: str | None
    test_clock: str | None
    currency: str
    description: str | None
    amount: int
    quantity: Decimal
    unit_amount: Decimal
    price: str | None
    period: Period
    usage_in: Period | None = None
    metadata: dict[str, str] = {}
    created: int
