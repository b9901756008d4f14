"""Events of a customer with a test clock are measured by its time, whichever way they come."""

from datetime import UTC, datetime
from typing import Any

import pytest

from meterhouse.ledger import test_clocks
from tests.api.local import DAY, NOW, LocalServer

CLOCKS = "/v1/test_helpers/test_clocks"
HOUR = 3_600
PAST = int(datetime(2020, 2, 29, 12, tzinfo=UTC).timestamp())
FUTURE = int(datetime(2031, 1, 31, 23, 59, 59, tzinfo=UTC).timestamp())


def clocked(local: LocalServer, frozen_time: int) -> tuple[str, str]:
    """Make a clock and a customer that lives by it."""
    clock = local.create(CLOCKS, data={"frozen_time": frozen_time})["id"]
    customer: str = local.create("/v1/customers", data={"test_clock": clock})["id"]
    return clock, customer


def form(customer: str, timestamp: int | None) -> dict[str, Any]:
    data = {
        "event_name": "calls",
        "payload[stripe_customer_id]": customer,
        "payload[value]": "1",
    }
    return data if timestamp is None else data | {"timestamp": str(timestamp)}


def document(customer: str, timestamp: int | None) -> dict[str, Any]:
    payload = {"stripe_customer_id": customer, "value": "1"}
    event: dict[str, Any] = {"event_name": "calls", "payload": payload}
    return event if timestamp is None else event | {"timestamp": rfc3339(timestamp)}


def rfc3339(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def send(local: LocalServer, way: str, customer: str, timestamp: int | None) -> Any:
    """Send an event one of three ways, and return what was answered."""
    if way == "v1":
        data = form(customer, timestamp)
        return local.request("POST", "/v1/billing/meter_events", data=data).json()
    event = document(customer, timestamp)
    path, body = "/v2/billing/meter_events", event
    if way == "stream":
        path, body = "/v2/billing/meter_event_stream", {"events": [event]}
    version = {"Stripe-Version": "2026-10-28.endive"}
    return local.request("POST", path, json=body, headers=version).json()


def used(local: LocalServer, meter: str, customer: str, start: int, end: int) -> float:
    """Return what a customer has used between two minutes."""
    asked = {"start_time": start, "end_time": end}
    [summary] = local.summaries(meter, customer, **asked).json()["data"] or [{}]
    return float(summary.get("aggregated_value", 0))


@pytest.mark.parametrize("way", ["v1", "v2", "stream"])
@pytest.mark.parametrize("frozen_time", [PAST, FUTURE])
def test_an_event_without_a_timestamp_happens_at_the_frozen_time(
    local: LocalServer, way: str, frozen_time: int
) -> None:
    meter = local.meter()
    clock, customer = clocked(local, frozen_time)
    answer = send(local, way, customer, None)
    if way == "v1":
        assert answer["timestamp"] == frozen_time
        assert answer["created"] == NOW
    if way == "v2":
        assert answer["timestamp"].startswith(rfc3339(frozen_time)[:-1])
    minute = frozen_time // 60 * 60
    assert used(local, meter, customer, minute, minute + 60) == 1
    local.create(f"{CLOCKS}/{clock}/advance", data={"frozen_time": frozen_time + DAY})
    local.until(lambda connection: not test_clocks.advancing(connection))
    send(local, way, customer, None)
    assert used(local, meter, customer, minute, minute + 60) == 1
    assert used(local, meter, customer, minute + DAY, minute + DAY + 60) == 1


@pytest.mark.parametrize("frozen_time", [PAST, FUTURE])
def test_a_timestamp_is_measured_by_the_frozen_time(local: LocalServer, frozen_time: int) -> None:
    meter = local.meter()
    _, customer = clocked(local, frozen_time)
    other = local.customer()
    oldest = frozen_time - 35 * DAY
    early = (
        "The event timestamp cannot be more than 35 days in past. Expected a timestamp greater "
        f"than or equal to {oldest}."
    )
    late = "The event timestamp cannot be in future."
    for timestamp, refused in (
        (oldest, None),
        (frozen_time, None),
        (frozen_time + 300, None),
        (oldest - 1, early),
        (frozen_time + 301, late),
        (NOW, late if frozen_time < NOW else early),
    ):
        for way in ("v1", "v2"):
            answer = send(local, way, customer, timestamp)
            if refused is None:
                assert answer["event_name"] == "calls", answer
            else:
                assert refused.partition(" Expected")[0] in answer["error"]["message"]
        assert send(local, "stream", customer, timestamp) == {}
    assert used(local, meter, customer, oldest // 60 * 60, frozen_time // 60 * 60 + 600) == 9
    asked = {"outcome": "rejected"}
    rejected = local.request("GET", "/meterhouse/v1/meter_events", params=asked).json()["data"]
    told = {(one["code"], one["message"]) for one in rejected}
    assert told == {("timestamp_too_far_in_past", early), ("timestamp_in_future", late)}
    # Whoever has no clock lives in the present.
    assert send(local, "v1", other, NOW)["timestamp"] == NOW
    assert "error" in send(local, "v1", other, frozen_time)


def test_a_retry_hears_the_same_when_the_clock_has_moved_on(local: LocalServer) -> None:
    meter = local.meter()
    clock, customer = clocked(local, PAST)
    asked = {"data": form(customer, None), "headers": {"Idempotency-Key": "once"}}
    first = local.create("/v1/billing/meter_events", **asked)
    local.create(f"{CLOCKS}/{clock}/advance", data={"frozen_time": PAST + 90 * DAY})
    local.until(lambda connection: not test_clocks.advancing(connection))
    assert local.create("/v1/billing/meter_events", **asked) == first
    assert used(local, meter, customer, PAST - HOUR, PAST + 91 * DAY) == 1
