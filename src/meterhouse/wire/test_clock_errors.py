"""Refusals about test clocks (https://docs.stripe.com/api/test_clocks).

Stripe's words are known of the first three; for the others a plain sentence names the parameter.
"""

from meterhouse.errors import Refusal
from meterhouse.wire import envelope


def no_such_test_clock(clock: str, param: str = "id") -> Refusal:
    """Refuse an id that no clock has: 404 when it stands in the path, 400 in a parameter."""
    return envelope.no_such("billingclock", clock, param)


def underway(clock: str) -> Refusal:
    """Refuse to change what lives by a clock that is on its way."""
    return Refusal(
        f"Test clock advancement underway - cannot perform modifications: {envelope.quote(clock)}",
        status=429,
        headers={"Stripe-Should-Retry": "true"},
    )


def only_in_testmode() -> Refusal:
    """Refuse a live key: live customers live in the present."""
    return Refusal(
        "This endpoint is only available in testmode. Try using your test keys instead.",
        status=403,
    )


def not_later(frozen_time: int) -> Refusal:
    """Refuse to move a clock to where it is, or back."""
    return Refusal(
        f"The test clock can only be advanced to a time after its current frozen time, which is "
        f"{frozen_time}.",
        param="frozen_time",
    )


def too_far(latest: int) -> Refusal:
    """Refuse to move a clock by more than two intervals at once."""
    return Refusal(
        "The test clock cannot be advanced by more than two intervals of its shortest "
        f"subscription at once: until {latest} at the latest.",
        param="frozen_time",
    )


def too_many_customers(most: int) -> Refusal:
    """Refuse a customer more than a clock may have."""
    return Refusal(f"A test clock can have at most {most} customers.", param="test_clock")


def too_many_subscriptions(most: int) -> Refusal:
    """Refuse a subscription more than a customer of a clock may have."""
    return Refusal(
        f"A customer with a test clock can have at most {most} subscriptions.", param="customer"
    )


def customer_has_clock(customer: str) -> Refusal:
    """Refuse a customer that lives by another clock."""
    return Refusal(
        f"The customer '{envelope.quote(customer)}' already belongs to a test clock.",
        param="customer",
    )


def customer_is_billed(customer: str) -> Refusal:
    """Refuse a customer that something is billed to in the machine's time."""
    return Refusal(
        f"The customer '{envelope.quote(customer)}' has subscriptions, invoices or invoice "
        "items, and cannot join a test clock any more.",
        param="customer",
    )
