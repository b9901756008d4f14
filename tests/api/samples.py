"""What the tests of this room make and read again and again."""

import json
import re
from decimal import Decimal
from typing import Any

import httpx
import stripe

from tests.cli.samples import meterhouse
from tests.server import TEST_KEY, Server

DAY = 86_400
HOUR = 3_600


def new_account(server: Server) -> str:
    """Make a connected account and return its id."""
    made = meterhouse("accounts", "create", "--data-dir", server.data_dir)
    assert made.exit_code == 0, made.output
    return made.stdout.strip()


def new_key(server: Server, *options: str) -> str:
    """Make an API key with the command line's `options` and return its secret."""
    made = meterhouse("keys", "create", "--data-dir", server.data_dir, *options)
    assert made.exit_code == 0, made.output
    return made.stdout.strip()


def connect(
    server: Server,
    key: str = TEST_KEY,
    *,
    account: str | None = None,
    version: str | None = None,
) -> stripe.StripeClient:
    """Return the official SDK, pointed at `server`; it does not retry."""
    return stripe.StripeClient(
        key,
        stripe_account=account,
        stripe_version=version,
        base_addresses={"api": server.url},
        max_network_retries=0,
    )


def make_meter(client: stripe.StripeClient, event_name: str = "calls", **extra: Any) -> str:
    """Make a meter that adds up, unless `extra` says otherwise, and return its id."""
    params: Any = {
        "display_name": "Calls",
        "event_name": event_name,
        "default_aggregation": {"formula": "sum"},
    }
    return client.v1.billing.meters.create(params | extra).id


def make_customer(client: stripe.StripeClient) -> str:
    """Make a customer and return its id."""
    return client.v1.customers.create().id


def send(
    client: stripe.StripeClient, customer: str, value: str, event_name: str = "calls", **extra: Any
) -> stripe.billing.MeterEvent:
    """Send one meter event."""
    params: Any = {
        "event_name": event_name,
        "payload": {"stripe_customer_id": customer, "value": value},
    }
    return client.v1.billing.meter_events.create(params | extra)


def total(client: stripe.StripeClient, meter: str, customer: str) -> Decimal:
    """Return all usage of the customer, exactly as the server prints it."""
    now = int(client.v1.customers.retrieve(customer)["created"])
    page = client.v1.billing.meters.event_summaries.list(
        meter,
        {
            "customer": customer,
            "start_time": now // DAY * DAY - 40 * DAY,
            "end_time": now // DAY * DAY + 2 * DAY,
        },
    )
    (value,) = exact_values(page)
    return value


def exact_values(page: Any) -> list[Decimal]:
    """Return the values of a page of summaries without going through a float."""
    document = json.loads(page.last_response.body, parse_float=Decimal, parse_int=Decimal)
    return [row["aggregated_value"] for row in document["data"]]


def error_of(answer: httpx.Response, status: int) -> dict[str, str]:
    """Return the error of a refused request, which must have Stripe's shape."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert re.fullmatch(r"req_[A-Za-z0-9]{14}", answer.headers["request-id"])
    document: dict[str, dict[str, str]] = answer.json()
    error = document.pop("error")
    assert not document
    assert error.keys() <= {"type", "code", "message", "param", "doc_url"}
    assert {"type", "message"} <= error.keys()
    assert ("code" in error) == ("doc_url" in error)
    return error
