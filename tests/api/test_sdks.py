"""The official SDKs besides the synchronous Python one, which the other tests of this room use.

Each walks through every endpoint: asynchronous Python; version 11 of Python's, which speaks
2025-02-24.acacia, in a process of its own; and Node's, where both Node and the package are there.
"""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import stripe

from tests.api.samples import DAY
from tests.server import TEST_KEY, Server

ROOT = Path(__file__).parents[2]
STRIPE_11 = ROOT / ".cache" / "clients" / "stripe-11"
STRIPE_NODE = ROOT / ".cache" / "clients" / "node-23"


async def walk(client: stripe.StripeClient) -> list[Any]:
    """Use every endpoint once; return what can be told from the outside."""
    v1 = client.v1
    account = await v1.accounts.retrieve_current_async()
    customer = await v1.customers.create_async({"name": "Ada", "metadata": {"a": "1"}})
    await v1.customers.update_async(customer.id, {"email": "ada@example.com"})
    customer = await v1.customers.retrieve_async(customer.id)
    listed = await v1.customers.list_async({"email": "ada@example.com"})
    created: Any = {
        "display_name": "Calls",
        "event_name": "calls",
        "default_aggregation": {"formula": "sum"},
    }
    meter = await v1.billing.meters.create_async(created)
    await v1.billing.meters.update_async(meter.id, {"display_name": "All calls"})
    await v1.billing.meters.deactivate_async(meter.id)
    await v1.billing.meters.reactivate_async(meter.id)
    meter = await v1.billing.meters.retrieve_async(meter.id)
    meters = [one.id async for one in (await v1.billing.meters.list_async()).auto_paging_iter()]
    for number in range(3):
        payload = {"stripe_customer_id": customer.id, "value": f"{number}.5"}
        await v1.billing.meter_events.create_async(
            {"event_name": "calls", "identifier": str(number), "payload": payload}
        )
    with pytest.raises(stripe.InvalidRequestError, match="already exists with identifier 1"):
        await v1.billing.meter_events.create_async(
            {"event_name": "calls", "identifier": "1", "payload": {"value": "1"}}
        )
    adjustment = await v1.billing.meter_event_adjustments.create_async(
        {"event_name": "calls", "type": "cancel", "cancel": {"identifier": "1"}}
    )
    day = meter.created // DAY * DAY
    summaries = await v1.billing.meters.event_summaries.list_async(
        meter.id, {"customer": customer.id, "start_time": day, "end_time": day + 2 * DAY}
    )
    gone = await v1.customers.delete_async(customer.id)
    return [
        account.object,
        (customer.name, customer.email),
        [one.id for one in listed.data] == [customer.id],
        (meter.display_name, meter.status),
        meters == [meter.id],
        adjustment.status,
        [one.aggregated_value for one in summaries.data],
        gone.deleted,
    ]


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the SDK's use of httpx
def test_the_asynchronous_client(server: Server, account: str) -> None:
    async def run() -> list[Any]:
        http = stripe.HTTPXClient()
        client = stripe.StripeClient(
            TEST_KEY,
            stripe_account=account,
            base_addresses={"api": server.url},
            http_client=http,
            max_network_retries=0,
        )
        try:
            return await walk(client)
        finally:
            await http.close_async()  # type: ignore[no-untyped-call]

    assert asyncio.run(run()) == [
        "account",
        ("Ada", "ada@example.com"),
        True,
        ("All calls", "active"),
        True,
        "pending",
        [3.0],
        True,
    ]


