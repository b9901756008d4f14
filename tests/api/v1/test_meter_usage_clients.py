"""Meter usage in the hands of Stripe's preview SDK, and asked for as the guide does with curl.

https://docs.stripe.com/billing/subscriptions/usage-based/analytics
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from tests.api.samples import DAY, make_customer, send
from tests.server import TEST_KEY, Server

PREVIEW = Path(__file__).parents[3] / ".cache" / "clients" / "stripe-16.1.0b1"

PYTHON = """
import json, sys
import stripe

url, key, account, customer, meter, start = sys.argv[1:]
client = stripe.StripeClient(key, stripe_account=account, base_addresses={"api": url})
usage = client.v1.billing.analytics.meter_usage.retrieve({
    "customer": customer,
    "starts_at": int(start),
    "ends_at": int(start) + 2 * 86_400,
    "value_grouping_window": "day",
    "timezone": "America/New_York",
    "meters": [{
        "meter": meter,
        "dimension_group_by_keys": ["model"],
        "dimension_filters": {"tier": ["premium", "basic"]},
        "tenant_filters": {"user_id": ["u1"]},
    }],
})
try:
    client.v1.billing.analytics.meter_usage.retrieve(
        {"customer": customer, "starts_at": int(start), "ends_at": 0}
    )
except stripe.InvalidRequestError as error:
    refused = [error.code, error.user_message]
print(json.dumps([
    type(usage).__name__,
    usage.refreshed_at >= int(start),
    usage.rows.has_more,
    [[type(row).__name__, row.meter == meter, row.dimensions.to_dict(), row.value]
     for row in usage.rows.auto_paging_iter()],
    refused,
]))
"""


@pytest.fixture
def meter(http: httpx.Client) -> str:
    made = http.post(
        "/v1/billing/meters",
        data={
            "display_name": "Calls",
            "event_name": "calls",
            "default_aggregation[formula]": "sum",
            "dimension_payload_keys[0]": "model",
            "dimension_payload_keys[1]": "tier",
        },
    )
    assert made.status_code == 200, made.text
    return str(made.json()["id"])


@pytest.fixture
def customer(client: stripe.StripeClient, meter: str) -> str:
    """Return a customer who has used the meter."""
    assert meter
    made = make_customer(client)
    for value, model, tier in (
        ("1.5", "small", "premium"),
        ("2", "small", "basic"),
        ("4", "large", "premium"),
    ):
        payload = {"stripe_customer_id": made, "value": value, "model": model, "tier": tier}
        send(client, made, value, payload=payload | {"user_id": "u1"})
    return made


def test_the_preview_sdk(
    server: Server, account: str, client: stripe.StripeClient, meter: str, customer: str
) -> None:
    if not PREVIEW.is_dir():
        pytest.skip(f"no preview SDK in {PREVIEW.name}; `make test` puts it there")
    today = int(client.v1.customers.retrieve(customer)["created"]) // DAY * DAY
    arguments = [server.url, TEST_KEY, account, customer, meter, str(today)]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PYTHON, *arguments],
        env={"PYTHONPATH": str(PREVIEW)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        "MeterUsage",
        True,
        False,
        [
            ["MeterUsageRow", True, {"model": "large"}, 4],
            ["MeterUsageRow", True, {"model": "small"}, 3.5],
        ],
        ["invalid_time_range", "Param start_time should not be greater than end_time"],
    ]


@pytest.mark.parametrize(
    ("how", "values"),
    [
        (["meters[0][meter]={meter}"], [7.5]),
        (
            [
                "meters[0][meter]={meter}",
                "meters[0][dimension_group_by_keys][0]=model",
                "meters[0][dimension_filters][tier]=premium",
            ],
            [4, 1.5],
        ),
        (["meters[0][meter]={meter}", "meters[0][tenant_filters][user_id]=u1"], [7.5]),
        (
            [
                "meters[0][meter]={meter}",
                "meters[0][dimension_group_by_keys][0]=model",
                "meters[0][dimension_group_by_keys][1]=tier",
                "meters[1][meter]={meter}",
                "meters[1][dimension_filters][tier]=basic",
            ],
            [4, 2, 1.5, 2],
        ),
    ],
)
def test_the_lines_of_the_guide(
    server: Server,
    account: str,
    client: stripe.StripeClient,
    meter: str,
    customer: str,
    how: list[str],
    values: list[float],
) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("there is no curl")
    today = int(client.v1.customers.retrieve(customer)["created"]) // DAY * DAY
    asked = [
        f"starts_at={today - DAY}",
        f"ends_at={today + 2 * DAY}",
        f"customer={customer}",
        "value_grouping_window=day",
        *(line.format(meter=meter) for line in how),
    ]
    done = subprocess.run(
        [curl, "-sS", "-G", f"{server.url}/v1/billing/analytics/meter_usage", "-u", f"{TEST_KEY}:"]
        + ["-H", f"Stripe-Account: {account}", "--noproxy", "*"]
        + [part for line in asked for part in ("-d", line)]
        + ["--data-urlencode", "timezone=America/New_York"],
        capture_output=True,
        text=True,
        check=False,
    )
    document: dict[str, Any] = json.loads(done.stdout)
    assert [point["value"] for point in document["data"]] == values, document
