"""Forgetting customers, through the whole program: who asks for it, and what is left anywhere."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.ledger import dimensions, erasures, tables
from meterhouse.usage import schema
from meterhouse.usage.erase import replaced
from tests.api.local import DAY, NOW, LocalServer, local_server, own_stores
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


def kept(local: LocalServer) -> dict[str, int]:
    """Count the rows of the ledger that tell something of her, table by table."""

    def work(connection: sa.Connection) -> dict[str, int]:
        found = {}
        for table in tables.metadata.tables.values():
            rows = [str(tuple(row)).casefold() for row in connection.execute(sa.select(table))]
            found[table.name] = sum("wanderlust" in row for row in rows)
        return {name: rows for name, rows in found.items() if rows}

    return local.run(local.meterhouse.services.stores.read(work))


def erase(local: LocalServer, minutes: int = 0) -> None:
    """Let time pass, and erase what may go by then."""
    local.later(minutes * MINUTE)
    local.meterhouse.jobs.wake("erase")
    now = local.meterhouse.services.timekeeper.now()
    local.until(lambda connection: erasures.due(connection, now) is None)


def ada(local: LocalServer) -> str:
    """Make her and change her, under idempotency keys; return her id."""
    made = local.create("/v1/customers", data=KNOWN, headers={"Idempotency-Key": "made"})
    path = f"/v1/customers/{made['id']}"
    changed = {"metadata[more]": ADA}
    local.create(path, data=changed, headers={"Idempotency-Key": "changed"})
    id_: str = made["id"]
    return id_


def test_a_deleted_customer_is_forgotten(local: LocalServer) -> None:
    customer = ada(local)
    event = local.request("GET", "/v1/events").json()["data"][0]
    again = {"for_stripecli": "true"}
    retry = f"/v1/events/{event['id']}/retry"
    local.create(retry, data=again, headers={"Idempotency-Key": "sent"})
    assert kept(local) == {"customers": 1, "idempotency_records": 3, "notifications": 2}
    gone = {"id": customer, "object": "customer", "deleted": True}

    erase(local, limits.ERASURE_EVENT_MINUTES + 1)
    assert kept(local)["customers"] == 1
    assert local.request("DELETE", f"/v1/customers/{customer}").json() == gone
    erase(local)
    assert kept(local) == {"notifications": 1}  # the event of the deletion is new
    newest, *others = local.request("GET", "/v1/events").json()["data"]
    assert (newest["type"], newest["data"]["object"]["name"]) == ("customer.deleted", ADA)
    assert [one["data"] for one in others] == [{"object": gone}] * 2

    erase(local, limits.ERASURE_EVENT_MINUTES + 1)
    assert kept(local) == {}
    for path, data, key in (
        ("/v1/customers", KNOWN, "made"),
        (f"/v1/customers/{customer}", {"metadata[more]": ADA}, "changed"),
        (retry, again, "sent"),
    ):
        answer = local.request("POST", path, data=data, headers={"Idempotency-Key": key})
        assert answer.json() == gone
        assert answer.headers["idempotent-replayed"] == "true"


def test_others_are_as_they_were(local: LocalServer) -> None:
    gone, other = ada(local), local.create("/v1/customers", data={"name": "Bob"})
    local.request("DELETE", f"/v1/customers/{gone}")
    erase(local, limits.ERASURE_EVENT_MINUTES + 1)
    assert local.request("GET", f"/v1/customers/{other['id']}").json() == other
    [event] = local.request("GET", "/v1/events?type=customer.created").json()["data"][:1]
    assert event["data"]["object"] == other


@pytest.fixture
def receiver(local: LocalServer) -> Iterator[Receiver]:
    with receiving() as opened:
        listen(local, opened)
        yield opened


def listen(local: LocalServer, receiver: Receiver) -> None:
    data = {"url": receiver.url, "enabled_events[]": "*"}
    local.create("/v1/webhook_endpoints", data=data)


def test_destinations_hear_of_her_as_she_was(local: LocalServer, receiver: Receiver) -> None:
    receiver.reply = lambda _: Reply(500, b"no")
    customer = ada(local)
    local.request("DELETE", f"/v1/customers/{customer}")
    local.until(lambda connection: attempts(connection) == 3)
    erase(local, limits.ERASURE_EVENT_MINUTES + 1)
    assert kept(local) == {"notifications": 3}  # all are owed

    receiver.reply = lambda heard: Reply(200, heard.body[:900])
    local.later(50 * MINUTE)
    local.run(delivered(local))
    assert ADA.encode() in receiver.heard[-1].body
    erase(local, limits.ERASURE_EVENT_MINUTES + 1)
    assert kept(local) == {}


def attempts(connection: sa.Connection) -> int:
    """Count the attempts to deliver of which it is known what came of them."""
    found = sa.select(sa.func.count()).select_from(tables.attempts)
    return connection.execute(found).scalar_one()


async def delivered(local: LocalServer) -> None:
    """Wait until nothing is owed to anybody."""
    statuses = {"pending"}
    while statuses != {"delivered"}:
        await asyncio.sleep(0.01)
        answer = await local.ask("GET", "/meterhouse/v1/deliveries")
        statuses = {one["status"] for one in answer.json()["data"]}


def ask(local: LocalServer, customer: str, **body: Any) -> dict[str, Any]:
    """Ask for an erasure as the operator does."""
    path = f"/meterhouse/v1/customers/{customer}/erase"
    return local.create(path, json=body, key=local.meterhouse.services.operator_token)


def finish(local: LocalServer, erasure: dict[str, Any]) -> dict[str, Any]:
    """Let time pass until an erasure is complete; files go in their own time."""
    path = f"/meterhouse/v1/erasures/{erasure['id']}"
    while erasure["status"] != "complete":
        if erasure["step"] == "files":
            local.run(none_replaced(local))
        local.later(limits.REBUILD_FORMER_SECONDS * 1000 + 1)
        local.meterhouse.jobs.wake("rebuild")
        local.until(lambda connection: dimensions.oldest_running(connection) is None)
        erase(local)
        answer = local.request("GET", path, key=local.meterhouse.services.operator_token)
        erasure = answer.json()
    return erasure


async def none_replaced(local: LocalServer) -> None:
    """Wait until the engine has deleted what it has replaced."""
    usage = local.meterhouse.services.stores.usage
    while await usage(replaced):  # noqa: ASYNC110 - the engine tells nobody
        await asyncio.sleep(0.1)


def send(local: LocalServer, customer: str, name: str = "calls", **payload: str) -> dict[str, Any]:
    """Send an event under an idempotency key, by v1."""
    values = {"stripe_customer_id": customer, "value": "2", **payload}
    data = {f"payload[{key}]": text for key, text in values.items()}
    key = {"Idempotency-Key": f"{customer} {name} {payload['model']}"}
    return local.create("/v1/billing/meter_events", data=data | {"event_name": name}, headers=key)


def stream(local: LocalServer, *events: dict[str, Any]) -> None:
    headers = {"Stripe-Version": "2026-10-28.endive"}
    local.create("/v2/billing/meter_event_stream", json={"events": events}, headers=headers)


def usage_tells(local: LocalServer) -> dict[str, int]:
    """Count the rows of the usage store that tell something of her, table by table."""

    def work(store: Any) -> dict[str, int]:
        found = {}
        for table in ("events", "duplicate_events", "rejected_events", "usage_slots"):
            sql = f"""SELECT count() AS rows FROM {table}
                WHERE positionCaseInsensitive(toString(tuple(*)), 'wanderlust') > 0"""  # noqa: S608
            found[table] = store.columns(sql, {}).to_pylist()[0]["rows"]
        return {name: rows for name, rows in found.items() if rows}

    return local.run(local.meterhouse.services.stores.usage(work))


def files_that_tell(folder: Path) -> set[str]:
    """Return the parts of a data folder whose files have her name in them."""
    return {
        path.relative_to(folder).parts[0].partition(".")[0]
        for path in folder.rglob("*")
        if path.is_file() and b"wanderlust" in path.read_bytes().lower()
    }


def books_balance(local: LocalServer) -> bool:
    token = local.meterhouse.services.operator_token
    local.request("POST", "/meterhouse/v1/verification", key=token)
    state: dict[str, Any] = {"status": "running"}
    while state["status"] == "running":
        local.run(asyncio.sleep(0.01))
        state = local.request("GET", "/meterhouse/v1/verification", key=token).json()
    return (state["status"], state["problems"]) == ("balanced", [])


def by_note(local: LocalServer, meter: str, **params: Any) -> dict[str, float]:
    """Return the usage of a meter by the dimension that has her name."""
    asked = {"starts_at": NOW // DAY * DAY, "ends_at": NOW // DAY * DAY + DAY, **params}
    asked |= {"meters[0][meter]": meter, "meters[0][dimension_group_by_keys][]": "note"}
    rows = local.request("GET", "/meterhouse/v1/usage", params=asked).json()["data"]
    return {row["dimensions"]["note"]: row["value"] for row in rows}


def everything(local: LocalServer, customer: str, other: str) -> tuple[str, str]:
    """Let all that can be said of her go through the program; return two meters."""
    dimensions = {"dimension_payload_keys[0]": "model", "dimension_payload_keys[1]": "note"}
    meter = local.meter(**dimensions)
    last = local.meter("peaks", **dimensions, **{"default_aggregation[formula]": "last"})
    for name in ("calls", "peaks"):
        for number in range(3):
            send(local, customer, name, model=f"m{number}", note=ADA)
        send(local, other, name, model="m1", note="Bob")
    gone = send(local, customer, model="m9", note=ADA)["identifier"]
    cancel = {"type": "cancel", "event_name": "calls", "cancel[identifier]": gone}
    local.create("/v1/billing/meter_event_adjustments", data=cancel)
    payload = {"stripe_customer_id": customer, "value": "4", "model": "m1", "note": ADA}
    event = {"event_name": "calls", "identifier": "twice", "payload": payload}
    stream(local, event, event, {**event, "event_name": "cals", "identifier": "typo"})
    version = {"Stripe-Version": "2026-10-28.endive", "Idempotency-Key": "v2"}
    local.create("/v2/billing/meter_events", json={**event, "identifier": "by v2"}, headers=version)
    assert by_note(local, meter) == {ADA: 14, "Bob": 2}
    for path, params in (
        ("/v1/customers/search", {"query": f'name:"{ADA}"'}),
        ("/meterhouse/v1/customers", {"text": ADA}),
    ):
        assert local.request("GET", path, params=params).json()["data"][0]["id"] == customer
    wrong = local.request("POST", f"/v1/customers/{customer}", data={"balance": ADA})
    assert ADA in wrong.json()["error"]["message"]
    local.run(local.meterhouse.services.request_logs.store())
    return meter, last


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the engine delete at once what it has replaced, in tables that are made for it."""
    kept = f"old_parts_lifetime = {limits.USAGE_REPLACED_SECONDS},"
    late = f"max_cleanup_delay_period = {limits.USAGE_CLEANED_SECONDS_MAX}"
    soon = """old_parts_lifetime = 0,
        cleanup_delay_period = 0,
        cleanup_delay_period_random_add = 0,
        max_cleanup_delay_period = 1"""
    for table, statement in schema.TABLES.items():
        assert late in statement
        hurried = statement.replace(kept, "").replace(late, soon)
        monkeypatch.setitem(schema.TABLES, table, hurried)
    with own_stores():
        yield


