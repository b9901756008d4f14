"""Refusals of previews of invoices, in Stripe's words where they are known."""

from meterhouse.errors import Refusal
from meterhouse.wire.envelope import quote


def no_upcoming(customer: str) -> Refusal:
    """Refuse a preview where no invoice will come."""
    return Refusal(
        f"No upcoming invoices for customer: {quote(customer)}",
        status=404,
        code="invoice_upcoming_none",
    )


def nobody() -> Refusal:
    """Refuse a preview for nobody."""
    return Refusal(
        "You must specify `customer` or `subscription` when previewing an invoice.",
        param="customer",
    )


def outside_period(param: str) -> Refusal:
    """Refuse to change a subscription at an instant that is not in its present period."""
    return Refusal(
        f"`{quote(param)}` must be within the current period of the subscription.",
        param=quote(param),
    )
