"""The real server, killed while it delivers: what is owed arrives after the next start."""

import json
from pathlib import Path

import httpx

from meterhouse import limits
from tests.receiver import Reply, receiving
from tests.server import TEST_KEY, Server, serving, start

EVENTS = 30


def connect(server: Server) -> httpx.Client:
    return httpx.Client(base_url=server.url, auth=(TEST_KEY, ""), trust_env=False)


def test_a_kill_forgets_nothing(tmp_path: Path) -> None:
    """Given a slow receiver, then it hears some events twice and misses none."""
    with receiving() as receiver:
        receiver.reply = receiver.hold
        server = start(tmp_path, {"api_keys": TEST_KEY})
        with connect(server) as client:
            listen = {"url": receiver.url, "enabled_events[]": "customer.created"}
            client.post("/v1/webhook_endpoints", data=listen).raise_for_status()
            made = {
                client.post("/v1/customers").raise_for_status().json()["id"] for _ in range(EVENTS)
            }
        early = receiver.wait(limits.DELIVERY_DESTINATION_ATTEMPTS_MAX)
        server.process.kill()
        server.process.communicate()
        receiver.reply = lambda _: Reply()
        receiver.released.set()
        with serving(tmp_path, api_keys=TEST_KEY) as again, connect(again) as client:
            heard = receiver.wait(len(early) + EVENTS)[len(early) :]
            status = "pending"
            while status == "pending":
                listed = client.get("/meterhouse/v1/deliveries", params={"limit": 100}).json()
                rows = listed["data"]
                status = next((row["status"] for row in rows if row["status"] == "pending"), "")
    assert {json.loads(one.body)["data"]["object"]["id"] for one in heard} == made
    assert [(row["status"], len(row["attempts"])) for row in rows] == [("delivered", 1)] * EVENTS
