"""Bodies: how they are unpacked, how large they may be, and how many are in memory at a time."""

import asyncio
import gzip
import json
import socket
import sys
import zlib
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
import stripe

from meterhouse import limits
from meterhouse.api.body import Bodies, Body, Hold
from meterhouse.api.routes import ROUTES
from meterhouse.errors import Refusal
from meterhouse.gone import Disconnected
from meterhouse.metrics import Metrics
from meterhouse.wire.envelope import invalid_api_key
from tests.api.samples import error_of, make_customer, make_meter, total
from tests.server import TEST_KEY, Server

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

VERSION = {"stripe-version": "2026-10-28.endive"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
JSON = {**VERSION, "content-type": "application/json"}
SMALL = limits.REQUEST_BODY_SMALL_BYTES
HAT = "\N{TOP HAT}"  # 12 bytes as JSON escapes it, or a form

# ---- Encodings ----

PACKED: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("zstd", zstd.compress),
    ("gzip, zstd", lambda data: zstd.compress(gzip.compress(data))),
    ("identity", bytes),
]


@pytest.mark.parametrize(("encoding", "pack"), PACKED)
def test_a_form_of_v1_may_be_packed(
    http: httpx.Client, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    headers = {**FORM, "content-encoding": encoding}
    made = http.post("/v1/customers", content=pack(b"name=Ada&metadata[a]=1"), headers=headers)
    assert (made.json()["name"], made.json()["metadata"]) == ("Ada", {"a": "1"})


@pytest.mark.parametrize(("encoding", "pack"), PACKED)
def test_a_document_of_v2_may_be_packed_and_come_in_chunks(
    http: httpx.Client, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    body = json.dumps({"events": [{"event_name": "x" * 100, "payload": {}}] * 100}).encode()
    packed = pack(body)
    chunks = (packed[at : at + 100] for at in range(0, len(packed), 100))
    headers = {**JSON, "content-encoding": encoding}
    answer = http.post("/v2/billing/meter_event_stream", content=chunks, headers=headers)
    assert (answer.status_code, answer.json()) == (200, {})


def test_encodings_in_several_lines_are_one_list(http: httpx.Client) -> None:
    headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-encoding", "gzip"),
        ("content-encoding", "zstd"),
    ]
    body = zstd.compress(gzip.compress(b"name=Ada"))
    assert http.post("/v1/customers", content=body, headers=headers).json()["name"] == "Ada"


def test_a_retry_may_be_packed_in_another_way(http: httpx.Client) -> None:
    headers = {**FORM, "idempotency-key": "packed"}
    made = http.post("/v1/customers", content=b"name=Ada", headers=headers)
    again = http.post(
        "/v1/customers",
        content=gzip.compress(b"name=Ada"),
        headers={**headers, "content-encoding": "gzip"},
    )
    assert (again.json(), again.headers["idempotent-replayed"]) == (made.json(), "true")


GROWS = gzip.compress(bytes(64 * 1_048_576))
LARGER = "Invalid request: the body is larger than {} bytes."
NOT_GZIP = (
    "Invalid request: the body is not valid gzip, which the header Content-Encoding says it is."
)
UNKNOWN = "Invalid Content-Encoding: br; must be identity, or up to 3 of gzip, deflate, zstd"


@pytest.mark.parametrize(
    ("encoding", "body", "status", "code", "message"),
    [
        ("gzip", b"plain", 400, "invalid_fields", NOT_GZIP),
        ("gzip", gzip.compress(b"{}")[:-1], 400, "invalid_fields", NOT_GZIP),
        ("gzip", gzip.compress(b"{}") + b"more", 400, "invalid_fields", NOT_GZIP),
        ("br", b"anything", 415, "unsupported_media_type", UNKNOWN),
        ("gzip", GROWS, 413, "request_too_large", LARGER),
    ],
)
def test_what_cannot_be_unpacked_is_refused_in_the_shape_of_the_api(
    http: httpx.Client, encoding: str, body: bytes, status: int, code: str, message: str
) -> None:
    encoded = {"content-encoding": encoding}
    v1 = http.post("/v1/customers", content=body, headers={**FORM, **encoded})
    assert error_of(v1, status) == {
        "message": message.format(limits.REQUEST_BODY_BYTES_MAX),
        "type": "invalid_request_error",
    }
    v2 = http.post("/v2/billing/meter_event_stream", content=body, headers={**JSON, **encoded})
    error = v2.json()["error"]
    assert (v2.status_code, error["code"]) == (status, code)
    assert error["message"] == message.format(limits.STREAM_BODY_BYTES_MAX)


def test_a_header_without_a_body_says_nothing(http: httpx.Client) -> None:
    headers = {"content-encoding": "br"}
    assert http.get("/v1/account", headers=headers).status_code == 200
    assert http.post("/v1/customers", headers=headers).status_code == 200


# ---- The largest bodies that keep every limit ----


def long(length: int, number: int) -> str:
    """Return another text of `length` characters outside of ASCII for each number."""
    return HAT * (length - 3) + f"{number:03}"


def largest_event(number: int, customer: str = "") -> dict[str, Any]:
    keys = limits.EVENT_PAYLOAD_KEYS_MAX - 2
    payload = {long(100, key): HAT * 100 for key in range(keys)}
    return {
        "event_name": HAT * 100,
        "identifier": long(100, number),
        "payload": {**payload, "stripe_customer_id": customer, "value": "1"},
    }


def test_the_largest_stream_that_the_sdk_sends(client: stripe.StripeClient) -> None:
    meter, customer = make_meter(client, HAT * 100), make_customer(client)
    events = [largest_event(number, customer) for number in range(limits.STREAM_EVENTS_MAX)]
    body = json.dumps({"events": events})
    assert limits.STREAM_BODY_BYTES_MAX * 0.9 < len(body) < limits.STREAM_BODY_BYTES_MAX
    client.raw_request("post", "/v2/billing/meter_event_stream", events=events)
    assert total(client, meter, customer) == limits.STREAM_EVENTS_MAX


def test_the_largest_event_that_the_sdk_sends(client: stripe.StripeClient) -> None:
    make_meter(client, HAT * 100)
    first, second = largest_event(1), largest_event(2)
    for event in (first, second):
        event["payload"]["stripe_customer_id"] = "cus"
    assert client.v1.billing.meter_events.create(first).identifier == first["identifier"]  # type: ignore[arg-type]
    assert client.v2.billing.meter_events.create(second).identifier == second["identifier"]  # type: ignore[arg-type]


def test_the_largest_customer(http: httpx.Client) -> None:
    text, place = HAT * 5_000, ("city", "country", "line1", "line2", "postal_code", "state")
    one_line = ("description", "source", "coupon", "promotion_code", "payment_method")
    settings = ("default_payment_method", "footer", "rendering_options][template")
    data = {
        **dict.fromkeys(one_line, text),
        **{f"address[{name}]": text for name in place},
        **{f"shipping[address][{name}]": text for name in place},
        **{f"shipping[{name}]": text for name in ("name", "phone")},
        **{f"invoice_settings[{name}]": text for name in settings},
        **{f"metadata[{long(40, key)}]": HAT * 500 for key in range(50)},
    }
    assert http.post("/v1/customers", data=data).status_code == 200


def test_the_most_identifiers_that_are_resent(http: httpx.Client) -> None:
    identifiers = [long(100, number) for number in range(limits.RESEND_IDENTIFIERS_ITEMS_MAX)]
    body = json.dumps({"identifiers": identifiers, "dry_run": True})
    answer = http.post("/meterhouse/v1/invalid_meter_events/resend", content=body, headers=JSON)
    assert answer.status_code == 200, answer.text


def test_only_a_stream_may_be_as_large_as_a_stream() -> None:
    large = [row.path for row in ROUTES if row.body_bytes_max > limits.REQUEST_BODY_BYTES_MAX]
    assert large == ["/v2/billing/meter_event_stream"]


# ---- Many at once ----


@pytest.fixture
def bodies(monkeypatch: pytest.MonkeyPatch) -> Bodies:
    """Return the reader of bodies, with memory for three that have twice what is small."""
    monkeypatch.setattr(limits, "REQUEST_BODIES_BYTES_MAX", 6 * SMALL)
    return Bodies(Metrics())


class Sender:
    """One request: `send` gives the next chunk, `over` the last one."""

    def __init__(
        self, bodies: Bodies, length: int | bytes | None = 2 * SMALL, who: int = 0, **more: Any
    ) -> None:
        self._chunks: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        stated = b"%d" % length if isinstance(length, int) else length
        asked = {"bytes_max": 4 * SMALL, "encoding": None, "admit": self._admit, **more}
        self._who = who
        self.reading = asyncio.create_task(bodies.read(self._chunks.get, length=stated, **asked))

    async def send(self, chunk: bytes, *, more: bool = True) -> None:
        self._chunks.put_nowait({"type": "http.request", "body": chunk, "more_body": more})
        for _ in range(5):  # as often as the reader lets the loop go on, and more
            await asyncio.sleep(0)

    async def over(self) -> Body:
        await self.send(b"", more=False)
        return await self.reading

    async def _admit(self) -> int:
        return self._who

    def leave(self) -> None:
        self._chunks.put_nowait({"type": "http.disconnect"})


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await body()

    asyncio.run(bounded())


def test_small_bodies_hold_nothing(bodies: Bodies) -> None:
    async def body() -> None:
        senders = [Sender(bodies, SMALL) for _ in range(50)]
        for one in senders:
            await one.send(b"a" * (SMALL - 1))
            await one.send(b"b")
        for one in senders:
            assert await one.over() == (b"a" * (SMALL - 1) + b"b", None)

    run(body)


def test_larger_ones_wait_for_their_turn_in_order(bodies: Bodies) -> None:
    async def body() -> None:
        senders = [Sender(bodies) for _ in range(6)]
        for one in senders:
            await one.send(b"a" * (SMALL + 1))
            await one.send(b"b" * (SMALL - 1), more=False)
        first, second, third, fourth, fifth, sixth = senders
        ended = [one.reading.done() for one in senders]
        assert ended == [True, True, True, False, False, False]
        for ahead, behind in ((first, fourth), (third, fifth), (second, sixth)):
            bodies.release(ahead.reading.result().held)
            assert len((await behind.reading).content) == 2 * SMALL

    run(body)


def test_a_sender_has_a_part_of_the_memory_and_keeps_nobody_else_waiting(
    bodies: Bodies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REQUEST_BODIES_SENDER_BYTES_MAX", 4 * SMALL)

    async def body() -> None:
        senders = [Sender(bodies, who=who) for who in (1, 1, 1, 2, 2)]
        for one in senders:
            await one.send(b"a" * (SMALL + 1))
            await one.send(b"b" * (SMALL - 1), more=False)
        first, _, third, fourth, fifth = senders
        ended = [one.reading.done() for one in senders]
        assert ended == [True, True, False, True, False]
        bodies.release(first.reading.result().held)
        assert (await third.reading).held == Hold(1, 2 * SMALL)
        assert not fifth.reading.done()  # for the memory of all is taken
        bodies.release(fourth.reading.result().held)
        assert (await fifth.reading).held == Hold(2, 2 * SMALL)

    run(body)


def test_nothing_is_kept_of_a_body_before_it_is_known_whose_it_is(bodies: Bodies) -> None:
    async def stranger() -> int:
        raise invalid_api_key("sk_test_****")

    async def body() -> None:
        senders = [Sender(bodies, admit=stranger) for _ in range(4)]
        for one in senders:
            await one.send(b"a" * (SMALL + 1))
        assert bodies._free == limits.REQUEST_BODIES_BYTES_MAX
        for one in senders:
            with pytest.raises(Refusal) as caught:
                await one.over()
            assert caught.value.status == 401

    run(body)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/customers", 401),
        ("/v2/billing/meter_event_stream", 401),
        ("/v1/nothing", 404),
        ("/meterhouse/v1/verification", 413),
        ("/meterhouse/v1/backup", 413),
        ("/meterhouse/v1/api_keys", 401),
    ],
)
def test_strangers_hold_no_memory(server: Server, path: str, status: int) -> None:
    """Given many of them whose large bodies do not end, then that of another is read at once."""
    port = int(server.url.rpartition(":")[2])
    size = limits.REQUEST_BODY_BYTES_MAX
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {size}\r\n\r\n"
    beginning = head.encode() + bytes(2 * SMALL)
    count = limits.REQUEST_BODIES_BYTES_MAX // size
    with ExitStack() as opened:
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", port))
            opened.enter_context(client).sendall(beginning)
        answer = httpx.post(
            f"{server.url}/v1/customers",
            content=b"name=" + b"x" * 2 * SMALL,
            headers={**FORM, "authorization": f"Bearer {TEST_KEY}"},
            trust_env=False,
            timeout=limits.REQUEST_BODY_WAIT_SECONDS_MAX,
        )
        assert answer.status_code == 400  # the name is too long, which is read
        stranger = httpx.post(f"{server.url}{path}", content=bytes(2 * SMALL), trust_env=False)
        assert stranger.status_code == status


