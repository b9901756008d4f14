"""Alerts that Stripe cannot make, what they have told, and when they will be reached."""

from collections.abc import Mapping
from typing import Any

import pytest
import sqlalchemy as sa

from meterhouse.ledger.tables import touches
from tests.api.local import DAY, NOW, LocalServer

PATH = "/meterhouse/v1/alerts"


def error_of(local: LocalServer, **data: Any) -> tuple[str, str]:
    answer = local.request("POST", PATH, data=data)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    return error["message"], error["param"]


def use(local: LocalServer, customer: str, value: str, **extra: str) -> None:
    """Report usage, and wait until it is evaluated."""
    data = {
        "event_name": "calls",
        "payload[value]": value,
        "payload[stripe_customer_id]": customer,
    }
    local.create("/v1/billing/meter_events", data=data | extra)
    local.run(local.meterhouse.services.progress.settle(20))
    local.until(lambda connection: not connection.execute(sa.select(touches)).all())


def test_what_there_is_to_say_of_an_alert(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    asked = {
        "title": "Budget",
        "meter": meter,
        "customer": customer,
        "budget": "1000.5",
        "steps[0]": "50",
        "steps[1]": "100",
        "recurrence": "month",
        "dimensions[model]": "large",
        "hard_limit": "true",
    }
    made = local.create(PATH, data=asked)
    alert = made["id"]
    assert made == {
        "id": alert,
        "object": "meterhouse.alert",
        "budget": "1000.5",
        "created": NOW,
        "customer": customer,
        "dimensions": {"model": "large"},
        "hard_limit": True,
        "livemode": False,
        "meter": meter,
        "recurrence": "month",
        "status": "active",
        "steps": [{"gte": "500.25", "percent": "50"}, {"gte": "1000.5", "percent": "100"}],
        "title": "Budget",
    }
    assert local.request("GET", f"{PATH}/{alert}").json() == made
    stripes = local.request("GET", f"/v1/billing/alerts/{alert}").json()
    assert stripes["usage_threshold"]["gte"] == 500
    plain = local.create(PATH, data={"title": "Plain", "meter": meter, "steps[]": "7"})["id"]
    ours = local.request("GET", PATH).json()["data"]
    assert [one["id"] for one in ours] == [plain, alert]
    assert [one["id"] for one in local.request("GET", "/v1/billing/alerts").json()["data"]] == [
        plain
    ]
    mine = local.request("GET", PATH, params={"customer": customer, "meter": meter}).json()
    assert [one["id"] for one in mine["data"]] == [plain, alert]
    other = {"customer": local.customer(), "meter": meter}
    mine = local.request("GET", PATH, params=other).json()
    assert [one["id"] for one in mine["data"]] == [plain]
    local.create(f"/v1/billing/alerts/{alert}/archive")
    assert len(local.request("GET", PATH).json()["data"]) == 1


@pytest.mark.parametrize(
    ("change", "message", "param"),
    [
        ({"steps[0]": "0"}, "Invalid decimal: 0;", "steps[0]"),
        ({"steps[0]": "-1"}, "Invalid decimal: -1;", "steps[0]"),
        ({"steps[0]": "1e3"}, "Invalid decimal: 1e3;", "steps[0]"),
        ({"steps[0]": "1." + "0" * 16}, "Invalid decimal: 1.0", "steps[0]"),
        ({"steps[1]": "10"}, "Each step must be greater than the one before.", "steps[1]"),
        ({"budget": "nan"}, "Invalid decimal: nan;", "budget"),
        ({"recurrence": "year"}, "Invalid recurrence: must be one of", "recurrence"),
        ({"meter": "mtr_nope"}, "No such billing meter: 'mtr_nope'", "meter"),
        ({"customer": "cus_nope"}, "No such customer: 'cus_nope'", "customer"),
    ],
)
def test_what_is_refused(
    local: LocalServer, change: Mapping[str, str], message: str, param: str
) -> None:
    asked = {"title": "Much", "meter": local.meter(), "steps[0]": "10", **change}
    told = error_of(local, **asked)
    assert told[0].startswith(message)
    assert told[1] == param


def test_dimensions_need_usage_that_adds_up(local: LocalServer) -> None:
    meter = local.meter(**{"default_aggregation[formula]": "last"})
    told = error_of(local, title="Much", meter=meter, **{"steps[]": "1", "dimensions[a]": "b"})
    assert told[1] == "dimensions"
    assert local.request("GET", PATH).json()["data"] == []


def test_the_history_names_the_event_that_crossed(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    asked = {"title": "Much", "meter": meter, "steps[0]": "10", "steps[1]": "20.5"}
    alert = local.create(PATH, data=asked)["id"]
    use(local, customer, "6", identifier="first", timestamp=str(NOW - 60))
    use(local, customer, "20", identifier="second", timestamp=str(NOW - 3_600))
    found = local.request("GET", f"{PATH}/{alert}/history").json()
    assert [(one["gte"], one["value"], "event" in one) for one in found["data"]] == [
        ("20.5", "26", False),
        ("10", "26", False),
    ]
    expand = {"expand[]": "data.event", "customer": customer}
    found = local.request("GET", f"{PATH}/{alert}/history", params=expand).json()
    event = {"identifier": "second", "timestamp": NOW - 3_600, "total": "26", "value": "20"}
    assert [one["event"] for one in found["data"]] == [event, event]
    cancel = {"event_name": "calls", "type": "cancel", "cancel[identifier]": "second"}
    local.create("/v1/billing/meter_event_adjustments", data=cancel)
    local.run(local.meterhouse.services.progress.settle(20))
    found = local.request("GET", f"{PATH}/{alert}/history", params=expand).json()
    assert [one["event"] for one in found["data"]] == [None, None]
    assert local.request("GET", f"{PATH}/alrt_nope/history").status_code == 404


@pytest.mark.parametrize(("formula", "expected"), [("count", ("b", "2")), ("last", ("a", "7"))])
def test_the_event_that_crossed_on_other_meters(
    local: LocalServer, formula: str, expected: tuple[str, str]
) -> None:
    meter = local.meter(**{"default_aggregation[formula]": formula})
    customer = local.customer()
    alert = local.create(PATH, data={"title": "Two", "meter": meter, "steps[]": "2"})["id"]
    use(local, customer, "7", identifier="a", timestamp=str(NOW - 90))
    use(local, customer, "8", identifier="b", timestamp=str(NOW - 60))
    expand = {"expand[]": "data.event"}
    [one] = local.request("GET", f"{PATH}/{alert}/history", params=expand).json()["data"]
    assert (one["event"]["identifier"], one["event"]["total"]) == expected


def test_when_it_will_be_reached_at_this_pace(local: LocalServer) -> None:
    meter, customer, idle = local.meter(), local.customer(), local.customer()
    steps = {"steps[0]": "10", "steps[1]": "28", "steps[2]": "1000"}
    once = local.create(PATH, data={"title": "Once", "meter": meter, **steps})["id"]
    daily = {"title": "Daily", "meter": meter, "recurrence": "day", **steps}
    recurs = local.create(PATH, data=daily)["id"]
    use(local, customer, "14", timestamp=str(NOW - 60))

    def forecast(alert: str, customer: str) -> dict[str, Any]:
        params = {"customer": customer}
        answer = local.request("GET", f"{PATH}/{alert}/forecast", params=params)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    found = forecast(once, customer)
    assert found["total"] == "14"
    assert found["pace"] == {"since": NOW - 7 * DAY, "used": "14"}
    days = [one["reached_at"] for one in found["steps"]]
    assert days == [NOW, NOW + 7 * DAY, NOW + 493 * DAY]
    found = forecast(recurs, customer)
    midnight = NOW // DAY * DAY
    assert found["pace"] == {"since": midnight, "used": "14"}  # at noon
    assert [one["reached_at"] for one in found["steps"]] == [NOW, None, None]
    found = forecast(once, idle)
    assert [one["reached_at"] for one in found["steps"]] == [None] * 3
    for params in ({}, {"customer": "cus_nope"}):
        assert local.request("GET", f"{PATH}/{once}/forecast", params=params).status_code == 400
