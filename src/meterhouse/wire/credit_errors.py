"""Refusals about credit grants, in plain sentences of ours: Stripe's are not known.

https://docs.stripe.com/api/billing/credit-grant
"""

from meterhouse.errors import Refusal
from meterhouse.wire.envelope import quote


def no_scope(param: str) -> Refusal:
    """Refuse a scope that tells no prices."""
    return Refusal(
        "You must specify either `price_type` or `prices` in the scope.", param=quote(param)
    )


def not_metered(price: str, param: str) -> Refusal:
    """Refuse a price that credits cannot pay for."""
    return Refusal(
        f"Credits apply to prices with a meter only, and '{quote(price)}' has none.", param=param
    )


def not_in_future(param: str) -> Refusal:
    """Refuse an instant that has gone by."""
    return Refusal(f"`{param}` must be in the future.", param=param)


def expires_too_early() -> Refusal:
    """Refuse a grant that is over before it begins."""
    return Refusal("`expires_at` must be after `effective_at`.", param="expires_at")


def too_many_unused(most: int) -> Refusal:
    """Refuse more grants than a customer may have at a time."""
    return Refusal(f"A customer can have up to {most} unused credit grants.", param="customer")


def is_over(grant: str) -> Refusal:
    """Refuse to change when a grant ends that has ended."""
    return Refusal(f"The credit grant '{quote(grant)}' has expired or was voided already.")


def not_yet_effective(grant: str) -> Refusal:
    """Refuse to let expire what has not begun."""
    return Refusal(
        f"The credit grant '{quote(grant)}' is not effective yet, so it cannot expire. Void it "
        "instead."
    )


def is_applied(grant: str) -> Refusal:
    """Refuse to take back what was used."""
    return Refusal(
        f"Some of the credit grant '{quote(grant)}' has been applied to invoices, so it cannot be "
        "voided. Expire it instead."
    )


def not_of_customer(grant: str, customer: str, param: str) -> Refusal:
    """Refuse somebody else's grant."""
    return Refusal(
        f"The credit grant '{quote(grant)}' does not belong to the customer '{quote(customer)}'.",
        param=param,
    )