def test_one_whose_size_is_not_known_holds_the_most_that_it_may_have(bodies: Bodies) -> None:
    async def body() -> None:
        unknown, packed = Sender(bodies, None), Sender(bodies, 100, encoding="gzip")
        await unknown.send(b"a" * (SMALL + 1))
        await packed.send(gzip.compress(bytes(SMALL + 1)))
        assert (await unknown.over()).held == Hold(0, 4 * SMALL)
        assert not packed.reading.done()
        bodies.release(Hold(0, 4 * SMALL))
        assert await packed.over() == (bytes(SMALL + 1), Hold(0, 4 * SMALL))

    run(body)


@pytest.mark.parametrize(
    ("length", "held"),
    [
        (b"%d" % (2 * SMALL), 2 * SMALL),
        (b"0" * 10_000 + b"%d" % (2 * SMALL), 2 * SMALL),
        (b"0", 0),
        (b"0" * 10_000, 0),
        (b"4" * SMALL, None),
        (b"%d" % 10**19, None),
        (b"", 4 * SMALL),
        (b"+9", 4 * SMALL),
        ("٣".encode(), 4 * SMALL),
    ],
)
def test_however_the_length_is_written(bodies: Bodies, length: bytes, held: int | None) -> None:
    """A length that is none tells nothing, and one of any number of digits is compared."""

    async def body() -> None:
        sender = Sender(bodies, length)
        if held == 0:
            assert await sender.over() == (b"", None)
            return
        await sender.send(b"a" * (SMALL + 1))
        if held is None:
            with pytest.raises(Refusal) as caught:
                await sender.over()
            assert caught.value.status == 413
        else:
            assert (await sender.over()).held == Hold(0, held)

    run(body)


