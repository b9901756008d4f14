from typing import Any

import httpx
import pytest
import stripe

from meterhouse.ledger import deliveries, destinations
from tests.api.local import NOW, LocalServer
from tests.api.samples import error_of, make_customer, make_meter, new_key
from tests.ledger.samples import destination
from tests.server import LIVE_KEY, Server

DAY = 86_400


def events(local: LocalServer, **params: Any) -> list[dict[str, Any]]:
    answer = local.request("GET", "/v1/events", params=params)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["data"]
    return rows


def types(local: LocalServer, **params: Any) -> list[str]:
    return [event["type"] for event in events(local, **params)]


def test_the_life_of_a_meter(local: LocalServer) -> None:
    path = f"/v1/billing/meters/{local.meter()}"
    created = local.request("GET", path).json()
    local.clock.advance(1_000)
    local.create(path, data={"display_name": "All calls"})
    deactivated = local.create(f"{path}/deactivate")
    local.create(f"{path}/deactivate")
    local.clock.advance(1_000)
    reactivated = local.create(f"{path}/reactivate")
    local.create(f"{path}/reactivate")
    back, gone, updated, new = events(local)
    assert [one["type"] for one in (new, updated, gone, back)] == [
        "billing.meter.created",
        "billing.meter.updated",
        "billing.meter.deactivated",
        "billing.meter.reactivated",
    ]
    assert new["data"] == {"object": created}
    assert updated["data"] == {
        "object": created | {"display_name": "All calls", "updated": NOW + 1},
        "previous_attributes": {"display_name": "Calls", "updated": NOW},
    }
    assert gone["data"] == {"object": deactivated}
    assert back["data"] == {"object": reactivated}
    assert (new["created"], back["created"]) == (NOW, NOW + 2)


def test_the_life_of_a_customer(local: LocalServer) -> None:
    created = local.create("/v1/customers", data={"name": "Ada", "metadata[a]": "1"})
    path = f"/v1/customers/{created['id']}"
    updated = local.create(path, data={"metadata[b]": "2", "email": "ada@example.com"})
    local.create(path, data={"name": "Ada"})
    local.create(path)
    local.request("DELETE", path)
    local.request("DELETE", path)
    told = [(event["type"], event["data"]) for event in events(local)]
    assert told == [
        ("customer.deleted", {"object": updated}),
        (
            "customer.updated",
            {
                "object": updated,
                "previous_attributes": {"email": None, "metadata": {"b": None}},
            },
        ),
        ("customer.created", {"object": created}),
    ]


def test_an_event_of_a_request(local: LocalServer) -> None:
    headers = {"Idempotency-Key": "k", "Stripe-Version": "2024-06-20"}
    answer = local.request("POST", "/v1/customers", headers=headers)
    again = local.request("POST", "/v1/customers", headers=headers)
    assert again.headers["idempotent-replayed"] == "true", again.text
    (event,) = events(local)
    assert event == {
        "id": event["id"],
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": NOW,
        "data": {"object": answer.json()},
        "livemode": False,
        "pending_webhooks": 0,
        "request": {"id": answer.headers["request-id"], "idempotency_key": "k"},
        "type": "customer.created",
    }
    assert local.request("GET", f"/v1/events/{event['id']}").json() == event


def test_a_request_that_is_refused_is_no_event(local: LocalServer) -> None:
    local.meter()
    again = {"display_name": "x", "event_name": "calls", "default_aggregation[formula]": "sum"}
    assert local.request("POST", "/v1/billing/meters", data=again).status_code == 400
    assert local.request("POST", "/v1/billing/meters/mtr_x/deactivate").status_code == 404
    assert types(local) == ["billing.meter.created"]