@pytest.mark.usefixtures("hurry")
def test_a_person_is_forgotten_everywhere(tmp_path: Path) -> None:
    with local_server(tmp_path) as local, receiving() as receiver:
        receiver.reply = lambda heard: Reply(200, heard.body[:900])
        listen(local, receiver)
        customer, other = ada(local), local.customer()
        meter, last = everything(local, customer, other)
        local.run(delivered(local))
        assert usage_tells(local).keys() == {
            "events",
            "duplicate_events",
            "rejected_events",
            "usage_slots",
        }
        assert files_that_tell(tmp_path) == {"ledger", "usage"}
        events = 3 + 3 + 2 + 1 + 1 + 1 + 1  # of both meters, cancelled, twice, again, typo, by v2

        told = finish(local, ask(local, customer, payload_keys=["note"]))
        assert told | {"id": ""} == {
            "id": "",
            "object": "meterhouse.erasure",
            "created": NOW,
            "customer": customer,
            "events": events,
            "ledger_rewritten": True,
            "livemode": False,
            "payload_keys": ["note"],
            "status": "complete",
            "step": None,
        }
        assert (kept(local), usage_tells(local)) == ({}, {})
        params = {"action": "customer.erased"}
        [noted] = local.request("GET", "/meterhouse/v1/audit_log", params=params).json()["data"]
        assert noted["object_id"] == customer
        assert noted["changes"] == {"payload_keys": {"old": None, "new": ["note"]}}
        assert by_note(local, meter) == {"": 14, "Bob": 2}
        assert by_note(local, last, customer=other) == {"Bob": 2}
        assert books_balance(local)
        answer = send(local, customer, model="m1", note=ADA)  # the same as before
        assert answer["payload"].keys() == {"stripe_customer_id", "value", "model"}
    assert files_that_tell(tmp_path) == set()


