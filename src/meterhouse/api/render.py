"""Objects as Stripe shows them; each function gives a document of plain values."""

from collections.abc import Collection, Sequence
from typing import Any

from meterhouse.ledger.accounts import Account
from meterhouse.ledger.customers import Customer
from meterhouse.ledger.deliveries import Attempt, Delivery
from meterhouse.ledger.destinations import Destination
from meterhouse.metering.model import Meter
from meterhouse.wire.deleted import deleted
from meterhouse.wire.page import list_object
from meterhouse.wire.timestamp import print_timestamp
from meterhouse.wire.version import ApiVersion

INVOICE_SETTINGS = {
    "custom_fields": None,
    "default_payment_method": None,
    "footer": None,
    "rendering_options": None,
}
# Lists that a customer has at Stripe; nothing here fills them.
CUSTOMER_LISTS = ("sources", "subscriptions", "tax_ids")
SIGNING_SECRET = "webhook_endpoint.signing_secret"  # noqa: S105 - a name, not a secret
URL = "webhook_endpoint.url"


def seconds(instant: int) -> int:
    """Return milliseconds since the epoch as unix seconds."""
    return instant // 1000


def decimal_seconds(instant: int) -> str:
    """Return milliseconds since the epoch as unix seconds with three decimals, exactly."""
    return f"{instant // 1000}.{instant % 1000:03d}"


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


def account(one: Account) -> dict[str, Any]:
    """Render an account (https://docs.stripe.com/api/accounts/object)."""
    return {
        "id": one.id,
        "object": "account",
        "business_profile": {"name": one.name, "url": None},
        "business_type": None,
        "capabilities": {},
        "charges_enabled": False,
        "country": "US",
        "created": seconds(one.created),
        "default_currency": "usd",
        "details_submitted": True,
        "email": None,
        "metadata": {},
        "payouts_enabled": False,
        "settings": {"dashboard": {"display_name": one.name, "timezone": "Etc/UTC"}},
        "type": "standard",
    }


def customer(one: Customer, *, livemode: bool, expand: Collection[str] = ()) -> dict[str, Any]:
    """Render a customer (https://docs.stripe.com/api/customers/object).

    Of what is in `expand`, lists show, empty as they are.
    """
    if one.deleted_at is not None:
        return deleted(one.id, "customer")
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
        "invoice_settings": INVOICE_SETTINGS,
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
    lists = {
        name: list_object(f"/v1/customers/{one.id}/{name}", [], has_more=False)
        for name in CUSTOMER_LISTS
        if name in expand
    }
    return document | one.details | lists


def webhook_endpoint(one: Destination, *, livemode: bool) -> dict[str, Any]:
    """Render a destination as API v1 does (https://docs.stripe.com/api/webhook_endpoints/object).

    Its secret is only told when it is made.
    """
    return {
        "id": one.id,
        "object": "webhook_endpoint",
        "api_version": one.api_version,
        "application": None,
        "created": seconds(one.created),
        "description": one.description or None,
        "enabled_events": one.enabled_events,
        "livemode": livemode,
        "metadata": one.metadata,
        "status": "enabled" if one.enabled else "disabled",
        "url": one.url,
    }


def event_destination(
    one: Destination, include: Collection[str], *, livemode: bool
) -> dict[str, Any]:
    """Render a destination as API v2 does.

    https://docs.stripe.com/api/v2/core/event-destinations/object. `include` names the members that
    are hidden unless they are asked for.
    """
    return {
        "id": one.id,
        "object": "v2.core.event_destination",
        "amazon_eventbridge": None,
        "azure_event_grid": None,
        "created": print_timestamp(one.created),
        "description": one.description,
        "enabled_events": one.enabled_events,
        "event_payload": one.payload,
        "events_from": one.events_from,
        "livemode": livemode,
        "metadata": one.metadata,
        "name": one.name,
        "snapshot_api_version": one.api_version,
        "status": "enabled" if one.enabled else "disabled",
        "status_details": None if one.enabled else {"disabled": {"reason": _reason(one)}},
        "type": "webhook_endpoint",
        "updated": print_timestamp(one.updated),
        "webhook_endpoint": {
            "signing_secret": one.secrets[0].secret if SIGNING_SECRET in include else None,
            "url": one.url if URL in include else None,
        },
    }


def _reason(one: Destination) -> str:
    """Say why a destination is disabled; Stripe publishes no name for what fails for long."""
    return "user" if one.failing_since is None else "deliveries_failed"


def delivery(one: Delivery, attempts: Sequence[Attempt], *, livemode: bool) -> dict[str, Any]:
    """Render a delivery with its newest attempts, oldest first."""
    return {
        "id": one.id,
        "object": "meterhouse.delivery",
        "attempt_count": one.attempts,
        "attempts": [
            {
                "at": seconds(attempt.at),
                "duration_ms": attempt.duration_ms,
                "error": attempt.error,
                "response": attempt.response,
                "status": attempt.status,
            }
            for attempt in attempts
        ],
        "created": seconds(one.created),
        "destination": one.destination,
        "event": one.notification,
        "livemode": livemode,
        "next_attempt_at": None if one.next_attempt_at is None else seconds(one.next_attempt_at),
        "status": one.status,
    }
