from typing import Any

from tests.api.local import HOUR, NOW, LocalServer
from tests.api.meterhouse.samples import EVENTS, stream, wrong
from tests.api.samples import error_of
from tests.api.v2.samples import at, done, event
from tests.server import LIVE_KEY

REJECTIONS = "/meterhouse/v1/rejections"


def ask(local: LocalServer, **params: Any) -> list[dict[str, Any]]:
    page = done(local.request("GET", REJECTIONS, params=params))
    assert page["object"] == "list"
    assert page["url"] == REJECTIONS
    rows: list[dict[str, Any]] = page["data"]
    return rows


def kinds(local: LocalServer, **params: Any) -> list[tuple[str, str, int]]:
    return [
        (row["code"], row["meter"] or row["event_name"], row["events"])
        for row in ask(local, **params)
    ]


def test_events_are_told_apart_by_what_was_wrong(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    stream(
        local,
        event("cus_1", identifier="a"),
        event(customer, "many", identifier="b"),
        event(customer, identifier="c", timestamp=at(-60)),
        wrong("d", customer),
        wrong("e", customer, event_name="clls"),
    )
    local.clock.advance(HOUR * 1000)
    stream(local, *[wrong(name, customer) for name in "fghi"])
    unknown = ("meter_event_customer_not_found", meter, 1)
    invalid = ("meter_event_invalid_value", meter, 1)
    first, second = ("no_meter", "cals", 5), ("no_meter", "clls", 1)
    assert kinds(local) == [first, second, invalid, unknown]
    assert kinds(local, meter=meter) == [invalid, unknown]
    assert kinds(local, code="no_meter") == [first, second]
    assert kinds(local, event_name="clls") == [second]
    assert kinds(local, event_name="calls") == [invalid, unknown]
    assert kinds(local, **{"received[gte]": NOW + 1}) == [("no_meter", "cals", 4)]
    assert kinds(local, **{"received[lt]": NOW + 1})[:1] == [second]
    assert kinds(local, meter="mtr_none") == []
    assert local.request("GET", REJECTIONS, key=LIVE_KEY).json()["data"] == []


def test_a_kind_as_it_is_shown(local: LocalServer) -> None:
    meter = local.meter()
    stream(local, event("cus_1", identifier="z"))
    local.clock.advance(HOUR * 1000)
    stream(local, *[event("cus_1", identifier=name, timestamp=at(0)) for name in "abcd"])
    [row] = ask(local)
    samples = row.pop("samples")
    assert row == {
        "object": "meterhouse.rejection",
        "code": "meter_event_customer_not_found",
        "event_name": None,
        "events": 5,
        "first_received_at": NOW,
        "last_received_at": NOW + HOUR,
        "meter": meter,
    }
    assert [one["identifier"] for one in samples] == ["d", "c", "b"]
    assert samples == done(local.request("GET", EVENTS, params={"limit": 3}))["data"]


def test_a_list_is_bounded(local: LocalServer) -> None:
    stream(local, *[wrong(name, "cus_1", event_name=name) for name in "abc"])
    page = done(local.request("GET", REJECTIONS, params={"limit": 2}))
    assert ([row["event_name"] for row in page["data"]], page["has_more"]) == (["c", "b"], True)
    page = done(local.request("GET", REJECTIONS, params={"limit": 3}))
    assert (len(page["data"]), page["has_more"]) == (3, False)
    error_of(local.request("GET", REJECTIONS, params={"limit": 101}), 400)
