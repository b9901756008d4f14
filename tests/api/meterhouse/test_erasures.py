"""Forgetting customers, through the whole program: who asks for it, and what is left anywhere."""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.ledger import tables
from tests.api.house import House
from tests.receiver import Receiver, Reply, receiving

ADA = "Ada Wanderlust"
KNOWN = {
    "name": ADA,
    "email": "ada@wanderlust.example",
    "description": f"all about {ADA}",
    "phone": "wanderlust 1",
    "metadata[note]": ADA,
    "shipping[name]": ADA,
    "shipping[address][line1]": "Wanderlust Road 1",
}
MINUTE = 60_000


def kept(house: House) -> dict[str, int]:
    """Count the rows of the ledger that tell something of her, table by table."""

    def work(connection: sa.Connection) -> dict[str, int]:
        found = {}
        for table in tables.metadata.tables.values():
            rows = [str(tuple(row)).casefold() for row in connection.execute(sa.select(table))]
            found[table.name] = sum("wanderlust" in row for row in rows)
        return {name: rows for name, rows in found.items() if rows}

    return house.run(house.meterhouse.house.stores.read(work))


def erase(house: House, minutes: int = 0) -> None:
    """Let time pass, and erase what may go by then."""
    house.later(minutes * MINUTE)
    eraser = house.meterhouse.house.eraser
    eraser.wake()
    house.run(eraser.finish(limits.STOP_DRAIN_SECONDS_MAX))


def ada(house: House) -> str:
    """Make her and change her, under idempotency keys; return her id."""
    made = house.create("/v1/customers", data=KNOWN, headers={"Idempotency-Key": "made"})
    path = f"/v1/customers/{made['id']}"
    changed = {"metadata[more]": ADA}
    house.create(path, data=changed, headers={"Idempotency-Key": "changed"})
    id_: str = made["id"]
    return id_


def test_a_deleted_customer_is_forgotten(house: House) -> None:
    customer = ada(house)
    event = house.request("GET", "/v1/events").json()["data"][0]
    again = {"for_stripecli": "true"}
    retry = f"/v1/events/{event['id']}/retry"
    house.create(retry, data=again, headers={"Idempotency-Key": "sent"})
    assert kept(house) == {"customers": 1, "idempotency_records": 3, "notifications": 2}
    gone = {"id": customer, "object": "customer", "deleted": True}

    erase(house, limits.ERASURE_EVENT_MINUTES + 1)
    assert kept(house)["customers"] == 1
    assert house.request("DELETE", f"/v1/customers/{customer}").json() == gone
    erase(house)
    assert kept(house) == {"notifications": 1}  # the event of the deletion is new
    newest, *others = house.request("GET", "/v1/events").json()["data"]
    assert (newest["type"], newest["data"]["object"]["name"]) == ("customer.deleted", ADA)
    assert [one["data"] for one in others] == [{"object": gone}] * 2

    erase(house, limits.ERASURE_EVENT_MINUTES + 1)
    assert kept(house) == {}
    for path, data, key in (
        ("/v1/customers", KNOWN, "made"),
        (f"/v1/customers/{customer}", {"metadata[more]": ADA}, "changed"),
        (retry, again, "sent"),
    ):
        answer = house.request("POST", path, data=data, headers={"Idempotency-Key": key})
        assert answer.json() == gone
        assert answer.headers["idempotent-replayed"] == "true"


def test_others_are_as_they_were(house: House) -> None:
    gone, other = ada(house), house.create("/v1/customers", data={"name": "Bob"})
    house.request("DELETE", f"/v1/customers/{gone}")
    erase(house, limits.ERASURE_EVENT_MINUTES + 1)
    assert house.request("GET", f"/v1/customers/{other['id']}").json() == other
    [event] = house.request("GET", "/v1/events?type=customer.created").json()["data"][:1]
    assert event["data"]["object"] == other


@pytest.fixture
def receiver(house: House) -> Any:
    with receiving() as opened:
        data = {"url": opened.url, "enabled_events[]": "*"}
        house.create("/v1/webhook_endpoints", data=data)
        yield opened


def test_destinations_hear_of_her_as_she_was(house: House, receiver: Receiver) -> None:
    receiver.reply = lambda _: Reply(500, b"no")
    customer = ada(house)
    house.request("DELETE", f"/v1/customers/{customer}")
    house.run(asyncio.to_thread(receiver.wait, 3))
    erase(house, limits.ERASURE_EVENT_MINUTES + 1)
    assert kept(house) == {"notifications": 3}  # all are owed

    receiver.reply = lambda heard: Reply(200, heard.body[:900])
    house.later(50 * MINUTE)
    house.run(delivered(house))
    assert ADA.encode() in receiver.heard[-1].body
    erase(house, 1)
    assert kept(house) == {}


async def delivered(house: House) -> None:
    """Wait until nothing is owed to anybody."""
    statuses = {"pending"}
    while statuses != {"delivered"}:
        await asyncio.sleep(0.01)
        answer = await house.ask("GET", "/meterhouse/v1/deliveries")
        statuses = {one["status"] for one in answer.json()["data"]}
