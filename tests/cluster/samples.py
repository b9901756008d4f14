"""What the tests of several nodes share."""

import time
from typing import Any, NamedTuple

import stripe

from tests.server import TEST_KEY, Server

VISIBLE_SECONDS_MAX = 60


class Cluster(NamedTuple):
    """Two nodes that answer, and one that processes."""

    one: Server
    other: Server
    worker: Server


def sdk(url: str, key: str = TEST_KEY, **options: Any) -> stripe.StripeClient:
    """Return the official SDK, pointed at a node or at what stands before several."""
    addresses: Any = {"api": url, "meter_events": url}
    return stripe.StripeClient(key, base_addresses=addresses, max_network_retries=2, **options)


def make_meter(client: stripe.StripeClient, event_name: str) -> str:
    """Make a meter that adds up, and return its id."""
    aggregation: Any = {"formula": "sum"}
    made = client.v1.billing.meters.create(
        {
            "display_name": event_name,
            "event_name": event_name,
            "default_aggregation": aggregation,
        }
    )
    return made.id


def event(event_name: str, customer: str, identifier: str, value: str = "1") -> Any:
    """Return an event, as both versions of the API take it."""
    payload = {"stripe_customer_id": customer, "value": value}
    return {"event_name": event_name, "identifier": identifier, "payload": payload}


def total(client: stripe.StripeClient, meter: str, customer: str, least: int) -> float:
    """Return the customer's usage, once it is at least so much.

    A strong read waits for a bounded time only, which a busy machine may need longer than.
    """
    today = client.v1.customers.retrieve(customer).created // 86_400 * 86_400
    deadline = time.monotonic() + VISIBLE_SECONDS_MAX
    while True:
        found = client.v1.billing.meters.event_summaries.list(
            meter,
            {"customer": customer, "start_time": today - 86_400, "end_time": today + 2 * 86_400},
        )
        used = sum(row.aggregated_value for row in found.data)
        if used >= least or time.monotonic() > deadline:
            return used
