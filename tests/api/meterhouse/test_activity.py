from typing import Any

import pytest

from meterhouse import limits
from tests.api.local import DAY, HOUR, NOW, LocalServer
from tests.api.meterhouse.samples import stream, wrong
from tests.api.samples import error_of
from tests.api.v2.samples import at, done, event
from tests.server import LIVE_KEY

ACTIVITY = "/meterhouse/v1/activity"


def ask(local: LocalServer, **params: Any) -> list[dict[str, Any]]:
    asked = {"starts_at": NOW - DAY, "ends_at": NOW + DAY}
    page = done(local.request("GET", ACTIVITY, params=asked | params))
    assert page["object"] == "list"
    assert page["url"] == ACTIVITY
    assert page["has_more"] is False
    rows: list[dict[str, Any]] = page["data"]
    return rows


def test_activity_as_it_is_shown(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    stream(local, event(customer, identifier="a", timestamp=at(-60)), wrong("b", customer))
    local.clock.advance(HOUR * 1000)
    stream(local, event(customer, identifier="a", timestamp=at(-60)), wrong("c", customer))
    assert ask(local) == [
        {
            "object": "meterhouse.activity",
            "code": None,
            "ends_at": NOW + DAY,
            "events": 4,
            "last_received_at": NOW + HOUR,
            "meter": None,
            "outcome": None,
            "starts_at": NOW - DAY,
        }
    ]
    rows = ask(local, **{"window": "hour", "group_by[]": ["outcome", "code", "meter"]})
    told = ("starts_at", "ends_at", "outcome", "code", "meter", "events")
    assert [tuple(row[name] for name in told) for row in rows] == [
        (NOW, NOW + HOUR, "accepted", None, meter, 1),
        (NOW, NOW + HOUR, "rejected", "no_meter", None, 1),
        (NOW + HOUR, NOW + 2 * HOUR, "duplicate", None, meter, 1),
        (NOW + HOUR, NOW + 2 * HOUR, "rejected", "no_meter", None, 1),
    ]
    assert [row["events"] for row in ask(local, meter=meter)] == [2]
    assert [row["events"] for row in ask(local, outcome="rejected", window="minute5")] == [1, 1]
    assert ask(local, ends_at=NOW) == []
    [day] = ask(local, window="day", starts_at=NOW)
    assert (day["starts_at"], day["ends_at"]) == (NOW, NOW // DAY * DAY + DAY)


def test_what_is_refused_in_the_request_is_no_event(local: LocalServer) -> None:
    local.meter()
    refused = local.request(
        "POST",
        "/v1/billing/meter_events",
        data={"event_name": "cals", "payload[stripe_customer_id]": "cus_1", "payload[value]": "1"},
    )
    error_of(refused, 400)
    assert ask(local) == []


def test_books_are_apart(local: LocalServer) -> None:
    stream(local, wrong("a", "cus_1"))
    asked = {"starts_at": NOW, "ends_at": NOW + DAY}
    assert done(local.request("GET", ACTIVITY, params=asked, key=LIVE_KEY))["data"] == []


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({}, "Missing required param: starts_at."),
        ({"starts_at": 2, "ends_at": 1}, "start_time should not be greater than end_time"),
        ({"starts_at": 1, "ends_at": 2, "window": "week"}, "Invalid window: must be one of"),
        ({"starts_at": 1, "ends_at": 2, "group_by[]": "customer"}, "Invalid group_by[0]: must be"),
        ({"starts_at": 1, "ends_at": 2, "outcome": "pending"}, "Invalid outcome: must be one of"),
    ],
)
def test_what_is_not_in_order_is_refused(
    local: LocalServer, params: dict[str, Any], sentence: str
) -> None:
    assert sentence in error_of(local.request("GET", ACTIVITY, params=params), 400)["message"]


def test_an_answer_is_bounded(local: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ACTIVITY_ROWS_MAX", 1)
    local.meter()
    stream(local, event(local.customer(), identifier="a", timestamp=at(-60)), wrong("b", "cus_1"))
    params = {"starts_at": NOW, "ends_at": NOW + DAY, "group_by[]": "outcome"}
    refused = error_of(local.request("GET", ACTIVITY, params=params), 400)
    assert "more than 1 rows" in refused["message"]
    assert "a larger window" in refused["message"]
