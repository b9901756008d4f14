"""Requests as finished bytes, as the official Python SDK sends them.

What must differ from request to request (identifiers, idempotency keys) is random, as real ones
are, so that no index finds its next key beside its last.
"""

import os
import random
import time
from collections.abc import Sequence
from urllib.parse import urlencode

import msgspec

from benchmarks.load import MakeRequest

_VERSION = "2026-10-28.endive"
_CLIENT = (
    '{"bindings_version": "16.1.0", "lang": "python", "publisher": "stripe", "httplib": "requests",'
    ' "lang_version": "3.11.15", "platform": "Linux-6.1-x86_64-with-glibc2.41"}'
)
_TOKEN = "T" * 32  # stands for 32 random hexadecimal digits
_SECOND = "0000-00-00T00:00:00"  # stands for the second before the request is sent
_TEMPLATES = 64
_DAY_SECONDS = 86_400


def _request(method: str, path: str, key: str, content: tuple[str, bytes], more: str = "") -> bytes:
    content_type, body = content
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
        "User-Agent: Stripe/v1 PythonBindings/16.1.0\r\nAccept-Encoding: gzip, deflate\r\n"
        f"Accept: */*\r\nConnection: keep-alive\r\nX-Stripe-Client-User-Agent: {_CLIENT}\r\n"
        f"Authorization: Bearer {key}\r\nStripe-Version: {_VERSION}\r\n{more}"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def get(path: str, key: str, query: dict[str, str] | None = None, more: str = "") -> bytes:
    """Return a GET request."""
    full = f"{path}?{urlencode(query)}" if query else path
    return _request("GET", full, key, ("application/x-www-form-urlencoded", b""), more)


def post(path: str, key: str, form: dict[str, str], more: str = "") -> bytes:
    """Return a POST request with a form."""
    text = urlencode(form).replace("%5B", "[").replace("%5D", "]")  # as the SDK does
    content = ("application/x-www-form-urlencoded", text.encode())
    return _request("POST", path, key, content, more)


def creates(
    key: str, event_name: str, customers: Sequence[str], *, idempotency: bool
) -> MakeRequest:
    """Return what makes v1 meter-event creates, each with an identifier of its own.

    `idempotency` adds an `Idempotency-Key`, as SDKs do.
    """
    chance = random.Random(1)  # noqa: S311 - the same in every run
    header = f"Idempotency-Key: {_TOKEN}\r\n" if idempotency else ""
    requests = [
        post(
            "/v1/billing/meter_events",
            key,
            {
                "event_name": event_name,
                "payload[stripe_customer_id]": chance.choice(customers),
                "payload[value]": str(chance.randint(1, 1_000)),
                "identifier": _TOKEN,
            },
            header,
        )
        for _ in range(_TEMPLATES * 16)
    ]
    return _filling(requests)


def stream(key: str, events: list[dict[str, object]]) -> bytes:
    """Return a request of the stream."""
    body = msgspec.json.encode({"events": events})
    return _request("POST", "/v2/billing/meter_event_stream", key, ("application/json", body))


def streams(
    key: str, event_names: Sequence[str], customers: Sequence[str], events: int
) -> MakeRequest:
    """Return what makes stream requests of so many events, with two dimensions each.

    The events have happened within the second before the one in which they are sent.
    """
    chance = random.Random(2)  # noqa: S311 - the same in every run

    def event() -> dict[str, object]:
        payload = {
            "stripe_customer_id": chance.choice(customers),
            "value": str(chance.randint(1, 1_000)),
            "region": chance.choice(("eu-central", "eu-west", "us-east", "us-west")),
            "model": chance.choice(("small", "medium", "large")),
        }
        return {
            "event_name": chance.choice(event_names),
            "identifier": _TOKEN,
            "payload": payload,
            "timestamp": f"{_SECOND}.{chance.randrange(1_000):03}Z",
        }

    fill = _filling(
        [stream(key, [event() for _ in range(events)]) for _ in range(_TEMPLATES)],
    )

    def make() -> bytes:
        second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - 1))
        return fill().replace(_SECOND.encode(), second.encode())

    return make


def questions(
    key: str, meter: str, customers: Sequence[str], dimensions: Sequence[str]
) -> MakeRequest:
    """Return what asks for a customer's last month by day and these dimensions."""
    chance = random.Random(4)  # noqa: S311 - the same in every run
    end = (int(time.time()) // _DAY_SECONDS + 1) * _DAY_SECONDS
    keys = {f"meters[0][dimension_group_by_keys][{n}]": one for n, one in enumerate(dimensions)}
    query = {
        "starts_at": str(end - 30 * _DAY_SECONDS),
        "ends_at": str(end),
        "meters[0][meter]": meter,
        "value_grouping_window": "day",
        **keys,
    }
    path = "/v1/billing/analytics/meter_usage"
    return lambda: get(path, key, query | {"customer": chance.choice(customers)})


def _filling(requests: list[bytes]) -> MakeRequest:
    """Return what takes the requests in turn and fills each token with random digits."""
    templates = [
        (request.replace(b"%", b"%%").replace(_TOKEN.encode(), b"%b"), tokens)
        for request in requests
        if (tokens := request.count(_TOKEN.encode()))
    ]
    turn = 0

    def make() -> bytes:
        nonlocal turn
        turn = (turn + 1) % len(templates)
        template, tokens = templates[turn]
        digits = os.urandom(16 * tokens).hex().encode()
        return template % tuple([digits[at : at + 32] for at in range(0, 32 * tokens, 32)])

    return make
