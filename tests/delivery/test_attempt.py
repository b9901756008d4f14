import asyncio
import gzip
import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

import httpx
import pytest
import stripe

from meterhouse import limits
from meterhouse.clock import ManualClock
from meterhouse.config import Config
from meterhouse.delivery.attempt import HEADERS, Sender, document
from meterhouse.delivery.attempt import _response as response
from meterhouse.ledger.deliveries import Attempt, Owed
from meterhouse.ledger.destinations import Secret
from meterhouse.metering.model import Scope
from tests.delivery.desk import NOW, owed
from tests.ledger.samples import thin
from tests.receiver import WAIT_SECONDS_MAX, Reply, receiving


def attempt(one: Owed, **settings: str) -> Attempt:
    """Make one attempt."""

    async def body() -> Attempt:
        sender = Sender(Config.read(settings, {}), ManualClock(NOW))
        sender.open()
        try:
            return await sender.attempt(one)
        finally:
            await sender.close()

    return asyncio.run(body())


def test_what_arrives() -> None:
    with receiving() as receiver:
        secrets = [Secret("whsec_new", None), Secret("whsec_old", NOW + 1), Secret("whsec_x", NOW)]
        made = attempt(owed(f"{receiver.url}/hook?a=b", secrets=secrets))
        (heard,) = receiver.heard
    assert (made.at, made.status, made.error, made.response) == (NOW, 200, None, "ok")
    assert heard.path == "/hook?a=b"
    assert heard.headers["Host"] == receiver.url.removeprefix("http://")
    assert HEADERS.items() <= dict(heard.headers).items()
    event = json.loads(heard.body)
    assert (event["object"], event["id"], event["pending_webhooks"]) == ("event", "evt_1", 1)
    signature = heard.headers["Stripe-Signature"]
    for secret in ("whsec_new", "whsec_old"):
        assert stripe.WebhookSignature.verify_header(heard.body.decode(), signature, secret)
    assert signature.count("v1=") == 2


@pytest.mark.parametrize(
    ("origin", "more", "expected"),
    [
        (Scope(1, "acct_1", False), {}, {"livemode": False}),
        (Scope(1, "acct_1", True), {}, {"livemode": True}),
        (Scope(2, "acct_2", False), {}, {"account": "acct_2"}),
        (
            Scope(1, "acct_1", False),
            {"api_version": "2024-06-20"},
            {"api_version": "2024-06-20"},
        ),
    ],
)
def test_a_snapshot_event(origin: Scope, more: dict[str, Any], expected: dict[str, Any]) -> None:
    shown = document(owed("", **more)._replace(origin=origin))
    assert expected.items() <= shown.items()
    assert ("account" in shown) == (origin.id != 1)


def test_a_thin_event_tells_nothing_but_its_object() -> None:
    event = thin(1, "evt_test_65", body={"reason": "secret"})
    shown = document(owed("")._replace(notification=event))
    assert shown["object"] == "v2.core.event"
    assert shown["context"] is None
    assert "data" not in shown
    theirs = owed("")._replace(notification=event, origin=Scope(2, "acct_2", False))
    assert document(theirs)["context"] == "acct_2"


@pytest.mark.parametrize(
    ("reply", "status", "response"),
    [
        (Reply(204, b""), 204, ""),
        (Reply(500, b"oh no"), 500, "oh no"),
        (Reply(200, b"a" * 5_000), 200, "a" * limits.DELIVERY_RESPONSE_BYTES_MAX),
        (Reply(200, b"a\0b\xff"), 200, "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"),
        (Reply(200, gzip.compress(b"hello"), {"Content-Encoding": "gzip"}), 200, "hello"),
        (Reply(200, b"broken", {"Content-Encoding": "gzip"}), 200, ""),
        (
            Reply(200, gzip.compress(b"a" * 10_000_000), {"Content-Encoding": "gzip"}),
            200,
            "a" * limits.DELIVERY_RESPONSE_BYTES_MAX,
        ),
    ],
)
def test_answers(reply: Reply, status: int, response: str) -> None:
    with receiving() as receiver:
        receiver.reply = lambda _: reply
        made = attempt(owed(receiver.url))
    assert (made.status, made.error, made.response) == (status, None, response)


def test_redirects_are_not_followed() -> None:
    with receiving() as receiver:
        elsewhere = {"Location": f"{receiver.url}/elsewhere"}
        receiver.reply = lambda _: Reply(302, b"", elsewhere)
        made = attempt(owed(receiver.url))
        assert len(receiver.heard) == 1
    assert made.status == 302


def test_cookies_are_not_sent_to_others_at_the_same_address() -> None:
    async def body(url: str) -> None:
        sender = Sender(Config.read({}, {}), ManualClock(NOW))
        sender.open()
        try:
            await sender.attempt(owed(url))
            await sender.attempt(owed(f"{url}/other"))
        finally:
            await sender.close()

    with receiving() as receiver:
        receiver.reply = lambda _: Reply(200, b"", {"Set-Cookie": "session=secret; Path=/"})
        asyncio.run(body(receiver.url))
    first, second = receiver.heard
    assert (first.path, second.path) == ("/", "/other")
    assert "Cookie" not in second.headers


