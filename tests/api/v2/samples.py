"""What the tests of API v2 send and read."""

import re
from typing import Any

import httpx

from meterhouse.wire.timestamp import print_timestamp
from tests.api.local import NOW, LocalServer
from tests.server import TEST_KEY

VERSION = "2026-10-28.endive"
SESSION = "/v2/billing/meter_event_session"
STREAM = "/v2/billing/meter_event_stream"
EVENTS = "/v2/billing/meter_events"
ADJUSTMENTS = "/v2/billing/meter_event_adjustments"
HERE = {"Stripe-Version": VERSION}


def post(
    local: LocalServer, path: str, document: Any = None, *, key: str = TEST_KEY, **headers: str
) -> httpx.Response:
    """Send JSON; underscores in the names of `headers` stand for dashes."""
    given = HERE | {name.replace("_", "-"): value for name, value in headers.items()}
    return local.request("POST", path, json=document or {}, headers=given, key=key)


def done(answer: httpx.Response) -> Any:
    """Return the document of a request that succeeded."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def refused(answer: httpx.Response, status: int) -> dict[str, str]:
    """Return the error of a refused request, which must have the shape of v2."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert re.fullmatch(r"req_[A-Za-z0-9]{14}", answer.headers["request-id"])
    document: dict[str, dict[str, str]] = answer.json()
    error = document.pop("error")
    assert not document
    assert error.keys() <= {"type", "code", "message", "doc_url"}
    assert {"code", "message"} <= error.keys()
    return error


def event(customer: str, value: str = "1", **more: Any) -> dict[str, Any]:
    """Return an event of the meter `calls`."""
    payload = {"stripe_customer_id": customer, "value": value}
    return {"event_name": "calls", "payload": payload, **more}


def token(local: LocalServer, key: str = TEST_KEY, **headers: str) -> str:
    """Make a session and return its token."""
    text: str = done(post(local, SESSION, key=key, **headers))["authentication_token"]
    return text


def at(seconds: float) -> str:
    """Return the instant so many seconds after the clock's start, as v2 spells it."""
    return print_timestamp(int((NOW + seconds) * 1000))


def used(local: LocalServer, meter: str, customer: str) -> float | int:
    """Return all that counts for a customer."""
    (point,) = local.summaries(meter, customer).json()["data"]
    value: float | int = point["aggregated_value"]
    return value


def books(local: LocalServer) -> dict[str, int]:
    """Return the outcomes of all events so far, as the operator's metrics count them."""
    lines = local.request("GET", "/metrics").text
    found = re.findall(r'meterhouse_events_total{code="(\w*)",outcome="(\w+)"} ([0-9.]+)', lines)
    return {code or outcome: int(float(events)) for code, outcome, events in found}
