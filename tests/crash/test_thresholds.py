"""Killed while a threshold is invoiced: whoever has reached it has one invoice of it."""

import asyncio
from contextlib import suppress
from pathlib import Path

from tests.crash.client import Client
from tests.crash.server import Server
from tests.crash.test_invoices import begun

SECONDS_MAX = 60
BILL, DONE = "threshold._Look._take.<locals>.write", "alert._trigger"
# In the order of a way: billed, and then done with the usage that brought it about.
KILLS = [(BILL, "within"), (BILL, "after"), (DONE, "within")]


async def subscribed(client: Client) -> str:
    """Make a customer who is invoiced at 10 dollars; return its id."""
    customer = str((await client.post("/v1/customers", {})).document["id"])
    [price] = (await client.get("/v1/prices", **{"lookup_keys[]": "tokens"})).document["data"]
    form = {
        "customer": customer,
        "items[0][price]": price["id"],
        "billing_thresholds[amount_gte]": "1000",
    }
    assert (await client.post("/v1/subscriptions", form)).status == 200
    return customer


async def use(client: Client, customer: str, number: int = 1) -> None:
    """Report what costs 10 dollars, once however often it is sent."""
    event = {
        "event_name": "tokens",
        "identifier": f"{customer}-{number}",
        "payload[stripe_customer_id]": customer,
        "payload[value]": "250",
    }
    await client.post("/v1/billing/meter_events", event)


async def invoiced(client: Client, customer: str) -> list[tuple[str, int]]:
    """Return the numbers and totals of a customer's invoices, newest first."""
    page = (await client.get("/v1/invoices", customer=customer)).document
    return [(one["number"].rpartition("-")[2], one["total"]) for one in page["data"]]


async def until(client: Client, customer: str, number: int) -> None:
    """Wait until a customer has so many invoices."""
    async with asyncio.timeout(SECONDS_MAX):
        while len(await invoiced(client, customer)) < number:  # noqa: ASYNC110 - far away
            await asyncio.sleep(0.05)


def test_kills_at_every_step(tmp_path: Path) -> None:
    """Given a server that is killed again and again, each time when somebody is invoiced."""

    async def body() -> None:
        server = Server(tmp_path)
        client = Client(server.socket)
        async with server:
            await begun(client)
            customers = [await subscribed(client) for _ in KILLS]
        for customer, kill in zip(customers, KILLS, strict=True):
            await server.spawn(*kill, "1")
            # What was left behind may spring the trap before the server answers.
            client.close()
            with suppress(AssertionError, ConnectionError):
                await server.ready()
                await use(client, customer)
            try:
                async with asyncio.timeout(SECONDS_MAX):
                    await server.ended()
            finally:
                await server.kill()
        client.close()
        async with server:
            for customer in customers:
                await use(client, customer)
                await until(client, customer, 1)
                await use(client, customer, 2)
                await until(client, customer, 2)
                assert await invoiced(client, customer) == [("0002", 1_000), ("0001", 1_000)]
        client.close()
        code, said = await server.verify()
        assert code == 0, said

    asyncio.run(body())