def test_modes_are_apart(local: LocalServer) -> None:
    local.create("/v1/customers", key=LIVE_KEY)
    assert events(local) == []
    (event,) = local.request("GET", "/v1/events", key=LIVE_KEY).json()["data"]
    assert event["livemode"]
    error = error_of(local.request("GET", f"/v1/events/{event['id']}"), 404)
    assert error["message"] == f"No such event: '{event['id']}'"
    assert error["code"] == "resource_missing"


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({}, ["billing.meter.deactivated", "customer.created", "billing.meter.created"]),
        ({"type": "customer.created"}, ["customer.created"]),
        ({"type": "billing.meter.*"}, ["billing.meter.deactivated", "billing.meter.created"]),
        ({"type": "customer"}, []),
        ({"type": "v1.customer.created"}, []),
        (
            {"types[]": ["customer.created", "billing.meter.deactivated"]},
            ["billing.meter.deactivated", "customer.created"],
        ),
        ({"created": NOW}, ["billing.meter.created"]),
        ({"created[gt]": NOW}, ["billing.meter.deactivated", "customer.created"]),
        ({"created[gte]": NOW, "created[lt]": NOW + 10}, ["billing.meter.created"]),
        ({"limit": 1}, ["billing.meter.deactivated"]),
    ],
)
def test_the_list_is_filtered(local: LocalServer, params: dict[str, Any], found: list[str]) -> None:
    meter = local.meter()
    local.clock.advance(10_000)
    local.customer()
    local.create(f"/v1/billing/meters/{meter}/deactivate")
    assert types(local, **params) == found


@pytest.mark.parametrize(
    ("params", "message", "param"),
    [
        ({"type": "a", "types[]": "b"}, "You may only specify one of these parameters", "type"),
        ({"types[]": ["a"] * 21}, "must have at most 20 items", "types"),
        ({"delivery_success": "maybe"}, "Invalid boolean: maybe", "delivery_success"),
        ({"starting_after": "evt_x"}, "No such event: 'evt_x'", "starting_after"),
        ({"object_id": "mtr_1"}, "Received unknown parameter: object_id", "object_id"),
    ],
)
def test_lists_that_are_refused(
    local: LocalServer, params: dict[str, Any], message: str, param: str
) -> None:
    error = error_of(local.request("GET", "/v1/events", params=params), 400)
    assert message in error["message"]
    assert error["param"] == param


def test_events_tell_whether_they_have_arrived(local: LocalServer) -> None:
    local.customer()
    (waiting,) = events(local)
    local.create("/v1/customers")
    scope = 1

    def owe(connection: Any) -> None:
        destinations.create_destination(connection, destination(scope, "we_1"))
        deliveries.owe(connection, [(waiting["id"], "we_1", NOW * 1000)])

    local.run(local.meterhouse.services.stores.write(owe))
    found = events(local, delivery_success="false")
    assert found == [waiting | {"pending_webhooks": 1}]
    assert len(events(local, delivery_success="true")) == 1
    assert len(events(local)) == 2


def test_events_are_kept_for_thirty_days(local: LocalServer) -> None:
    local.customer()
    local.later(30 * DAY * 1000)
    local.run(local.job("retain").sweep())
    (event,) = events(local)
    local.later(1)
    local.run(local.job("retain").sweep())
    assert events(local) == []
    assert local.request("GET", f"/v1/events/{event['id']}").status_code == 404


def test_the_sdk_reads_events(client: stripe.StripeClient, account: str) -> None:
    meter = make_meter(client)
    made = [make_customer(client) for _ in range(3)]
    listed = client.v1.events.list({"limit": 2})
    assert listed.has_more
    found = list(listed.auto_paging_iter())
    assert [event.data.object["id"] for event in found] == [*reversed(made), meter]
    assert {event.account for event in found} == {account}
    (event,) = client.v1.events.list({"types": ["billing.meter.created"]}).data
    assert client.v1.events.retrieve(event.id).data.object["object"] == "billing.meter"
    backwards = client.v1.events.list({"ending_before": event.id, "limit": 1})
    assert [one.id for one in backwards.data] == [found[2].id]


def test_a_restricted_key(server: Server, http: httpx.Client) -> None:
    key = new_key(server, "--permissions", "events:read")
    denied = new_key(server, "--permissions", "customers:read")
    assert http.get("/v1/events", auth=(key, "")).status_code != 401
    answer = httpx.get(f"{server.url}/v1/events", auth=(key, ""), trust_env=False)
    assert answer.status_code == 200
    refused = httpx.get(f"{server.url}/v1/events", auth=(denied, ""), trust_env=False)
    assert "'events:read' permission" in error_of(refused, 403)["message"]