def test_who_waits_too_long_hears_of_overload(
    bodies: Bodies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REQUEST_BODY_WAIT_SECONDS_MAX", 0.05)

    async def body() -> None:
        senders = [Sender(bodies) for _ in range(4)]
        for one in senders:
            await one.send(b"a" * (SMALL + 1))
        *_, last = senders
        with pytest.raises(Refusal) as caught:
            await last.over()
        assert caught.value.status == 429
        assert caught.value.headers["Stripe-Should-Retry"] == "true"
        for one in senders[:3]:  # and nothing is held for the one that was refused
            bodies.release((await one.over()).held)
        assert bodies._free == limits.REQUEST_BODIES_BYTES_MAX

    run(body)


@pytest.mark.parametrize("given_up", [True, False])
def test_nothing_stays_held_for_who_goes_away(bodies: Bodies, given_up: bool) -> None:
    async def body() -> None:
        senders = [Sender(bodies) for _ in range(4)]
        for one in senders:
            await one.send(b"a" * (SMALL + 1))
            one.leave()
        if given_up:
            senders[-1].reading.cancel()
        ended = await asyncio.gather(*(one.reading for one in senders), return_exceptions=True)
        last = asyncio.CancelledError if given_up else Disconnected
        assert [type(one) for one in ended] == [Disconnected] * 3 + [last]
        assert bodies._free == limits.REQUEST_BODIES_BYTES_MAX
        assert not bodies._waiting

    run(body)