OLD_PYTHON = """
import json, sys
import stripe
from stripe import billing

stripe.api_base, stripe.api_key, account = sys.argv[1:]
here = {"stripe_account": account}
customer = stripe.Customer.create(name="Ada", **here)
meter = billing.Meter.create(
    display_name="Calls", event_name="calls", default_aggregation={"formula": "sum"}, **here
)
for number in range(3):
    payload = {"stripe_customer_id": customer.id, "value": number + 1}
    billing.MeterEvent.create(
        event_name="calls", identifier=str(number), payload=payload, **here
    )
try:
    billing.MeterEvent.create(
        event_name="calls", identifier="1", payload={"value": "1"}, **here
    )
except stripe.InvalidRequestError as error:
    duplicate = error.user_message
adjustment = billing.MeterEventAdjustment.create(
    event_name="calls", type="cancel", cancel={"identifier": "1"}, **here
)
day = meter.created // 86_400 * 86_400
summaries = billing.Meter.list_event_summaries(
    meter.id, customer=customer.id, start_time=day, end_time=day + 172_800, **here
)
grant = billing.CreditGrant.create(
    customer=customer.id,
    category="promotional",
    amount={"type": "monetary", "monetary": {"currency": "usd", "value": 500}},
    applicability_config={"scope": {"price_type": "metered"}},
    **here,
)
billing.CreditGrant.void_grant(grant.id, **here)
booked = billing.CreditBalanceTransaction.list(customer=customer.id, **here)
listed = billing.Meter.list(limit=1, **here)
inactive = billing.Meter.deactivate(meter.id, **here)
print(json.dumps([
    stripe.VERSION.split(".")[0],
    listed.last_response.headers["stripe-version"],
    duplicate,
    adjustment.status,
    [one.aggregated_value for one in summaries.auto_paging_iter()],
    [one.id for one in listed.data] == [meter.id],
    inactive.status,
    [one.type for one in booked.auto_paging_iter()],
]))
"""


def test_an_old_version_of_the_package(server: Server, account: str) -> None:
    if not STRIPE_11.is_dir():
        pytest.skip(f"stripe 11 is not in {STRIPE_11.relative_to(ROOT)}; `make` puts it there")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", OLD_PYTHON, server.url, TEST_KEY, account],
        env={"PYTHONPATH": str(STRIPE_11)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        "11",
        "2025-02-24.acacia",
        "An event already exists with identifier 1.",
        "pending",
        [4],
        True,
        "inactive",
        ["debit", "credit"],
    ]


NODE = """
const [url, key, account] = process.argv.slice(1);
const {hostname, port} = new URL(url);
const stripe = require("stripe")(key, {
  host: hostname, port, protocol: "http", stripeAccount: account, telemetry: false,
});
(async () => {
  const customer = await stripe.customers.create({name: "Ada", metadata: {a: 1}});
  const meter = await stripe.billing.meters.create({
    display_name: "Calls", event_name: "calls", default_aggregation: {formula: "sum"},
  });
  for (const number of [0, 1, 2]) {
    await stripe.billing.meterEvents.create({
      event_name: "calls",
      identifier: String(number),
      payload: {stripe_customer_id: customer.id, value: `${number}.5`},
    });
  }
  const duplicate = await stripe.billing.meterEvents
    .create({event_name: "calls", identifier: "1", payload: {value: "1"}})
    .catch((error) => [error.type, error.statusCode]);
  const adjustment = await stripe.billing.meterEventAdjustments.create({
    event_name: "calls", type: "cancel", cancel: {identifier: "1"},
  });
  const day = Math.floor(meter.created / 86400) * 86400;
  const summaries = await stripe.billing.meters.listEventSummaries(meter.id, {
    customer: customer.id, start_time: day, end_time: day + 172800,
  });
  const money = {type: "monetary", monetary: {currency: "usd", value: 500}};
  const scope = {price_type: "metered"};
  await stripe.billing.creditGrants.create({
    customer: customer.id, amount: money, applicability_config: {scope},
  });
  const credit = await stripe.billing.creditBalanceSummaries.retrieve({
    customer: customer.id, filter: {type: "applicability_scope", applicability_scope: scope},
  });
  const meters = [];
  for await (const one of stripe.billing.meters.list({limit: 1})) meters.push(one.id === meter.id);
  const gone = await stripe.customers.del(customer.id);
  console.log(JSON.stringify([
    customer.metadata.a, duplicate, adjustment.status,
    summaries.data.map((one) => one.aggregated_value), meters, gone.deleted,
    credit.balances[0].available_balance.monetary.value,
  ]));
})();
"""


def test_node(server: Server, account: str) -> None:
    node = shutil.which("node")
    if node is None or not STRIPE_NODE.is_dir():
        pytest.skip(f"there is no Node, or no stripe package in {STRIPE_NODE.relative_to(ROOT)}")
    done = subprocess.run(
        [node, "-e", NODE, server.url, TEST_KEY, account],
        env={"NODE_PATH": str(STRIPE_NODE / "node_modules")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        "1",
        ["StripeInvalidRequestError", 400],
        "pending",
        [3],
        [True],
        True,
        500,
    ]
