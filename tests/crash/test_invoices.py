"""Killed at every step of a test clock's way: each period is billed once, each event told once."""

import asyncio
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from tests.crash.client import Client
from tests.crash.server import Server

START = 1_801_389_600  # 2027-01-31T10:00Z
END = 1_812_016_799  # 2027-06-03, when four months are over and nobody has paid
ARRIVED_SECONDS_MAX = 60
STEPS, FINALIZE, OVERDUE = "step.take_steps", "step.finalize_due", "step.tell_overdue"
ARRIVE = "invoice._arrive"
MOMENTS = ("within", "after")
EXPIRE = "step.expire_due"
# In the order of a way: credit expires, a month is announced, renewed, finalized, and not paid in
# time.
WAY = (EXPIRE, STEPS, STEPS, FINALIZE, OVERDUE, ARRIVE)
KILLS = [(call, moment) for call in WAY for moment in MOMENTS]
SHOWN = ("total", "period_start", "period_end", "created", "status_transitions")


class Customer(NamedTuple):
    """Somebody who lives by a clock."""

    clock: str
    id: str


class Told(NamedTuple):
    """What was told of a customer: how many events of each type, and its finalized invoices."""

    types: Counter[str]
    invoices: list[dict[str, Any]]


async def begun(client: Client) -> None:
    """Make a meter and its price."""
    meter = {
        "display_name": "Tokens",
        "event_name": "tokens",
        "default_aggregation[formula]": "sum",
    }
    made = await client.post("/v1/billing/meters", meter)
    price = {
        "currency": "usd",
        "product_data[name]": "Tokens",
        "unit_amount": "4",
        "recurring[interval]": "month",
        "recurring[usage_type]": "metered",
        "recurring[meter]": made.document["id"],
        "lookup_key": "tokens",
    }
    assert (await client.post("/v1/prices", price)).status == 200


async def subscribed(client: Client) -> Customer:
    """Make a clock and a customer who has used something, and pays on being sent an invoice."""
    clock = (
        await client.post("/v1/test_helpers/test_clocks", {"frozen_time": str(START)})
    ).document["id"]
    customer = (await client.post("/v1/customers", {"test_clock": clock})).document["id"]
    [price] = (await client.get("/v1/prices", **{"lookup_keys[]": "tokens"})).document["data"]
    for collection in (
        {"collection_method": "charge_automatically"},
        {"collection_method": "send_invoice", "days_until_due": "3"},
    ):
        form = {"customer": customer, "items[0][price]": price["id"], **collection}
        assert (await client.post("/v1/subscriptions", form)).status == 200
    for value, more in (("130", {}), ("1000", {"expires_at": str(START + 3_600)})):
        form = {
            "customer": customer,
            "amount[type]": "monetary",
            "amount[monetary][currency]": "usd",
            "amount[monetary][value]": value,
            "applicability_config[scope][price_type]": "metered",
            **more,
        }
        assert (await client.post("/v1/billing/credit_grants", form)).status == 200
    event = {
        "event_name": "tokens",
        "payload[stripe_customer_id]": customer,
        "payload[value]": "25",
    }
    assert (await client.post("/v1/billing/meter_events", event)).status == 200
    return Customer(clock, customer)


async def advance(client: Client, one: Customer) -> None:
    path = f"/v1/test_helpers/test_clocks/{one.clock}/advance"
    await client.post(path, {"frozen_time": str(END)})


async def arrived(client: Client, one: Customer) -> None:
    path = f"/v1/test_helpers/test_clocks/{one.clock}"
    async with asyncio.timeout(ARRIVED_SECONDS_MAX):
        while (await client.get(path)).document["status"] != "ready":  # noqa: ASYNC110 - far away
            await asyncio.sleep(0.05)


async def told(client: Client, one: Customer) -> Told:
    """Return what was told of a customer and its clock."""
    made = Told(Counter(), [])
    after: dict[str, str] = {}
    while True:
        page = (await client.get("/v1/events", limit=100, **after)).document
        for event in page["data"]:
            about = event["data"]["object"]
            if about.get("customer", about.get("test_clock", about.get("id"))) not in one:
                continue
            made.types[event["type"]] += 1
            if event["type"] == "invoice.finalized":
                number = about["number"].rpartition("-")[2]
                made.invoices.append({name: about[name] for name in SHOWN} | {"number": number})
        if not page["has_more"]:
            return made
        after = {"starting_after": page["data"][-1]["id"]}


def test_kills_at_every_step(tmp_path: Path) -> None:
    """Given one whose server is killed again and again, it ends like one whose server is not."""

    async def body() -> None:
        server = Server(tmp_path)
        await server.spawn(*KILLS[0], "1")
        await server.ready()
        client = Client(server.socket)
        await begun(client)
        one = await subscribed(client)
        with suppress(ConnectionError):
            await advance(client, one)
        await server.ended()
        client.close()
        for call, moment in KILLS[1:]:
            await server.spawn(call, moment, "1")
            await server.ended()
        async with server:
            await arrived(client, one)
            other = await subscribed(client)
            await advance(client, other)
            await arrived(client, other)
            found, expected = await told(client, one), await told(client, other)
            assert found == expected
            assert [one["total"] for one in expected.invoices] == [*[0] * 6, 70, 0]
            assert expected.types["billing.credit_balance_transaction.created"] == 5
            assert expected.types["test_helpers.test_clock.ready"] == 1
            client.close()
        code, said = await server.verify()
        assert code == 0, said

    asyncio.run(body())
