import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from tests.api.house import HOUR, NOW, House
from tests.api.samples import error_of
from tests.api.v2.samples import HERE, done, post
from tests.receiver import Receiver, Reply, receiving

PATH = "/meterhouse/v1/deliveries"
DESTINATIONS = "/v2/core/event_destinations"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as opened:
        yield opened


def listen(house: House, receiver: Receiver, *events: str) -> dict[str, Any]:
    """Make a webhook endpoint and return it with its secret."""
    types = list(events) or ["customer.*"]
    return house.create(
        "/v1/webhook_endpoints", data={"url": receiver.url, "enabled_events[]": types}
    )


def make(house: House, url: str, payload: str, *events: str) -> dict[str, Any]:
    """Make an event destination and return it with its secret."""
    sent = {
        "name": "Mine",
        "type": "webhook_endpoint",
        "event_payload": payload,
        "enabled_events": events,
        "webhook_endpoint": {"url": url},
        "include": ["webhook_endpoint.signing_secret"],
    }
    made: dict[str, Any] = done(post(house, DESTINATIONS, sent))
    return made


def deliveries(house: House, **params: Any) -> list[dict[str, Any]]:
    answer = house.request("GET", PATH, params=params)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["data"]
    return rows


def attempted(house: House, attempts: int = 1, **params: Any) -> dict[str, Any]:
    """Wait until the only delivery has been attempted so often; return it."""
    for _ in range(2_000):  # each look lets the server work on
        (one,) = deliveries(house, **params)
        if len(one["attempts"]) >= attempts:
            return one
    raise AssertionError(one)


def test_a_url_from_behind_a_proxy_leads_to_no_private_address(
    house: House, receiver: Receiver
) -> None:
    proxied = {"x-forwarded-for": "192.0.2.1"}
    data = {"url": receiver.url, "enabled_events[]": "customer.*"}
    made = house.create("/v1/webhook_endpoints", data=data, headers=proxied)
    house.customer()
    (attempt,) = attempted(house)["attempts"]
    assert "not public" in attempt["error"]
    # Only what a URL is named by counts: another change takes nothing away, and gives nothing.
    path = f"/v1/webhook_endpoints/{made['id']}"
    house.create(path, data={"description": "Mine"})
    house.customer()
    assert not receiver.heard
    house.create(path, data={"url": receiver.url})
    house.create(path, data={"description": "Ours"}, headers=proxied)
    house.customer()
    for _ in range(2_000):
        if receiver.heard:
            break
        deliveries(house)
    assert receiver.heard


def test_a_delivery(house: House, receiver: Receiver) -> None:
    endpoint = listen(house, receiver)
    customer = house.customer()
    one = attempted(house)
    (attempt,) = one.pop("attempts")
    (heard,) = receiver.heard
    event = stripe.Webhook.construct_event(
        heard.body, heard.headers["Stripe-Signature"], endpoint["secret"], tolerance=10**9
    )
    assert (event.type, event.data.object["id"]) == ("customer.created", customer)
    assert event.pending_webhooks == 1
    assert one == {
        "id": one["id"],
        "object": "meterhouse.delivery",
        "attempt_count": 1,
        "created": NOW,
        "destination": endpoint["id"],
        "event": event.id,
        "livemode": False,
        "next_attempt_at": None,
        "status": "delivered",
    }
    assert attempt.pop("duration_ms") >= 0
    assert attempt == {"at": NOW, "error": None, "response": "ok", "status": 200}
    shown = house.request("GET", f"{PATH}/{one['id']}").json()
    assert shown["attempts"][0]["status"] == 200
    assert house.request("GET", f"/v1/events/{event.id}").json()["pending_webhooks"] == 0


