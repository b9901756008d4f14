from typing import Any

from tests.api.meterhouse.samples import EVENTS, stream, wrong
from tests.api.samples import error_of
from tests.api.services import HOUR, NOW, Services
from tests.api.v2.samples import at, done, event
from tests.server import LIVE_KEY

REJECTIONS = "/meterhouse/v1/rejections"


def ask(services: Services, **params: Any) -> list[dict[str, Any]]:
    page = done(services.request("GET", REJECTIONS, params=params))
    assert page["object"] == "list"
    assert page["url"] == REJECTIONS
    rows: list[dict[str, Any]] = page["data"]
    return rows


def kinds(services: Services, **params: Any) -> list[tuple[str, str, int]]:
    return [
        (row["code"], row["meter"] or row["event_name"], row["events"])
        for row in ask(services, **params)
    ]


def test_events_are_told_apart_by_what_was_wrong(services: Services) -> None:
    meter, customer = services.meter(), services.customer()
    stream(
        services,
        event("cus_1", identifier="a"),
        event(customer, "many", identifier="b"),
        event(customer, identifier="c", timestamp=at(-60)),
        wrong("d", customer),
        wrong("e", customer, event_name="clls"),
    )
    services.clock.advance(HOUR * 1000)
    stream(services, *[wrong(name, customer) for name in "fghi"])
    unknown = ("meter_event_customer_not_found", meter, 1)
    invalid = ("meter_event_invalid_value", meter, 1)
    first, second = ("no_meter", "cals", 5), ("no_meter", "clls", 1)
    assert kinds(services) == [first, second, invalid, unknown]
    assert kinds(services, meter=meter) == [invalid, unknown]
    assert kinds(services, code="no_meter") == [first, second]
    assert kinds(services, event_name="clls") == [second]
    assert kinds(services, event_name="calls") == [invalid, unknown]
    assert kinds(services, **{"received[gte]": NOW + 1}) == [("no_meter", "cals", 4)]
    assert kinds(services, **{"received[lt]": NOW + 1})[:1] == [second]
    assert kinds(services, meter="mtr_none") == []
    assert services.request("GET", REJECTIONS, key=LIVE_KEY).json()["data"] == []


def test_a_kind_as_it_is_shown(services: Services) -> None:
    meter = services.meter()
    stream(services, event("cus_1", identifier="z"))
    services.clock.advance(HOUR * 1000)
    stream(services, *[event("cus_1", identifier=name, timestamp=at(0)) for name in "abcd"])
    [row] = ask(services)
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
    assert samples == done(services.request("GET", EVENTS, params={"limit": 3}))["data"]


def test_a_list_is_bounded(services: Services) -> None:
    stream(services, *[wrong(name, "cus_1", event_name=name) for name in "abc"])
    page = done(services.request("GET", REJECTIONS, params={"limit": 2}))
    assert ([row["event_name"] for row in page["data"]], page["has_more"]) == (["c", "b"], True)
    page = done(services.request("GET", REJECTIONS, params={"limit": 3}))
    assert (len(page["data"]), page["has_more"]) == (3, False)
    error_of(services.request("GET", REJECTIONS, params={"limit": 101}), 400)
