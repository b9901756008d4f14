"""What the tests of raw events send and read."""

from typing import Any

from tests.api.local import LocalServer
from tests.api.v2.samples import STREAM, done, post

EVENTS = "/meterhouse/v1/meter_events"
LIFE = "/meterhouse/v1/meter_event"
RESEND = "/meterhouse/v1/invalid_meter_events/resend"


def stream(local: LocalServer, *events: dict[str, Any]) -> None:
    """Send events of a stream; return once they are judged by what is known now."""
    done(post(local, STREAM, {"events": list(events)}))
    assert local.run(local.meterhouse.services.progress.settle(30))


def wrong(identifier: str, customer: str, **more: Any) -> dict[str, Any]:
    """Return an event whose event name is misspelled."""
    payload = {"stripe_customer_id": customer, "value": "2"}
    return {"event_name": "cals", "identifier": identifier, "payload": payload} | more


def find(local: LocalServer, **params: Any) -> list[dict[str, Any]]:
    """Search events."""
    page = done(local.request("GET", EVENTS, params=params))
    assert page["object"] == "list"
    assert page["url"] == EVENTS
    found: list[dict[str, Any]] = page["data"]
    return found


def names(local: LocalServer, **params: Any) -> list[str]:
    """Return the identifiers of what a search finds."""
    return [one["identifier"] for one in find(local, **params)]


def life(local: LocalServer, identifier: str) -> dict[str, Any]:
    """Return the life of an event."""
    told: dict[str, Any] = done(local.request("GET", LIFE, params={"identifier": identifier}))
    return told


def resend(local: LocalServer, **body: Any) -> dict[str, Any]:
    """Resend rejected events, follow that to its end, and return what came of it."""
    told: dict[str, Any] = done(local.request("POST", RESEND, json=body))
    for _ in range(2_000):  # each look lets the server work on
        if told["status"] != "running":
            return told
        told = done(local.request("GET", f"/meterhouse/v1/resends/{told['id']}"))
    raise AssertionError(told)


def counts(told: dict[str, Any]) -> tuple[int, int, int, int]:
    """Return what a resend counts: matched, accepted, rejected, duplicate."""
    assert told["object"] == "meterhouse.resend"
    assert told["status"] == "complete"
    return told["matched"], told["accepted"], told["rejected"], told["duplicate"]
