"""The thresholds of subscriptions and of their items, as requests tell them.

https://docs.stripe.com/api/subscriptions/create#create_subscription-billing_thresholds
"""

from collections.abc import Mapping
from typing import Annotated

from msgspec import UnsetType

from meterhouse import limits
from meterhouse.billing.bill import pricing_in
from meterhouse.billing.price import Price
from meterhouse.billing.subscription import Item, Subscription, Threshold
from meterhouse.billing.threshold import flat_amounts
from meterhouse.wire import threshold_errors
from meterhouse.wire.params import Between, Params


class ThresholdParams(Params):
    """What is not invoiced yet when an invoice is made at once, and if a period ends with it."""

    amount_gte: (
        Annotated[int, Between(limits.THRESHOLD_LEAST_LIMIT, limits.INVOICE_LINE_AMOUNT_LIMIT)]
        | UnsetType
        | None
    ) = None
    reset_billing_cycle_anchor: bool | UnsetType | None = None


class ItemThresholdParams(Params):
    """How much usage is not invoiced yet when an invoice is made at once."""

    usage_gte: Annotated[int, Between(1, limits.THRESHOLD_USAGE_LIMIT)]


def threshold_of(
    told: ThresholdParams | UnsetType | None, before: Threshold | None
) -> Threshold | None:
    """Return the threshold of a subscription as a request changes it."""
    if isinstance(told, UnsetType):
        return before
    if told is None:
        return None
    return Threshold(
        amount_gte=told.amount_gte or None, resets=bool(told.reset_billing_cycle_anchor)
    )


def usage_gte_of(
    told: ItemThresholdParams | UnsetType | None, item: Item | None, price: Price, param: str
) -> int | None:
    """Return the threshold of an item as a request changes it; only what is metered has one."""
    metered = price.recurring is not None and price.recurring.meter is not None
    if isinstance(told, UnsetType):
        return item.usage_gte if item is not None and metered else None
    if told is None:
        return None
    if not metered:
        raise threshold_errors.not_metered(param)
    return told.usage_gte


def check_thresholds(subscription: Subscription, known: Mapping[str, Price]) -> None:
    """Refuse thresholds that would never let a period go on, or that prices do not go with."""
    if not subscription.watched:
        return
    metered = [known[item.price] for item in subscription.items if item.quantity is None]
    pricings = [pricing_in(price, subscription.currency) for price in metered]
    if any(pricing.transform is not None for pricing in pricings):
        raise threshold_errors.packages()
    threshold = subscription.threshold or Threshold()
    if threshold.resets and len(metered) < len(subscription.items):
        raise threshold_errors.licensed_reset()
    owed = flat_amounts(pricings)
    if threshold.amount_gte is not None and threshold.amount_gte <= owed:
        raise threshold_errors.flat_amounts(owed)
