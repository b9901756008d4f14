"""Thresholds: a subscription is invoiced before its period is over once enough has come together.

What a reader may rely on:

- What is compared is what no invoice has billed yet: the amount of the subscription, less what
  credits pay of it, and the usage of each of its items that has a threshold of its own.
- Nothing is compared during a trial, shortly before a period or the subscription ends, and while
  invoices are not collected.

https://docs.stripe.com/billing/subscriptions/usage-based/thresholds
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from meterhouse.billing.bill import Made
from meterhouse.billing.charge import ZERO
from meterhouse.billing.invoice import Line, Segment
from meterhouse.billing.price import Pricing
from meterhouse.billing.subscription import Subscription
from meterhouse.limits import THRESHOLD_REST_MILLISECONDS

_GOING = ("active", "past_due")


class Crossed(NamedTuple):
    """The thresholds that were reached: an amount, and usage by the ids of items."""

    amount_gte: int | None
    usage_gte: Mapping[str, int]


def is_compared(subscription: Subscription, at: int) -> bool:
    """Tell whether a subscription is invoiced early at an instant, if a threshold is reached."""
    if not subscription.watched or subscription.status not in _GOING:
        return False
    if subscription.details.get("pause_collection") is not None:
        return False
    ends = subscription.period.end
    if subscription.cancel_at is not None:
        ends = min(ends, subscription.cancel_at)
    return at < ends - THRESHOLD_REST_MILLISECONDS


def crossed(
    subscription: Subscription, made: Made, billed_before: Mapping[str, Decimal]
) -> Crossed | None:
    """Return the thresholds that a bill of all that is not invoiced reaches; None for none.

    `billed_before` is the usage of items, by their ids, that invoices have billed early.
    """
    amount_gte = subscription.threshold.amount_gte if subscription.threshold else None
    own = [line for line in made.lines if line.subscription == subscription.id]
    amount = sum(line.amount - sum(one.amount for one in line.credits) for line in own)
    used = {one.subscription_item: one.usage for one in made.segments if is_open(one)}
    usage_gte = {
        item.id: item.usage_gte
        for item in subscription.items
        if item.usage_gte is not None
        and used.get(item.id, ZERO) - billed_before.get(item.id, ZERO) >= item.usage_gte
    }
    reached = amount_gte is not None and amount >= amount_gte
    if not reached and not usage_gte:
        return None
    return Crossed(amount_gte if reached else None, usage_gte)


def is_open(segment: Segment) -> bool:
    """Tell whether what is billed early goes on: it does not wait since the price was another."""
    return segment.early and segment.invoice_item is None


def reason_of(crossed: Crossed, lines: Sequence[Line]) -> dict[str, Any]:
    """Return why an invoice with these lines was made, as it shows it."""
    return {
        "amount_gte": crossed.amount_gte,
        "item_reasons": [
            {
                "line_item_ids": [line.id for line in lines if line.subscription_item == item],
                "usage_gte": usage_gte,
            }
            for item, usage_gte in crossed.usage_gte.items()
        ],
    }


def flat_amounts(pricings: Iterable[Pricing]) -> int:
    """Return the sum of the flat amounts that are owed for no use at all."""
    return sum(tier.flat_amount or 0 for pricing in pricings for tier in pricing.tiers[:1])
