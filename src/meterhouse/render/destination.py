"""Destinations and deliveries as Stripe shows them."""

from collections.abc import Collection, Sequence
from typing import Any

from meterhouse.ledger.deliveries import Attempt, Delivery
from meterhouse.ledger.destinations import Destination
from meterhouse.render.instant import seconds, seconds_or_none
from meterhouse.wire.timestamp import print_timestamp

SIGNING_SECRET = "webhook_endpoint.signing_secret"  # noqa: S105 - a name, not a secret
URL = "webhook_endpoint.url"


def render_webhook_endpoint(one: Destination, *, livemode: bool) -> dict[str, Any]:
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


def render_event_destination(
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


def render_delivery(
    one: Delivery, attempts: Sequence[Attempt], *, livemode: bool
) -> dict[str, Any]:
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
        "next_attempt_at": seconds_or_none(one.next_attempt_at),
        "status": one.status,
    }
