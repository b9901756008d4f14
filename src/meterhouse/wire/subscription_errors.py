"""Refusals about subscriptions and their items, in Stripe's words where they are known.

https://docs.stripe.com/api/subscriptions. Where they are not, a plain sentence names the parameter.
"""

from collections.abc import Collection

from meterhouse.errors import Refusal
from meterhouse.wire.envelope import quote

STATUSES = (
    "active",
    "past_due",
    "unpaid",
    "canceled",
    "incomplete",
    "incomplete_expired",
    "trialing",
    "paused",
    "all",
    "ended",
)


def no_such_customer(customer: str) -> Refusal:
    """Refuse to bill a customer that does not exist."""
    return Refusal(
        f"No such customer: '{quote(customer)}'",
        status=404,
        code="resource_missing",
        param="customer",
    )


def same_price(price: str) -> Refusal:
    """Refuse a price that is there twice."""
    return Refusal(
        "Cannot create a Subscription with multiple Subscription Items with the same Price: "
        f"{quote(price)}",
        param="plan",
    )


def inactive_price(param: str) -> Refusal:
    """Refuse a price that is archived."""
    return Refusal(
        "The price specified is inactive. This field only accepts active prices.", param=param
    )


def one_time_price(param: str) -> Refusal:
    """Refuse a price that is billed once."""
    return Refusal(
        "The price specified is set to `type=one_time` but this field only accepts prices with "
        "`type=recurring`.",
        param=param,
    )


def other_currency(own: Collection[str], expected: str, param: str) -> Refusal:
    """Refuse a price that has no amount in the currency of the subscription."""
    known = ", ".join(f"`{currency}`" for currency in sorted(own))
    return Refusal(
        f"The price specified only supports {known}. This doesn't match the expected currency: "
        f"`{quote(expected)}`.",
        param=param,
    )


def quantity_of_metered(item: str) -> Refusal:
    """Refuse a quantity of what is billed by usage; `item` is empty for the request itself."""
    return Refusal(
        "Quantity should not be specified where usage_type is `metered`. Remove quantity from "
        f"`{item or 'subscription_item'}`",
        param=f"{item}[quantity]" if item else "quantity",
    )


def different_intervals(*, flexible: bool) -> Refusal:
    """Refuse prices of intervals that do not go together."""
    rule = (
        "must be multiples of the shortest of them"
        if flexible
        else "must be the same in the billing mode `classic`"
    )
    return Refusal(f"The billing intervals of a subscription's prices {rule}.", param="items")


def no_days_until_due() -> Refusal:
    """Refuse to send invoices of which nobody knows when they are to be paid."""
    return Refusal(
        "If invoice collection method is 'send_invoice', you must specify 'days_until_due'."
    )


def needless_days_until_due() -> Refusal:
    """Refuse days until something is due that is collected automatically."""
    return Refusal(
        "You can only specify 'days_until_due' if invoice collection method is 'send_invoice'."
    )


def past_instant(param: str, value: int) -> Refusal:
    """Refuse an instant that has to be in the future and is not."""
    return Refusal(
        f"The parameter `{param}` expects a unix timestamp representing a date and time in the "
        f"future. You specified the value `{value}` which is in the past.",
        param=param,
    )


def future_instant(param: str) -> Refusal:
    """Refuse an instant that has to be in the past and is not."""
    return Refusal(f"`{param}` must be in the past.", param=param)


def too_many_periods(periods_max: int) -> Refusal:
    """Refuse a start so long ago that its first invoice would have too many lines."""
    return Refusal(
        f"A subscription can be backdated by {periods_max} periods of its items at most.",
        param="backdate_start_date",
    )


def trial_too_long(param: str) -> Refusal:
    """Refuse a trial of more than two years."""
    return Refusal("A trial can last two years at most.", param=param)


def trial_twice() -> Refusal:
    """Refuse a trial that is told in two ways."""
    return Refusal("You cannot set `trial_end` or `trial_period_days` when `trial_from_plan=true`.")