def test_a_reset_connection() -> None:
    with receiving() as receiver:
        receiver.reply = lambda _: Reply(0)
        made = attempt(owed(receiver.url))
    assert made.status is None
    assert made.error


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        made = attempt(owed(f"http://127.0.0.1:{free.getsockname()[1]}/"))
    assert (made.status, made.error) == (None, "connection refused")


def test_a_slow_answer_ends_the_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DELIVERY_ATTEMPT_SECONDS_MAX", 0.2)
    with receiving() as receiver:
        receiver.reply = receiver.hold
        made = attempt(owed(receiver.url))
    assert (made.status, made.error) == (None, "no answer within 0.2 seconds")
    assert 200 <= made.duration_ms < WAIT_SECONDS_MAX * 1000


End = Literal["hold", "close", "reset"]


@contextmanager
def answering(
    beginning: bytes, end: End = "hold", then: bytes = b"", read: threading.Event | None = None
) -> Iterator[str]:
    """Answer with `beginning`, go on with `then` forever, if it is anything, and end.

    The connection is held until the test is over, or broken off once the client has `read` a head.
    """
    over = threading.Event()

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.recv(65_536)
            connection.sendall(beginning)
            while then and not over.is_set():
                connection.sendall(then)
            (read if read and end != "hold" else over).wait(WAIT_SECONDS_MAX)
            if end == "reset":
                lingering = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            over.set()
            thread.join()


_SIZED = b"Content-Length: 1000\r\n\r\nbeginning"
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n9\r\nbeginning\r\n"


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize(
    ("beginning", "end", "then"),
    [
        (_SIZED, "hold", b""),
        (_SIZED, "close", b""),
        (_SIZED, "reset", b""),
        (_CHUNKED, "hold", b""),
        (_CHUNKED, "close", b""),
        (_CHUNKED, "hold", b"no chunk\r\n"),
        (b"\r\nbeginning", "hold", b"a" * 65_536),
        (b"\r\nbeginning", "reset", b""),
    ],
)
def test_what_becomes_of_the_body_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, status: int, beginning: bytes, end: End, then: bytes
) -> None:
    read = threading.Event()

    async def respond(answer: httpx.Response) -> str:
        read.set()
        return await response(answer)

    monkeypatch.setattr(limits, "DELIVERY_RESPONSE_SECONDS_MAX", 0.1)
    monkeypatch.setattr("meterhouse.delivery.attempt._response", respond)
    with answering(b"HTTP/1.1 %d Said\r\n" % status + beginning, end, then, read) as url:
        made = attempt(owed(url))
    assert (made.status, made.error) == (status, None)
    if end != "reset":  # which may throw away what has come
        assert made.response.startswith("beginning")
    assert len(made.response) <= limits.DELIVERY_RESPONSE_BYTES_MAX


@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nServer: x\r\n"])
def test_an_answer_without_all_of_its_head_is_none(
    monkeypatch: pytest.MonkeyPatch, beginning: bytes
) -> None:
    monkeypatch.setattr(limits, "DELIVERY_ATTEMPT_SECONDS_MAX", 0.2)
    with answering(beginning) as url:
        made = attempt(owed(url))
    assert (made.status, made.error) == (None, "no answer within 0.2 seconds")


def test_no_https_is_told() -> None:
    with receiving() as receiver:
        made = attempt(owed(receiver.url.replace("http", "https")))
    assert made.status is None
    assert made.error


def test_a_name_that_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: object, **__: object) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("meterhouse.delivery.attempt.resolve", resolve)
    made = attempt(owed("http://nowhere.example/"))
    assert made.status is None
    assert made.error is not None
    assert "Name or service not known" in made.error


def test_the_connection_goes_to_the_address_that_was_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given a name that exists nowhere, then its one look-up decides, and `Host` has the name."""

    async def resolve(host: str, *_: object, **__: object) -> list[str]:
        assert host == "hooks.example"
        return ["127.0.0.1"]

    monkeypatch.setattr("meterhouse.delivery.attempt.resolve", resolve)
    with receiving() as receiver:
        made = attempt(owed(receiver.url.replace("127.0.0.1", "hooks.example")))
        (heard,) = receiver.heard
    assert made.status == 200
    assert heard.headers["Host"].startswith("hooks.example:")


def test_the_next_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: object, **__: object) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    monkeypatch.setattr("meterhouse.delivery.attempt.resolve", resolve)
    with receiving() as receiver:
        assert attempt(owed(receiver.url)).status == 200


@pytest.mark.parametrize(
    ("settings", "livemode", "local", "status"),
    [
        ({}, False, True, 200),
        ({}, False, False, None),
        ({}, True, True, None),
        ({"private_destinations": "closed"}, False, True, None),
        ({"private_destinations": "open"}, True, False, 200),
    ],
)
def test_private_addresses(
    settings: dict[str, str], livemode: bool, local: bool, status: int | None
) -> None:
    with receiving() as receiver:
        made = attempt(owed(receiver.url, livemode=livemode, local=local), **settings)
        assert len(receiver.heard) == (1 if status else 0)
    assert made.status == status
    if status is None:
        assert made.error is not None
        assert "not public" in made.error or "https" in made.error
