import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from tests.api.local import HOUR, NOW, LocalServer
from tests.api.samples import error_of
from tests.api.v2.samples import HERE, done, post
from tests.receiver import Receiver, Reply, receiving

PATH = "/meterhouse/v1/deliveries"
DESTINATIONS = "/v2/core/event_destinations"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as opened:
        yield opened


def listen(local: LocalServer, receiver: Receiver, *events: str) -> dict[str, Any]:
    """Make a webhook endpoint and return it with its secret."""
    types = list(events) or ["customer.*"]
    return local.create(
        "/v1/webhook_endpoints", data={"url": receiver.url, "enabled_events[]": types}
    )


def make(local: LocalServer, url: str, payload: str, *events: str) -> dict[str, Any]:
    """Make an event destination and return it with its secret."""
    sent = {
        "name": "Mine",
        "type": "webhook_endpoint",
        "event_payload": payload,
        "enabled_events": events,
        "webhook_endpoint": {"url": url},
        "include": ["webhook_endpoint.signing_secret"],
    }
    made: dict[str, Any] = done(post(local, DESTINATIONS, sent))
    return made


def deliveries(local: LocalServer, **params: Any) -> list[dict[str, Any]]:
    answer = local.request("GET", PATH, params=params)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["data"]
    return rows


def attempted(local: LocalServer, attempts: int = 1, **params: Any) -> dict[str, Any]:
    """Wait until the only delivery has been attempted so often; return it."""
    for _ in range(2_000):  # each look lets the server work on
        (one,) = deliveries(local, **params)
        if len(one["attempts"]) >= attempts:
            return one
    raise AssertionError(one)


def test_a_url_from_behind_a_proxy_leads_to_no_private_address(
    local: LocalServer, receiver: Receiver
) -> None:
    proxied = {"x-forwarded-for": "192.0.2.1"}
    data = {"url": receiver.url, "enabled_events[]": "customer.*"}
    made = local.create("/v1/webhook_endpoints", data=data, headers=proxied)
    local.customer()
    (attempt,) = attempted(local)["attempts"]
    assert "not public" in attempt["error"]
    # Only what a URL is named by counts: another change takes nothing away, and gives nothing.
    path = f"/v1/webhook_endpoints/{made['id']}"
    local.create(path, data={"description": "Mine"})
    local.customer()
    assert not receiver.heard
    local.create(path, data={"url": receiver.url})
    local.create(path, data={"description": "Ours"}, headers=proxied)
    local.customer()
    for _ in range(2_000):
        if receiver.heard:
            break
        deliveries(local)
    assert receiver.heard


def test_a_delivery(local: LocalServer, receiver: Receiver) -> None:
    endpoint = listen(local, receiver)
    customer = local.customer()
    one = attempted(local)
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
    shown = local.request("GET", f"{PATH}/{one['id']}").json()
    assert shown["attempts"][0]["status"] == 200
    assert local.request("GET", f"/v1/events/{event.id}").json()["pending_webhooks"] == 0


def test_lists(local: LocalServer, receiver: Receiver) -> None:
    first = listen(local, receiver)["id"]
    second = listen(local, receiver, "customer.created")["id"]
    local.customer()
    newest, oldest = deliveries(local)
    assert (newest["destination"], oldest["destination"]) == (second, first)
    assert deliveries(local, destination=first)[0]["id"] == oldest["id"]
    assert len(deliveries(local, event=newest["event"])) == 2
    assert deliveries(local, event="evt_none") == []
    page = local.request("GET", PATH, params={"limit": 1}).json()
    assert (page["has_more"], page["url"]) == (True, PATH)
    assert [one["id"] for one in deliveries(local, starting_after=newest["id"])] == [oldest["id"]]
    error_of(local.request("GET", PATH, params={"starting_after": "del_none"}), 400)


def test_a_retry_and_one_by_hand(local: LocalServer, receiver: Receiver) -> None:
    receiver.reply = lambda _: Reply(500, b"oh no")
    listen(local, receiver)
    local.customer()
    one = attempted(local)
    assert (one["status"], one["next_attempt_at"]) == ("pending", NOW + HOUR)
    assert one["attempts"][0]["response"] == "oh no"
    receiver.reply = lambda _: Reply()
    again = local.create(f"{PATH}/{one['id']}/redeliver")
    assert (again["status"], again["next_attempt_at"]) == ("pending", NOW)
    assert attempted(local, 2)["status"] == "delivered"
    local.create(f"{PATH}/{one['id']}/redeliver")
    assert [attempt["status"] for attempt in attempted(local, 3)["attempts"]] == [500, 200, 200]


def test_nothing_is_sent_to_what_is_gone(local: LocalServer, receiver: Receiver) -> None:
    endpoint = listen(local, receiver)["id"]
    local.customer()
    redeliver = f"{PATH}/{attempted(local)['id']}/redeliver"
    local.create(f"/v1/webhook_endpoints/{endpoint}", data={"disabled": "true"})
    assert "is not enabled" in error_of(local.request("POST", redeliver), 400)["message"]
    local.request("DELETE", f"/v1/webhook_endpoints/{endpoint}")
    assert "is not enabled" in error_of(local.request("POST", redeliver), 400)["message"]
    for method, path in (("GET", "del_none"), ("POST", "del_none/redeliver")):
        error = error_of(local.request(method, f"{PATH}/{path}"), 404)
        assert error["message"] == "No such delivery: 'del_none'"


def test_a_ping(local: LocalServer, receiver: Receiver) -> None:
    """Given a destination that listens to something else, then a ping reaches it all the same."""
    made = make(local, receiver.url, "snapshot", "customer.deleted")
    path = f"{DESTINATIONS}/{made['id']}"
    told = done(post(local, f"{path}/ping"))
    assert (told["object"], told["type"]) == ("v2.core.event", "v2.core.event_destination.ping")
    assert told["related_object"] == {
        "id": made["id"],
        "type": "v2.core.event_destination",
        "url": path,
    }
    assert attempted(local, event=told["id"])["status"] == "delivered"
    (heard,) = receiver.heard
    assert json.loads(heard.body)["id"] == told["id"]
    assert done(local.request("GET", f"/v2/core/events/{told['id']}", headers=HERE)) == told
    done(post(local, f"{path}/disable"))
    assert post(local, f"{path}/ping").status_code == 400


def test_a_thin_twin_and_its_snapshot(local: LocalServer, receiver: Receiver) -> None:
    """Given a listener of each kind, then each is told in its own way, and nothing else."""
    listen(local, receiver, "*")
    made = make(local, f"{receiver.url}/thin", "thin", "*")
    customer = local.customer()
    (thin,), (snapshot,) = (
        local.run(asyncio.to_thread(receiver.wait, 1, path)) for path in ("/thin", "/")
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
