"""Objects as Stripe shows them; each function gives a document of plain values."""

from typing import Any

from meterhouse.ledger.customers import Customer
from meterhouse.metering.model import Meter
from meterhouse.wire.version import ApiVersion


def seconds(instant: int) -> int:
    """Return milliseconds since the epoch as unix seconds."""
    return instant // 1000


def meter(one: Meter, *, livemode: bool, version: ApiVersion) -> dict[str, Any]:
    """Render a meter (https://docs.stripe.com/api/billing/meter/object).

    `dimension_payload_keys` is a preview: it shows at preview versions, and wherever it is set.
    """
    document: dict[str, Any] = {
        "id": one.id,
        "object": "billing.meter",
        "created": seconds(one.created),
        "customer_mapping": {"event_payload_key": one.customer_key, "type": "by_id"},
        "default_aggregation": {"formula": one.formula},
        "display_name": one.display_name,
        "event_name": one.event_name,
        "event_time_window": one.event_time_window,
        "livemode": livemode,
        "status": "active" if one.active else "inactive",
        "status_transitions": {
            "deactivated_at": None if one.deactivated_at is None else seconds(one.deactivated_at)
        },
        "updated": seconds(one.updated),
        "value_settings": {"event_payload_key": one.value_key},
    }
    if one.dimension_keys is not None or version.preview:
        document["dimension_payload_keys"] = one.dimension_keys
    return document


def customer(one: Customer, *, livemode: bool) -> dict[str, Any]:
    """Render a customer (https://docs.stripe.com/api/customers/object)."""
    if one.deleted_at is not None:
        return {"id": one.id, "object": "customer", "deleted": True}
    document: dict[str, Any] = {
        "id": one.id,
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": seconds(one.created),
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": one.email,
        "invoice_prefix": one.id.rpartition("_")[2][:8].upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": livemode,
        "metadata": one.metadata,
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }
    return document | one.details