def useless_payment_behavior() -> Refusal:
    """Refuse a behavior that only has a meaning where something changes."""
    return Refusal(
        "Setting `payment_behavior` to `pending_if_incomplete` has no effect when creating a "
        "subscription.",
        param="payment_behavior",
    )


def late_anchor() -> Refusal:
    """Refuse an anchor that would make the first period longer than all others."""
    return Refusal(
        "`billing_cycle_anchor` cannot be later than the next natural billing date.",
        param="billing_cycle_anchor",
    )


def anchor_needs_months() -> Refusal:
    """Refuse the configuration of an anchor by the day of a month, where none is billed by it."""
    return Refusal(
        "`billing_cycle_anchor_config` can only be set when all prices are billed by the month or "
        "the year.",
        param="billing_cycle_anchor_config",
    )


def wrong_status_filter() -> Refusal:
    """Refuse to list by a status that no subscription has."""
    *others, last = STATUSES
    return Refusal(f"Invalid status: must be one of {', '.join(others)}, or {last}", param="status")


def canceled(fields: Collection[str]) -> Refusal:
    """Refuse to change a subscription that is over."""
    return Refusal(
        "A canceled subscription can only update its cancellation_details and metadata.",
        code="invalid_canceled_subscription_fields",
        param=next(iter(sorted(fields)), None),
    )


def needs_prorations(param: str) -> Refusal:
    """Refuse what would charge or credit a part of a licensed item's period."""
    return Refusal(
        "This server does not support prorations of licensed items: pass `proration_behavior=none` "
        "to change them in the midst of a period without any.",
        param=param,
    )


def needs_a_boundary(param: str) -> Refusal:
    """Refuse an end in the midst of a period of licensed items, which would be charged in part."""
    return Refusal(
        "This server does not support prorations of licensed items: they can only end where one of "
        "their periods does, or, with `proration_behavior=none`, within the present one.",
        param=param,
    )


def needs_no_credit() -> Refusal:
    """Refuse to credit the rest of a licensed item's period as it is canceled."""
    return Refusal(
        "This server does not support prorations of licensed items: cancel without `prorate`, or "
        "at the end of a period.",
        param="prorate",
    )


def last_item() -> Refusal:
    """Refuse to remove the only item."""
    return Refusal(
        "A subscription must have at least one item. To end it, cancel the subscription instead.",
        param="items",
    )


def too_many_items(items_max: int) -> Refusal:
    """Refuse more items than a subscription may have."""
    return Refusal(f"A subscription can have up to {items_max} items.", param="items")


def no_price(param: str) -> Refusal:
    """Refuse a new item that has no price."""
    return Refusal("A new item must have a `price`.", code="parameter_missing", param=param)


def not_while(status: str, param: str | None = None) -> Refusal:
    """Refuse what a subscription of this status cannot do."""
    return Refusal(f"This cannot be done while the subscription is {status}.", param=param)


def not_paused() -> Refusal:
    """Refuse to resume what is not paused."""
    return Refusal("Only subscriptions with the status `paused` can be resumed.")


def flexible_already() -> Refusal:
    """Refuse to migrate a subscription to the mode that it has; there is no way back, either."""
    return Refusal(
        "The subscription has the billing mode `flexible` already.", param="billing_mode[type]"
    )


def metered_by_events() -> Refusal:
    """Refuse usage records, which prices of a meter do not have."""
    return Refusal(
        "This subscription item's price is backed by a meter. Report its usage as meter events "
        "(`POST /v1/billing/meter_events`), and read it as event summaries of the meter."
    )


def held_up(subscription: str, why: str) -> Refusal:
    """Refuse to change what cannot be billed for what is due of it."""
    return Refusal(
        f"What is due of '{quote(subscription)}' cannot be billed: {quote(why)} Until it is, the "
        "subscription can only be canceled, without `invoice_now`.",
        code="subscription_held_up",
    )


def under_way(object_id: str) -> Refusal:
    """Turn a change away because the subscription is being billed; it may be sent again."""
    return Refusal(
        f"What '{quote(object_id)}' is billed for is changing right now. Please try again shortly.",
        status=429,
        code="lock_timeout",
        headers={"Stripe-Should-Retry": "true"},
    )
