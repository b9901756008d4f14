import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from tests.api.samples import error_of
from tests.api.services import HOUR, NOW, Services
from tests.api.v2.samples import HERE, done, post
from tests.receiver import Receiver, Reply, receiving

PATH = "/meterhouse/v1/deliveries"
DESTINATIONS = "/v2/core/event_destinations"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as opened:
        yield opened


def listen(services: Services, receiver: Receiver, *events: str) -> dict[str, Any]:
    """Make a webhook endpoint and return it with its secret."""
    types = list(events) or ["customer.*"]
    return services.create(
        "/v1/webhook_endpoints", data={"url": receiver.url, "enabled_events[]": types}
    )


def make(services: Services, url: str, payload: str, *events: str) -> dict[str, Any]:
    """Make an event destination and return it with its secret."""
    sent = {
        "name": "Mine",
        "type": "webhook_endpoint",
        "event_payload": payload,
        "enabled_events": events,
        "webhook_endpoint": {"url": url},
        "include": ["webhook_endpoint.signing_secret"],
    }
    made: dict[str, Any] = done(post(services, DESTINATIONS, sent))
    return made


def deliveries(services: Services, **params: Any) -> list[dict[str, Any]]:
    answer = services.request("GET", PATH, params=params)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["data"]
    return rows


def attempted(services: Services, attempts: int = 1, **params: Any) -> dict[str, Any]:
    """Wait until the only delivery has been attempted so often; return it."""
    for _ in range(2_000):  # each look lets the server work on
        (one,) = deliveries(services, **params)
        if len(one["attempts"]) >= attempts:
            return one
    raise AssertionError(one)


def test_a_url_from_behind_a_proxy_leads_to_no_private_address(
    services: Services, receiver: Receiver
) -> None:
    proxied = {"x-forwarded-for": "192.0.2.1"}
    data = {"url": receiver.url, "enabled_events[]": "customer.*"}
    made = services.create("/v1/webhook_endpoints", data=data, headers=proxied)
    services.customer()
    (attempt,) = attempted(services)["attempts"]
    assert "not public" in attempt["error"]
    # Only what a URL is named by counts: another change takes nothing away, and gives nothing.
    path = f"/v1/webhook_endpoints/{made['id']}"
    services.create(path, data={"description": "Mine"})
    services.customer()
    assert not receiver.heard
    services.create(path, data={"url": receiver.url})
    services.create(path, data={"description": "Ours"}, headers=proxied)
    services.customer()
    for _ in range(2_000):
        if receiver.heard:
            break
        deliveries(services)
    assert receiver.heard


def test_a_delivery(services: Services, receiver: Receiver) -> None:
    endpoint = listen(services, receiver)
    customer = services.customer()
    one = attempted(services)
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
    shown = services.request("GET", f"{PATH}/{one['id']}").json()
    assert shown["attempts"][0]["status"] == 200
    assert services.request("GET", f"/v1/events/{event.id}").json()["pending_webhooks"] == 0


def test_lists(services: Services, receiver: Receiver) -> None:
    first = listen(services, receiver)["id"]
    second = listen(services, receiver, "customer.created")["id"]
    services.customer()
    newest, oldest = deliveries(services)
    assert (newest["destination"], oldest["destination"]) == (second, first)
    assert deliveries(services, destination=first)[0]["id"] == oldest["id"]
    assert len(deliveries(services, event=newest["event"])) == 2
    assert deliveries(services, event="evt_none") == []
    page = services.request("GET", PATH, params={"limit": 1}).json()
    assert (page["has_more"], page["url"]) == (True, PATH)
    assert [one["id"] for one in deliveries(services, starting_after=newest["id"])] == [
        oldest["id"]
    ]
    error_of(services.request("GET", PATH, params={"starting_after": "del_none"}), 400)


def test_a_retry_and_one_by_hand(services: Services, receiver: Receiver) -> None:
    receiver.reply = lambda _: Reply(500, b"oh no")
    listen(services, receiver)
    services.customer()
    one = attempted(services)
    assert (one["status"], one["next_attempt_at"]) == ("pending", NOW + HOUR)
    assert one["attempts"][0]["response"] == "oh no"
    receiver.reply = lambda _: Reply()
    again = services.create(f"{PATH}/{one['id']}/redeliver")
    assert (again["status"], again["next_attempt_at"]) == ("pending", NOW)
    assert attempted(services, 2)["status"] == "delivered"
    services.create(f"{PATH}/{one['id']}/redeliver")
    assert [attempt["status"] for attempt in attempted(services, 3)["attempts"]] == [500, 200, 200]


def test_nothing_is_sent_to_what_is_gone(services: Services, receiver: Receiver) -> None:
    endpoint = listen(services, receiver)["id"]
    services.customer()
    redeliver = f"{PATH}/{attempted(services)['id']}/redeliver"
    services.create(f"/v1/webhook_endpoints/{endpoint}", data={"disabled": "true"})
    assert "is not enabled" in error_of(services.request("POST", redeliver), 400)["message"]
    services.request("DELETE", f"/v1/webhook_endpoints/{endpoint}")
    assert "is not enabled" in error_of(services.request("POST", redeliver), 400)["message"]
    for method, path in (("GET", "del_none"), ("POST", "del_none/redeliver")):
        error = error_of(services.request(method, f"{PATH}/{path}"), 404)
        assert error["message"] == "No such delivery: 'del_none'"


def test_a_ping(services: Services, receiver: Receiver) -> None:
    """Given a destination that listens to something else, then a ping reaches it all the same."""
    made = make(services, receiver.url, "snapshot", "customer.deleted")
    path = f"{DESTINATIONS}/{made['id']}"
    told = done(post(services, f"{path}/ping"))
    assert (told["object"], told["type"]) == ("v2.core.event", "v2.core.event_destination.ping")
    assert told["related_object"] == {
        "id": made["id"],
        "type": "v2.core.event_destination",
        "url": path,
    }
    assert attempted(services, event=told["id"])["status"] == "delivered"
    (heard,) = receiver.heard
    assert json.loads(heard.body)["id"] == told["id"]
    assert done(services.request("GET", f"/v2/core/events/{told['id']}", headers=HERE)) == told
    done(post(services, f"{path}/disable"))
    assert post(services, f"{path}/ping").status_code == 400


def test_a_thin_twin_and_its_snapshot(services: Services, receiver: Receiver) -> None:
    """Given a listener of each kind, then each is told in its own way, and nothing else."""
    listen(services, receiver, "*")
    made = make(services, f"{receiver.url}/thin", "thin", "*")
    customer = services.customer()
    (thin,), (snapshot,) = (
        services.run(asyncio.to_thread(receiver.wait, 1, path)) for path in ("/thin", "/")
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