@pytest.mark.usefixtures("hurry")
def test_a_customer_who_stays_loses_values_of_events_alone(local: LocalServer) -> None:
    customer = ada(local)
    meter = local.meter()
    send(local, customer, model="m1", note="x")
    told = finish(local, ask(local, customer, payload_keys=["note"], keep_customer=True))
    assert told["events"] == 1
    assert local.request("GET", f"/v1/customers/{customer}").json()["name"] == ADA
    [event] = local.request("GET", "/meterhouse/v1/meter_events").json()["data"]
    assert event["payload"] == {"stripe_customer_id": customer, "value": "2", "model": "m1"}
    assert local.summaries(meter, customer).json()["data"][0]["aggregated_value"] == 2


def test_what_is_refused(local: LocalServer) -> None:
    customer = ada(local)
    local.meter()
    path = f"/meterhouse/v1/customers/{customer}/erase"
    refused: list[tuple[dict[str, Any], str]] = [
        ({"keep_customer": True}, "Specify payload_keys, or leave out keep_customer."),
        ({"payload_keys": ["value"]}, "The payload key 'value' cannot be erased"),
        ({"payload_keys": ["stripe_customer_id"]}, "The payload key 'stripe_customer_id' cannot"),
        ({"payload_keys": [""]}, "payload_keys[0]"),
        ({"payload_keys": "note"}, "payload_keys"),
        ({"payload_keys": ["k"] * (limits.ERASURE_KEYS_ITEMS_MAX + 1)}, "payload_keys"),
        ({"other": 1}, "other"),
    ]
    for body, message in refused:
        token = local.meterhouse.services.operator_token
        answer = local.request("POST", path, json=body, key=token)
        assert answer.status_code == 400
        assert message in answer.json()["error"]["message"]
    assert local.request("GET", f"/v1/customers/{customer}").json()["name"] == ADA


def test_it_is_for_the_operator_alone(local: LocalServer) -> None:
    customer, token = ada(local), local.meterhouse.services.operator_token
    path = f"/meterhouse/v1/customers/{customer}/erase"
    for method, one in (("POST", path), ("GET", "/meterhouse/v1/erasures/ers_1")):
        assert local.request(method, one).status_code == 403
    unknown = local.request("GET", "/meterhouse/v1/erasures/ers_1", key=token)
    assert unknown.json()["error"]["message"] == "No such erasure: 'ers_1'"
    other = path.replace(customer, "cus_9")
    assert local.request("POST", other, json={}, key=token).status_code == 404
