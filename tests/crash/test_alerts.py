"""Killed at every step on the way of an alert: whoever reaches it is told of, once."""

import asyncio
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tests.crash.client import Client
from tests.crash.server import Server

SECONDS_MAX = 60
METER = {
    "display_name": "Tokens",
    "event_name": "tokens",
    "default_aggregation[formula]": "sum",
}
COMMIT, RELEASE = "process._commit", "blocks.release"
ASK, TRIGGER = "store.UsageStore.periods", "alert._trigger"
# In the order of a way: judged and committed, stored and released, asked about, triggered.
KILLS = [
    (COMMIT, "within"),
    (COMMIT, "after"),
    (RELEASE, "after"),
    (ASK, "after"),
    (TRIGGER, "before"),
    (TRIGGER, "within"),
    (TRIGGER, "after"),
]


async def watched(client: Client, meter: str, gte: str) -> str:
    """Make an alert about everybody on a meter; return its id."""
    alert = {
        "alert_type": "usage_threshold",
        "title": "Much",
        "usage_threshold[gte]": gte,
        "usage_threshold[meter]": meter,
        "usage_threshold[recurrence]": "one_time",
    }
    made = await client.post("/v1/billing/alerts", alert)
    return str(made.document["id"])


async def use(client: Client, customer: str, number: int) -> None:
    """Report usage under an identifier of its own; it counts once however often it is sent."""
    event = {
        "event_name": "tokens",
        "identifier": f"{customer}-{number}",
        "payload[stripe_customer_id]": customer,
        "payload[value]": "25",
    }
    await client.post("/v1/billing/meter_events", event)


async def told(client: Client) -> Counter[tuple[str, str]]:
    """Count the events that tell of alerts, by alert and customer."""
    page = await client.get("/v1/events", limit=100, type="billing.alert.triggered")
    objects = [event["data"]["object"] for event in page.document["data"]]
    return Counter((one["alert"]["id"], one["customer"]) for one in objects)


async def until(client: Client, expected: Counter[tuple[str, str]]) -> None:
    """Wait until something was told of each of them."""
    async with asyncio.timeout(SECONDS_MAX):
        while (await told(client)).keys() != expected.keys():  # noqa: ASYNC110 - far away
            await asyncio.sleep(0.05)


def test_kills_at_every_step(tmp_path: Path) -> None:
    """Given a server that is killed again and again, when each time somebody reaches an alert."""

    async def body() -> None:
        server = Server(tmp_path)
        client = Client(server.socket)
        async with server:
            made = await client.post("/v1/billing/meters", METER)
            meter = str(made.document["id"])
            alert = await watched(client, meter, "20")
            customers = [
                str((await client.post("/v1/customers", {})).document["id"]) for _ in KILLS
            ]
        for customer, kill in zip(customers, KILLS, strict=True):
            await server.spawn(*kill, "1")
            # What was left behind may spring the trap before the server answers.
            client.close()
            with suppress(AssertionError, ConnectionError):
                await server.ready()
                await use(client, customer, 1)
            try:
                async with asyncio.timeout(SECONDS_MAX):
                    await server.ended()
            finally:
                await server.kill()
        client.close()
        async with server:
            for customer in customers:
                await use(client, customer, 1)
            expected = Counter((alert, customer) for customer in customers)
            await until(client, expected)
            # What comes after is told when all before is evaluated.
            last = await watched(client, meter, "60")
            for number in (2, 3):
                await use(client, customers[0], number)
            expected[last, customers[0]] = 1
            await until(client, expected)
            assert await told(client) == expected
        client.close()
        code, said = await server.verify()
        assert code == 0, said

    asyncio.run(body())
