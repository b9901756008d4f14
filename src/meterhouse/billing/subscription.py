"""Subscriptions, as plain values: who is billed for what, and when something is due next.

What a reader may rely on:

- An item is billed by half-open periods that are counted from the subscription's anchor. `since` is
  from when on usage is billed under the item's present price: the beginning of its period, or when
  the price came to be in the midst of it.
- The usage of every instant from the item's first `since` on is billed once: what lies before a
  `since` has gone onto an invoice, or waits as an invoice item. What is billed early, because a
  threshold was reached, is counted again with the rest, and taken off.
- Instants are milliseconds since the epoch, in the time of the subscription's test clock if it has
  one.

https://docs.stripe.com/api/subscriptions/object
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from meterhouse.billing.period import Period
from meterhouse.limits import TRIAL_NOTICE_MILLISECONDS

BillingMode = Literal["classic", "flexible"]
CollectionMethod = Literal["charge_automatically", "send_invoice"]
Status = Literal["active", "canceled", "past_due", "paused", "trialing"]
# What happens to a subscription when its time has come, in the order at one instant.
StepKind = Literal["trial_will_end", "upcoming", "trial_ends", "renews", "cancels"]


class Threshold(msgspec.Struct, frozen=True, kw_only=True):
    """When a subscription is invoiced before its period is over (`billing.threshold`).

    It is once `amount_gte`, in minor units, is not invoiced yet; None leaves it to its items. With
    `resets` a new period begins then, of which the anchor is.
    """

    amount_gte: int | None = None
    resets: bool = False


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """What is subscribed to: a price, and how many of it where it is not metered.

    An invoice is made at once when `usage_gte` units are not invoiced yet; None: never.
    """

    id: str
    price: str
    quantity: int | None
    period: Period
    since: int
    usage_gte: int | None = None
    metadata: dict[str, str]
    created: int


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription and its items, oldest first.

    `trial` is when nothing is charged. `cancel_at` is when it ends of itself, with
    `cancel_at_period_end` at the end of a period. `upcoming_told` is the end of the period of which
    it was told that it comes, `trial_told` that it was told of the trial's end. `threshold` is when
    it is invoiced early, `billed_early` up to which instant it has been, the last time. `details`
    are those members of the object that are only given back, as the wire has them. `revision` grows
    with every change.
    """

    id: str
    scope: int
    customer: str
    test_clock: str | None
    status: Status
    currency: str
    mode: BillingMode
    anchor: int
    start: int
    items: tuple[Item, ...]
    collection: CollectionMethod = "charge_automatically"
    days_until_due: int | None = None
    trial: Period | None = None
    cancel_at: int | None = None
    cancel_at_period_end: bool = False
    canceled_at: int | None = None
    ended_at: int | None = None
    latest_invoice: str | None = None
    upcoming_told: int | None = None
    trial_told: bool = False
    threshold: Threshold | None = None
    billed_early: int | None = None
    metadata: dict[str, str] = {}
    details: dict[str, Any] = {}
    created: int
    revision: int = 0

    @property
    def period(self) -> Period:
        """The period that all items have in common: the latest start, the earliest end."""
        periods = [item.period for item in self.items]
        return Period(max(one.start for one in periods), min(one.end for one in periods))

    @property
    def settled(self) -> int:
        """The instant before which all has been billed of some item: no change lies there."""
        return max(self.billed_early or 0, *(item.since for item in self.items))

    @property
    def watched(self) -> bool:
        """Whether it is invoiced early when usage reaches a threshold."""
        amount = self.threshold is not None and self.threshold.amount_gte is not None
        return amount or any(item.usage_gte is not None for item in self.items)


class Step(NamedTuple):
    """What happens to a subscription at an instant."""

    at: int
    kind: StepKind


def next_step(subscription: Subscription, notice: int) -> Step | None:
    """Return what happens next; None where nothing will, of itself.

    `notice` is how long before a period's end it is told that an invoice is coming (milliseconds,
    0 for not at all). What is long due is still a step of its own instant. What ends at an instant
    does not renew then.
    """
    if subscription.status == "canceled":
        return None
    steps = [*_of_trial(subscription), *_of_period(subscription, notice)]
    ends = subscription.cancel_at
    if ends is not None:
        steps = [step for step in steps if step.at < ends or step.kind in _BEFORE_THE_END]
        steps.append(Step(ends, "cancels"))
    return min(steps, key=lambda step: (step.at, _ORDER[step.kind]), default=None)


def overdue(subscription: Subscription, at: int) -> bool:
    """Tell whether something that changes what is billed was to happen by an instant, and has not.

    What is only told of is none.
    """
    step = next_step(msgspec.structs.replace(subscription, trial_told=True), 0)
    return step is not None and step.at <= at


def _of_trial(subscription: Subscription) -> list[Step]:
    if subscription.status != "trialing" or subscription.trial is None:
        return []
    start, end = subscription.trial
    if subscription.trial_told:
        return [Step(end, "trial_ends")]
    told = max(start, end - TRIAL_NOTICE_MILLISECONDS)
    return [Step(told, "trial_will_end"), Step(end, "trial_ends")]


def _of_period(subscription: Subscription, notice: int) -> list[Step]:
    """Tell of the period's end, and of its announcement."""
    if subscription.status in ("paused", "trialing") or not subscription.items:
        return []
    start, end = subscription.period
    if notice and subscription.upcoming_told != end:
        return [Step(max(start, end - notice), "upcoming"), Step(end, "renews")]
    return [Step(end, "renews")]


# What may happen at the very instant at which it ends.
_BEFORE_THE_END = frozenset({"trial_will_end", "upcoming"})
_ORDER: Mapping[StepKind, int] = {
    "trial_will_end": 0,
    "upcoming": 1,
    "trial_ends": 2,
    "renews": 3,
    "cancels": 4,
}
