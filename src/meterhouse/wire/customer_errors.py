"""Refusals about customers (https://docs.stripe.com/api/customers)."""

from meterhouse.errors import Refusal


def invalid_invoice_prefix() -> Refusal:
    """Refuse a beginning of invoice numbers that is none."""
    return Refusal(
        "The invoice prefix must be 1 to 12 uppercase letters or numbers.", param="invoice_prefix"
    )
