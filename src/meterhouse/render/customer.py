"""Customers as Stripe shows them."""

from collections.abc import Collection, Mapping
from typing import Any

from meterhouse.ledger.customers import Customer
from meterhouse.render.instant import seconds
from meterhouse.wire.deleted import deleted
from meterhouse.wire.page import list_object

INVOICE_SETTINGS = {
    "custom_fields": None,
    "default_payment_method": None,
    "footer": None,
    "rendering_options": None,
}
# Lists that a customer has at Stripe; but for subscriptions nothing here fills them.
CUSTOMER_LISTS = ("sources", "subscriptions", "tax_ids")


def render_customer(
    one: Customer,
    *,
    livemode: bool,
    expand: Collection[str] = (),
    subscriptions: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Render a customer (https://docs.stripe.com/api/customers/object).

    Of what is in `expand`, lists show; `subscriptions` is the one that may not be empty.
    """
    if one.deleted_at is not None:
        return deleted(one.id, "customer")
    document: dict[str, Any] = {
        "id": one.id,
        "object": "customer",
        "address": None,
        "balance": one.balance,
        "created": seconds(one.created),
        "currency": one.currency,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": one.email,
        "invoice_prefix": one.prefix,
        "invoice_settings": INVOICE_SETTINGS,
        "livemode": livemode,
        "metadata": one.metadata,
        "name": None,
        "next_invoice_sequence": one.next_invoice_sequence,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": one.test_clock,
    }
    lists = {
        name: list_object(f"/v1/customers/{one.id}/{name}", [], has_more=False)
        for name in CUSTOMER_LISTS
        if name in expand
    }
    if subscriptions is not None:
        lists["subscriptions"] = dict(subscriptions)
    return document | one.details | lists
