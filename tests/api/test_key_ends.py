"""What a key has begun ends with it, however it ends."""

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from meterhouse import limits
from meterhouse.errors import Refusal
from meterhouse.gone import BREAK_OFF, until_gone
from meterhouse.ledger import audit, keys
from tests.api.local import DAY, HOUR, NOW, LocalServer
from tests.api.meterhouse.samples import stream
from tests.api.samples import error_of, new_key
from tests.api.v2.samples import STREAM, at, done, event, post, refused
from tests.cli.samples import meterhouse
from tests.server import Server

KEYS = "/meterhouse/v1/api_keys"


class Key:
    """A key of its own, and the ways in which it ends."""

    def __init__(self, local: LocalServer) -> None:
        self.local = local
        self._operator = local.meterhouse.services.operator_token
        made = local.create(KEYS, key=self._operator, data={"expires_at": str(NOW + HOUR)})
        self.id, self.secret = made["id"], made["secret"]

    def revoke(self) -> None:
        """Revoke it over HTTP."""
        self.local.create(f"{KEYS}/{self.id}/revoke", key=self._operator)

    def revoke_elsewhere(self) -> None:
        """Revoke it as another node does; what was looked up before is remembered for a moment."""
        with self.local.meterhouse.ledger.write() as connection:
            keys.revoke_key(connection, self.id, audit.system(NOW))
        self.local.clock.advance(limits.CREDENTIAL_CACHE_SECONDS * 1000)

    def expire(self) -> None:
        """Let its time go by."""
        self.local.clock.advance(HOUR * 1000)


End = Callable[[Key], None]
_BESIDE = [Key.revoke_elsewhere, Key.expire]
ends = pytest.mark.parametrize("end", [Key.revoke, *_BESIDE])
ends_beside = pytest.mark.parametrize("end", _BESIDE)


@pytest.fixture
def key(local: LocalServer) -> Key:
    return Key(local)


def test_an_expired_key_hears_so(local: LocalServer, key: Key) -> None:
    local.clock.advance(HOUR * 1000 - 1)
    assert local.request("GET", "/v1/account", key=key.secret).status_code == 200
    local.clock.advance(limits.CREDENTIAL_CACHE_SECONDS * 1000)
    error = error_of(local.request("GET", "/v1/account", key=key.secret), 401)
    assert error == {
        "code": "api_key_expired",
        "doc_url": "https://stripe.com/docs/error-codes/api-key-expired",
        "message": f"Expired API Key provided: sk_test_****{key.secret[-4:]}",
        "type": "invalid_request_error",
    }


@ends
def test_the_token_of_a_session(local: LocalServer, key: Key, end: End) -> None:
    made = done(post(local, "/v2/billing/meter_event_session", key=key.secret))
    token, events = made["authentication_token"], {"events": [event(local.customer())]}
    done(post(local, STREAM, events, key=token))
    end(key)
    error = refused(post(local, STREAM, events, key=token), 400)
    assert error["type"] == "temporary_session_expired"


@ends
def test_an_embed_token(local: LocalServer, key: Key, end: End) -> None:
    customer, meter = local.customer(), local.meter()
    bound = {"customer": customer, "meters[]": meter, "expires_in": str(DAY)}
    made = local.create("/meterhouse/v1/embed_tokens", key=key.secret, data=bound)
    asked = {
        "customer": customer,
        "meters[0][meter]": meter,
        "starts_at": NOW - DAY,
        "ends_at": NOW + DAY,
    }

    def ask() -> httpx.Response:
        path = "/v1/billing/analytics/meter_usage"
        headers = {"Stripe-Version": "2026-10-28.preview"}
        return local.request("GET", path, key=made["token"], params=asked, headers=headers)

    done(ask())
    assert local.request("GET", "/embed/usage", params={"token": made["token"]}).status_code == 200
    end(key)
    assert error_of(ask(), 401)["message"] == "The embed token has expired; make a new one."
    assert local.request("GET", "/embed/usage", params={"token": made["token"]}).status_code == 401


@ends_beside
def test_a_question_that_takes_long(local: LocalServer, key: Key, end: End) -> None:
    async def work() -> None:
        authentication = local.meterhouse.services.authentication
        credential = await authentication.credential(key.secret, "")
        receive = authentication.bounded(asyncio.Queue[Any]().get, credential)
        asking = asyncio.create_task(until_gone(receive, asyncio.Event().wait()))
        await asyncio.sleep(0)
        end(key)
        with pytest.raises(Refusal, match="Invalid API Key provided: sk_test_"):
            await asyncio.wait_for(asking, 60)
        assert not authentication._watch._watched

    local.run(work())


class Reader:
    """A client that asks for an export and reads only the first piece of it."""

    def __init__(self, local: LocalServer, key: Key, meter: str) -> None:
        self._scope = {
            "type": "http",
            "method": "GET",
            "path": "/meterhouse/v1/usage",
            "query_string": urlencode(
                {"meters[0][meter]": meter, "starts_at": NOW - DAY, "ends_at": NOW}
            ).encode(),
            "headers": [(b"authorization", f"Bearer {key.secret}".encode())],
            "http_version": "1.1",
            "extensions": {BREAK_OFF: self._break_off},
        }
        self._local = local
        self._requests: asyncio.Queue[Any] = asyncio.Queue()
        self._requests.put_nowait({"type": "http.request", "body": b""})
        self.heard: list[dict[str, Any]] = []
        self.reads = asyncio.Event()
        self.broken_off = False

    def _break_off(self) -> None:
        self.broken_off = True
        self._requests.put_nowait({"type": "http.disconnect"})

    async def _send(self, message: Any) -> None:
        self.heard.append(message)
        if message["type"] == "http.response.body":
            self.reads.set()
            await asyncio.Event().wait()

    async def ask(self) -> None:
        await self._local.meterhouse.asgi(self._scope, self._requests.get, self._send)


@ends_beside
def test_an_export_that_is_read(local: LocalServer, key: Key, end: End) -> None:
    meter = local.meter()
    stream(local, event(local.customer(), timestamp=at(-60)))

    async def work() -> None:
        reader = Reader(local, key, meter)
        asking = asyncio.create_task(reader.ask())
        await asyncio.wait_for(reader.reads.wait(), 10)
        end(key)
        await asyncio.wait_for(asking, 60)
        begin, piece = reader.heard
        assert begin["status"] == 200
        assert piece["more_body"]
        assert reader.broken_off
        assert not local.meterhouse.services.exports._held

    local.run(work())


def test_a_cli_that_listens_to_a_real_server(server: Server) -> None:
    secret = new_key(server, "--name", "listening")
    listed = command(server, "list").splitlines()
    (row,) = (line for line in listed if "listening" in line)
    asked = httpx.post(
        f"{server.url}/v1/stripecli/sessions",
        auth=(secret, ""),
        data={"device_name": "laptop", "websocket_features[]": "webhooks"},
        trust_env=False,
    ).json()
    headers = {"Websocket-Id": asked["websocket_id"]}
    with connect(asked["websocket_url"], additional_headers=headers, proxy=None) as socket:
        command(server, "revoke", row.split()[0])
        with pytest.raises(ConnectionClosed):
            socket.recv(10)
    with pytest.raises(InvalidStatus) as turned_away:
        connect(asked["websocket_url"], additional_headers=headers, proxy=None)
    body = json.loads(turned_away.value.response.body)
    assert body["error"]["message"] == "Unknown WebSocket ID."


def command(server: Server, *words: str) -> str:
    made = meterhouse("keys", *words, "--data-dir", server.data_dir)
    assert made.exit_code == 0, made.output
    return made.stdout
