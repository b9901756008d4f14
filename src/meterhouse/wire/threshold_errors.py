"""Refusals about the thresholds of subscriptions. Stripe's words are not known; these are ours.

https://docs.stripe.com/billing/subscriptions/usage-based/thresholds
"""

from meterhouse.errors import Refusal


def not_metered(param: str) -> Refusal:
    """Refuse a threshold of usage of what is billed by its quantity."""
    return Refusal("`usage_gte` can only be set on items with a metered price.", param=param)


def packages() -> Refusal:
    """Refuse thresholds where a price is paid by the package."""
    return Refusal(
        "Billing thresholds are not supported with prices that have `transform_quantity`.",
        param="billing_thresholds",
    )


def flat_amounts(amount: int) -> Refusal:
    """Refuse an amount that is owed without any usage."""
    return Refusal(
        "`billing_thresholds[amount_gte]` must be greater than the sum of the flat amounts of the "
        f"metered items, which is {amount}.",
        param="billing_thresholds[amount_gte]",
    )


def licensed_reset() -> Refusal:
    """Refuse to end the periods of what is licensed early, which would be credited."""
    return Refusal(
        "This server does not support prorations of licensed items: periods can only begin anew at "
        "a threshold (`reset_billing_cycle_anchor`) where all items are metered.",
        param="billing_thresholds[reset_billing_cycle_anchor]",
    )