def test_lists(house: House, receiver: Receiver) -> None:
    first = listen(house, receiver)["id"]
    second = listen(house, receiver, "customer.created")["id"]
    house.customer()
    newest, oldest = deliveries(house)
    assert (newest["destination"], oldest["destination"]) == (second, first)
    assert deliveries(house, destination=first)[0]["id"] == oldest["id"]
    assert len(deliveries(house, event=newest["event"])) == 2
    assert deliveries(house, event="evt_none") == []
    page = house.request("GET", PATH, params={"limit": 1}).json()
    assert (page["has_more"], page["url"]) == (True, PATH)
    assert [one["id"] for one in deliveries(house, starting_after=newest["id"])] == [oldest["id"]]
    error_of(house.request("GET", PATH, params={"starting_after": "del_none"}), 400)


def test_a_retry_and_one_by_hand(house: House, receiver: Receiver) -> None:
    receiver.reply = lambda _: Reply(500, b"oh no")
    listen(house, receiver)
    house.customer()
    one = attempted(house)
    assert (one["status"], one["next_attempt_at"]) == ("pending", NOW + HOUR)
    assert one["attempts"][0]["response"] == "oh no"
    receiver.reply = lambda _: Reply()
    again = house.create(f"{PATH}/{one['id']}/redeliver")
    assert (again["status"], again["next_attempt_at"]) == ("pending", NOW)
    assert attempted(house, 2)["status"] == "delivered"
    house.create(f"{PATH}/{one['id']}/redeliver")
    assert [attempt["status"] for attempt in attempted(house, 3)["attempts"]] == [500, 200, 200]


def test_nothing_is_sent_to_what_is_gone(house: House, receiver: Receiver) -> None:
    endpoint = listen(house, receiver)["id"]
    house.customer()
    redeliver = f"{PATH}/{attempted(house)['id']}/redeliver"
    house.create(f"/v1/webhook_endpoints/{endpoint}", data={"disabled": "true"})
    assert "is not enabled" in error_of(house.request("POST", redeliver), 400)["message"]
    house.request("DELETE", f"/v1/webhook_endpoints/{endpoint}")
    assert "is not enabled" in error_of(house.request("POST", redeliver), 400)["message"]
    for method, path in (("GET", "del_none"), ("POST", "del_none/redeliver")):
        error = error_of(house.request(method, f"{PATH}/{path}"), 404)
        assert error["message"] == "No such delivery: 'del_none'"


def test_a_ping(house: House, receiver: Receiver) -> None:
    """Given a destination that listens to something else, then a ping reaches it all the same."""
    made = make(house, receiver.url, "snapshot", "customer.deleted")
    path = f"{DESTINATIONS}/{made['id']}"
    told = done(post(house, f"{path}/ping"))
    assert (told["object"], told["type"]) == ("v2.core.event", "v2.core.event_destination.ping")
    assert told["related_object"] == {
        "id": made["id"],
        "type": "v2.core.event_destination",
        "url": path,
    }
    assert attempted(house, event=told["id"])["status"] == "delivered"
    (heard,) = receiver.heard
    assert json.loads(heard.body)["id"] == told["id"]
    assert done(house.request("GET", f"/v2/core/events/{told['id']}", headers=HERE)) == told
    done(post(house, f"{path}/disable"))
    assert post(house, f"{path}/ping").status_code == 400


def test_a_thin_twin_and_its_snapshot(house: House, receiver: Receiver) -> None:
    """Given a listener of each kind, then each is told in its own way, and nothing else."""
    listen(house, receiver, "*")
    made = make(house, f"{receiver.url}/thin", "thin", "*")
    customer = house.customer()
    (thin,), (snapshot,) = (
        house.run(asyncio.to_thread(receiver.wait, 1, path)) for path in ("/thin", "/")
    )
    assert json.loads(snapshot.body)["data"]["object"]["id"] == customer
    told = stripe.StripeClient("sk_test_unused").parse_event_notification(
        thin.body,
        thin.headers["Stripe-Signature"],
        made["webhook_endpoint"]["signing_secret"],
        tolerance=10**9,
    )
    assert isinstance(told, stripe.events.V1CustomerCreatedEventNotification)
    assert told.related_object.id == customer
    assert len(receiver.heard) == 2
