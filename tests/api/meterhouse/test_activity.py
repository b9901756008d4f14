from typing import Any

import pytest

from meterhouse import limits
from tests.api.meterhouse.samples import stream, wrong
from tests.api.samples import error_of
from tests.api.services import DAY, HOUR, NOW, Services
from tests.api.v2.samples import at, done, event
from tests.server import LIVE_KEY

ACTIVITY = "/meterhouse/v1/activity"


def ask(services: Services, **params: Any) -> list[dict[str, Any]]:
    asked = {"starts_at": NOW - DAY, "ends_at": NOW + DAY}
    page = done(services.request("GET", ACTIVITY, params=asked | params))
    assert page["object"] == "list"
    assert page["url"] == ACTIVITY
    assert page["has_more"] is False
    rows: list[dict[str, Any]] = page["data"]
    return rows


def test_activity_as_it_is_shown(services: Services) -> None:
    meter, customer = services.meter(), services.customer()
    stream(services, event(customer, identifier="a", timestamp=at(-60)), wrong("b", customer))
    services.clock.advance(HOUR * 1000)
    stream(services, event(customer, identifier="a", timestamp=at(-60)), wrong("c", customer))
    assert ask(services) == [
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
    rows = ask(services, **{"window": "hour", "group_by[]": ["outcome", "code", "meter"]})
    told = ("starts_at", "ends_at", "outcome", "code", "meter", "events")
    assert [tuple(row[name] for name in told) for row in rows] == [
        (NOW, NOW + HOUR, "accepted", None, meter, 1),
        (NOW, NOW + HOUR, "rejected", "no_meter", None, 1),
        (NOW + HOUR, NOW + 2 * HOUR, "duplicate", None, meter, 1),
        (NOW + HOUR, NOW + 2 * HOUR, "rejected", "no_meter", None, 1),
    ]
    assert [row["events"] for row in ask(services, meter=meter)] == [2]
    assert [row["events"] for row in ask(services, outcome="rejected", window="minute5")] == [1, 1]
    assert ask(services, ends_at=NOW) == []
    [day] = ask(services, window="day", starts_at=NOW)
    assert (day["starts_at"], day["ends_at"]) == (NOW, NOW // DAY * DAY + DAY)


def test_what_is_refused_in_the_request_is_no_event(services: Services) -> None:
    services.meter()
    refused = services.request(
        "POST",
        "/v1/billing/meter_events",
        data={"event_name": "cals", "payload[stripe_customer_id]": "cus_1", "payload[value]": "1"},
    )
    error_of(refused, 400)
    assert ask(services) == []


def test_books_are_apart(services: Services) -> None:
    stream(services, wrong("a", "cus_1"))
    asked = {"starts_at": NOW, "ends_at": NOW + DAY}
    assert done(services.request("GET", ACTIVITY, params=asked, key=LIVE_KEY))["data"] == []


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
    services: Services, params: dict[str, Any], sentence: str
) -> None:
    assert sentence in error_of(services.request("GET", ACTIVITY, params=params), 400)["message"]


def test_an_answer_is_bounded(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ACTIVITY_ROWS_MAX", 1)
    services.meter()
    stream(
        services, event(services.customer(), identifier="a", timestamp=at(-60)), wrong("b", "cus_1")
    )
    params = {"starts_at": NOW, "ends_at": NOW + DAY, "group_by[]": "outcome"}
    refused = error_of(services.request("GET", ACTIVITY, params=params), 400)
    assert "more than 1 rows" in refused["message"]
    assert "a larger window" in refused["message"]
