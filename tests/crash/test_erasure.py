"""Killed while a customer is forgotten: the next start ends it, and usage is what it was."""

import asyncio
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.crash.client import Client
from tests.crash.server import Server

NAME = "Ada Wanderlust"
DAY = 86_400
ENDED_SECONDS_MAX = 60


async def set_up(client: Client) -> tuple[str, str]:
    """Make a meter that tells notes apart, a customer, and three events; return the two ids."""
    form = {
        "display_name": "Calls",
        "event_name": "calls",
        "default_aggregation[formula]": "sum",
        "dimension_payload_keys[]": "note",
    }
    meter = (await client.post("/v1/billing/meters", form)).document["id"]
    customer = (await client.post("/v1/customers", {"name": NAME})).document["id"]
    for number in range(3):
        values = {"stripe_customer_id": customer, "value": "2", "note": NAME}
        event = {f"payload[{key}]": text for key, text in values.items()}
        told = await client.post(
            "/v1/billing/meter_events", event | {"event_name": "calls"}, key=f"event {number}"
        )
        assert told.status == 200
    return meter, customer


async def left(client: Client, meter: str, customer: str) -> dict[str, Any]:
    """Tell what her usage and her events show."""
    events = await client.get("/meterhouse/v1/meter_events", customer=customer)
    today = int(time.time()) // DAY * DAY
    days = {"starts_at": today - DAY, "ends_at": today + 2 * DAY}
    grouped = {"meters[0][meter]": meter, "meters[0][dimension_group_by_keys][]": "note"}
    usage = await client.get("/meterhouse/v1/usage", **days, **grouped)
    return {
        "notes": {one["payload"].get("note") for one in events.document["data"]},
        "usage": {one["dimensions"]["note"]: one["value"] for one in usage.document["data"]},
        "customer": (await client.get(f"/v1/customers/{customer}")).document.get("name"),
    }


@pytest.mark.parametrize("call", ["erase.begin", "erase._rebuild"])
def test_a_kill_in_the_middle(tmp_path: Path, call: str) -> None:
    async def body() -> None:
        server = Server(tmp_path)
        await server.spawn(call, "after", "1")
        await server.ready()
        client = Client(server.socket)
        meter, customer = await set_up(client)
        before = {"notes": {NAME}, "usage": {NAME: 6}, "customer": NAME}
        assert await left(client, meter, customer) == before
        token = json.loads((server.data / "server.json").read_text())["token"]
        path = f"/meterhouse/v1/customers/{customer}/erase"
        with suppress(ConnectionError):
            await client.post_v2(path, {"payload_keys": ["note"]}, bearer=token)
        await server.ended()
        async with server, asyncio.timeout(ENDED_SECONDS_MAX):
            client = Client(server.socket)
            after = {"notes": {None}, "usage": {"": 6}, "customer": None}
            found = before
            while found != after:
                await asyncio.sleep(0.1)
                found = await left(client, meter, customer)
            client.close()
        code, said = await server.verify()
        assert code == 0, said

    asyncio.run(body())
