from typing import Any

from tests.api.house import HOUR, NOW, House
from tests.api.meterhouse.samples import EVENTS, stream, wrong
from tests.api.samples import error_of
from tests.api.v2.samples import at, done, event
from tests.server import LIVE_KEY

REJECTIONS = "/meterhouse/v1/rejections"


def ask(house: House, **params: Any) -> list[dict[str, Any]]:
    page = done(house.request("GET", REJECTIONS, params=params))
    assert page["object"] == "list"
    assert page["url"] == REJECTIONS
    rows: list[dict[str, Any]] = page["data"]
    return rows


def kinds(house: House, **params: Any) -> list[tuple[str, str, int]]:
    return [
        (row["code"], row["meter"] or row["event_name"], row["events"])
        for row in ask(house, **params)
    ]


def test_events_are_told_apart_by_what_was_wrong(house: House) -> None:
    meter, customer = house.meter(), house.customer()
    stream(
        house,
        event("cus_1", identifier="a"),
        event(customer, "many", identifier="b"),
        event(customer, identifier="c", timestamp=at(-60)),
        wrong("d", customer),
        wrong("e", customer, event_name="clls"),
    )
    house.clock.advance(HOUR * 1000)
    stream(house, *[wrong(name, customer) for name in "fghi"])
    unknown = ("meter_event_customer_not_found", meter, 1)
    invalid = ("meter_event_invalid_value", meter, 1)
    first, second = ("no_meter", "cals", 5), ("no_meter", "clls", 1)
    assert kinds(house) == [first, second, invalid, unknown]
    assert kinds(house, meter=meter) == [invalid, unknown]
    assert kinds(house, code="no_meter") == [first, second]
    assert kinds(house, event_name="clls") == [second]
    assert kinds(house, event_name="calls") == [invalid, unknown]
    assert kinds(house, **{"received[gte]": NOW + 1}) == [("no_meter", "cals", 4)]
    assert kinds(house, **{"received[lt]": NOW + 1})[:1] == [second]
    assert kinds(house, meter="mtr_none") == []
    assert house.request("GET", REJECTIONS, key=LIVE_KEY).json()["data"] == []


def test_a_kind_as_it_is_shown(house: House) -> None:
    meter = house.meter()
    stream(house, event("cus_1", identifier="z"))
    house.clock.advance(HOUR * 1000)
    stream(house, *[event("cus_1", identifier=name, timestamp=at(0)) for name in "abcd"])
    [row] = ask(house)
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
    assert samples == done(house.request("GET", EVENTS, params={"limit": 3}))["data"]


def test_a_list_is_bounded(house: House) -> None:
    stream(house, *[wrong(name, "cus_1", event_name=name) for name in "abc"])
    page = done(house.request("GET", REJECTIONS, params={"limit": 2}))
    assert ([row["event_name"] for row in page["data"]], page["has_more"]) == (["c", "b"], True)
    page = done(house.request("GET", REJECTIONS, params={"limit": 3}))
    assert (len(page["data"]), page["has_more"]) == (3, False)
    error_of(house.request("GET", REJECTIONS, params={"limit": 101}), 400)
