"""The websocket of a listening Stripe CLI, which is played by the tests."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import stripe
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from meterhouse.wire.stripecli import SUBPROTOCOL
from tests.api.local import LocalServer, local_server
from tests.api.samples import new_account
from tests.api.websocket import Socket
from tests.server import TEST_KEY, Server

UNKNOWN = {"error": {"message": "Unknown WebSocket ID.", "type": "invalid_request_error"}}


def session(local: LocalServer, *features: str, **data: str) -> dict[str, Any]:
    listen = {"device_name": "laptop", "websocket_features[]": list(features), **data}
    return local.create("/v1/stripecli/sessions", data=listen)


def play(local: LocalServer, work: Callable[[], Awaitable[None]]) -> None:
    local.run(work())


async def customer(local: LocalServer) -> str:
    made = await local.ask("POST", "/v1/customers")
    customer_id: str = made.json()["id"]
    return customer_id


async def deliveries(local: LocalServer) -> list[dict[str, Any]]:
    """Return what is recorded, once the server has had the time to record it."""
    async with asyncio.timeout(60):
        while True:
            answer = await local.ask("GET", "/meterhouse/v1/deliveries")
            found: list[dict[str, Any]] = answer.json()["data"]
            if found:
                return found
            await asyncio.sleep(0.02)


def test_an_event_is_heard_acknowledged_forwarded_and_recorded(local: LocalServer) -> None:
    asked = session(local, "v2_events")

    async def work() -> None:
        socket = Socket(local, asked)
        accepted = await socket.open()
        assert accepted == {"type": "websocket.accept", "subprotocol": SUBPROTOCOL}
        made = await customer(local)
        frame = await socket.hear()
        payload, signature = frame["payload"], frame["http_headers"]["Stripe-Signature"]
        stripe.WebhookSignature.verify_header(payload, signature, asked["secret"], tolerance=None)
        event = json.loads(payload)
        assert event["type"] == "v1.customer.created"
        assert event["related_object"]["id"] == made
        about = {"webhook_id": frame["destination_id"], "webhook_conversation_id": ""}
        await socket.tell(type="event_ack", event_id=event["id"], **about)
        local.clock.advance(12)
        await socket.tell(
            type="webhook_response", notification_id=event["id"], status=500, body="oh", **about
        )
        [recorded] = await deliveries(local)
        assert recorded["event"] == event["id"]
        assert recorded["destination"] == asked["device_token"] == frame["destination_id"]
        assert recorded["status"] == "failed"
        [attempt] = recorded["attempts"]
        assert (attempt["status"], attempt["duration_ms"], attempt["response"]) == (500, 12, "oh")
        await socket.close()

    play(local, work)


def test_only_features_that_were_asked_for_are_heard(local: LocalServer) -> None:
    snapshots, logs = session(local, "webhooks"), session(local, "request_logs")

    async def work() -> None:
        first, second = Socket(local, snapshots), Socket(local, logs)
        for socket in (first, second):
            await socket.open()
        made = await customer(local)
        frames = [await first.hear() for _ in range(2)]
        assert [frame["type"] for frame in frames] == ["webhook_event"] * 2
        assert json.loads(frames[0]["event_payload"])["data"]["object"]["id"] == made
        told = [await second.hear() for _ in range(3)]  # two sessions and the customer
        assert {frame["type"] for frame in told} == {"request_log_event"}
        assert json.loads(told[2]["event_payload"])["url"] == "/v1/customers"
        for socket in (first, second):
            await socket.close()

    play(local, work)


def test_a_connection_with_the_same_id_goes_on_where_the_last_one_ended(local: LocalServer) -> None:
    asked = session(local, "v2_events")

    async def work() -> None:
        first = Socket(local, asked)
        await first.open()
        made = [await customer(local)]
        await first.hear()  # and does not acknowledge it
        await first.close()
        made.append(await customer(local))
        second = Socket(local, asked)
        await second.open()
        heard = [json.loads((await second.hear())["payload"]) for _ in made]
        assert [event["related_object"]["id"] for event in heard] == made
        await second.close()

    play(local, work)


def test_a_session_outlives_the_server(tmp_path: Path) -> None:
    async def before(local: LocalServer, asked: dict[str, Any]) -> list[str]:
        socket = Socket(local, asked)
        await socket.open()
        made = [await customer(local), await customer(local)]
        read = json.loads((await socket.hear())["payload"])["id"]
        await socket.tell(type="event_ack", event_id=read)
        await socket.close()
        return made[1:]

    async def after(local: LocalServer, asked: dict[str, Any], made: list[str]) -> None:
        made.append(await customer(local))
        socket = Socket(local, asked)
        await socket.open()
        heard = [json.loads((await socket.hear())["payload"]) for _ in made]
        assert [event["related_object"]["id"] for event in heard] == made
        await socket.close()

    with local_server(tmp_path) as local:
        asked = session(local, "v2_events")
        made = local.run(before(local, asked))
    with local_server(tmp_path) as local:
        local.run(after(local, asked, made))


def test_a_newer_connection_ends_the_older_one(local: LocalServer) -> None:
    asked = session(local, "v2_events")

    async def work() -> None:
        first, second = Socket(local, asked), Socket(local, asked)
        await first.open()
        await second.open()
        assert (await first.next())["type"] == "websocket.close"
        await first.close()
        await customer(local)
        assert (await second.hear())["type"] == "v2_event"
        await second.close()

    play(local, work)


def test_a_client_need_not_offer_the_subprotocol(local: LocalServer) -> None:
    asked = session(local, "webhooks")

    async def work() -> None:
        socket = Socket(local, asked, "something-else")
        assert await socket.open() == {"type": "websocket.accept", "subprotocol": None}
        await socket.tell(type="hello")
        await socket.close()

    play(local, work)


@pytest.mark.parametrize(
    "changes",
    [
        {"websocket_id": "cliws_none"},
        {"websocket_id": ""},
        {"websocket_url": "ws://meterhouse/subscribe/acct_none"},
        {"websocket_url": "ws://meterhouse/v1/customers"},
    ],
)
def test_an_unknown_session_is_told_so(local: LocalServer, changes: dict[str, str]) -> None:
    asked = session(local, "webhooks") | changes

    async def work() -> None:
        socket = Socket(local, asked)
        start = await socket.open()
        assert (start["type"], start["status"]) == ("websocket.http.response.start", 404)
        assert json.loads((await socket.next())["body"]) == UNKNOWN

    play(local, work)


def test_an_event_is_told_again_to_who_listens(local: LocalServer) -> None:
    made = local.customer()
    [event] = local.request("GET", "/v1/events").json()["data"]
    asked = session(local, "webhooks")

    async def work() -> None:
        socket = Socket(local, asked)
        await socket.open()
        path = f"/v1/events/{event['id']}/retry"
        again = await local.ask("POST", path, data={"for_stripecli": "true"})
        assert again.json()["id"] == event["id"]
        frame = await socket.hear()
        assert json.loads(frame["event_payload"])["data"]["object"]["id"] == made
        await socket.close()

    play(local, work)


def test_a_retry_of_asking_for_an_event_again_tells_nothing(local: LocalServer) -> None:
    local.customer()
    [event] = local.request("GET", "/v1/events").json()["data"]
    asked = session(local, "webhooks")

    async def work() -> None:
        socket = Socket(local, asked)
        await socket.open()
        path = f"/v1/events/{event['id']}/retry"
        for data in (
            {"for_stripecli": "true", "webhook_endpoint": "we_none"},
            *[{"for_stripecli": "true"}] * 2,
        ):
            await local.ask("POST", path, data=data, headers={"Idempotency-Key": str(data)})
        await local.ask("POST", "/v1/customers")
        heard = [json.loads((await socket.hear())["event_payload"])["id"] for _ in range(3)]
        assert heard[:2] == [event["id"]] * 2  # at both versions
        assert heard[2] != event["id"]
        await socket.close()

    play(local, work)


def test_over_a_real_socket(server: Server) -> None:
    account = new_account(server)
    client = stripe.StripeClient(
        TEST_KEY, base_addresses={"api": server.url}, stripe_account=account
    )
    answer = client.raw_request(
        "post", "/v1/stripecli/sessions", device_name="laptop", websocket_features=["v2_events"]
    )
    asked = answer.data
    subprotocol: Any = SUBPROTOCOL
    with connect(
        asked["websocket_url"],
        additional_headers={"Websocket-Id": asked["websocket_id"]},
        subprotocols=[subprotocol],
        proxy=None,
    ) as socket:
        assert socket.subprotocol == SUBPROTOCOL
        socket.ping().wait(30)
        made = client.v1.customers.create()
        frame = json.loads(socket.recv(5))
    assert json.loads(frame["payload"])["related_object"]["id"] == made.id
    with pytest.raises(InvalidStatus) as refused:
        connect(asked["websocket_url"], additional_headers={"Websocket-Id": "no"}, proxy=None)
    assert json.loads(refused.value.response.body) == UNKNOWN
