import re
from typing import Any
from urllib.parse import quote

import pytest
import stripe

from meterhouse.errors import SlowError
from meterhouse.usage.store import UsageStore
from tests.api.local import HOUR, NOW, LocalServer
from tests.api.meterhouse.samples import EVENTS, LIFE, find, life, names, stream, wrong
from tests.api.samples import connect, error_of, make_customer, make_meter, new_account, send
from tests.api.v2.samples import HERE, at, event
from tests.odd import FEW, IDENTIFIERS
from tests.server import LIVE_KEY, Server


def test_an_event_as_it_is_shown(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    stream(local, event(customer, "2.50", identifier="a", timestamp=at(-60)))
    [shown] = find(local)
    assert re.fullmatch(r"mev_[A-Za-z0-9]{11}", shown.pop("id"))
    assert shown == {
        "object": "meterhouse.meter_event",
        "cancelled": False,
        "code": None,
        "customer": customer,
        "event_name": "calls",
        "identifier": "a",
        "livemode": False,
        "message": None,
        "meter": meter,
        "outcome": "accepted",
        "payload": {"stripe_customer_id": customer, "value": "2.50"},
        "received_at": NOW,
        "timestamp": NOW - 60,
        "value": "2.5",
    }


def test_a_rejected_event_names_what_its_payload_names(local: LocalServer) -> None:
    meter = local.meter()
    stream(local, event("cus_1", "7", identifier="a"), wrong("b", "cus_2"))
    second, first = find(local)
    assert first["outcome"] == second["outcome"] == "rejected"
    assert (first["customer"], first["meter"], first["value"]) == ("cus_1", meter, "7")
    assert first["code"] == "meter_event_customer_not_found"
    assert first["message"] == "No customer was found matching cus_1."
    assert (second["customer"], second["meter"], second["value"]) == ("cus_2", None, None)
    assert second["code"] == "no_meter"


def test_a_search_of_too_much_is_told_how_to_be_narrower(
    local: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search(*_: object) -> None:
        raise SlowError("It took too long.")

    monkeypatch.setattr(UsageStore, "search", search)
    error = error_of(local.request("GET", EVENTS, params={"customer": "cus_2"}), 400)
    assert error["type"] == "invalid_request_error"
    assert error["message"].startswith("There are too many events to look through")
    assert "Narrow it" in error["message"]


def test_the_filters(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    buyers = local.meter(
        "sales",
        **{
            "customer_mapping[type]": "by_id",
            "customer_mapping[event_payload_key]": "buyer",
        },
    )
    stream(local, event(customer, identifier="a"), wrong("b", customer))
    local.clock.advance(HOUR * 1000)
    stream(
        local,
        event("cus_1", identifier="c", timestamp=at(0)),
        {"event_name": "sales", "identifier": "d", "payload": {"buyer": "cus_1"}},
    )
    assert names(local) == ["d", "c", "b", "a"]
    assert names(local, meter=meter) == ["c", "a"]
    assert names(local, meter=buyers) == ["d"]
    assert names(local, customer=customer) == ["b", "a"]
    assert names(local, customer="cus_1") == ["d", "c"]
    assert names(local, identifier="b") == ["b"]
    assert names(local, event_name="cals") == ["b"]
    assert names(local, outcome="accepted") == ["a"]
    assert names(local, outcome="rejected") == ["d", "c", "b"]
    assert names(local, outcome="pending") == []
    assert names(local, code="no_meter") == ["b"]
    assert names(local, code="no_meter", outcome="accepted") == []
    assert names(local, **{"received[gte]": NOW + 1}) == ["d", "c"]
    assert names(local, **{"received[lt]": NOW + 1}) == ["b", "a"]
    assert names(local, **{"timestamp[gte]": NOW, "timestamp[lt]": NOW + 1}) == ["c", "b", "a"]
    assert find(local, identifier="no such") == []


def test_pages(local: LocalServer) -> None:
    local.meter()
    stream(local, *[wrong(name, "cus_1") for name in "abcde"])
    ids = {one["identifier"]: one["id"] for one in find(local)}
    page = local.request("GET", EVENTS, params={"limit": 2, "starting_after": ids["d"]}).json()
    assert [one["identifier"] for one in page["data"]] == ["c", "b"]
    assert page["has_more"] is True
    page = local.request("GET", EVENTS, params={"limit": 2, "starting_after": ids["c"]}).json()
    assert [one["identifier"] for one in page["data"]] == ["b", "a"]
    assert page["has_more"] is False
    page = local.request("GET", EVENTS, params={"limit": 2, "ending_before": ids["b"]}).json()
    assert [one["identifier"] for one in page["data"]] == ["d", "c"]
    assert page["has_more"] is True
    for cursor in ("evt_1", "mev_1", "mev_" + "0" * 11, "mev_" + "9" * 11):
        refused = error_of(local.request("GET", EVENTS, params={"starting_after": cursor}), 400)
        assert refused["message"] == f"No such meter event: '{cursor}'"
        assert refused["param"] == "starting_after"


def test_an_id_tells_nothing_of_what_others_send(local: LocalServer) -> None:
    """Ids of events that follow each other are no neighbours, and of another mode name nothing."""
    stream(local, *[wrong(str(number), "cus_1") for number in range(100)])
    found = find(local, limit=100)
    places = [one["id"].removeprefix("mev_") for one in found]
    assert sorted(places) not in (places, places[::-1])
    assert len({place[:4] for place in places}) > 90
    assert find(local, limit=100) == found
    elsewhere = {"starting_after": found[0]["id"]}
    error_of(local.request("GET", EVENTS, params=elsewhere, key=LIVE_KEY), 400)


def test_books_are_apart(local: LocalServer) -> None:
    local.meter()
    stream(local, wrong("a", "cus_1"))
    assert local.request("GET", EVENTS, key=LIVE_KEY).json()["data"] == []
    error_of(local.request("GET", f"{EVENTS}/a", key=LIVE_KEY), 404)


def test_the_life_of_an_event_that_counts(local: LocalServer) -> None:
    local.meter()
    customer = local.customer()
    stream(local, wrong("a", customer))
    stream(local, event(customer, identifier="a", timestamp=at(-60)))
    told = life(local, "a")
    assert told["outcome"] == "accepted"
    assert told["adjustments"] == told["duplicates"] == []
    assert told["error_report"] is None
    assert told["hint"] is None
    assert told["summary_window"] == {
        "end_time": NOW,
        "overwritten_by": None,
        "start_time": NOW - HOUR,
        "value_grouping_window": "hour",
    }
    [rejection] = told["rejections"]
    assert rejection["code"] == "no_meter"
    assert rejection["received_at"] == NOW


def test_an_event_that_is_overwritten(local: LocalServer) -> None:
    local.meter(event_time_window="day")
    customer = local.customer()
    stream(local, event(customer, identifier="a"), event(customer, identifier="b"))
    window = life(local, "a")["summary_window"]
    assert (window["value_grouping_window"], window["overwritten_by"]) == ("day", "b")
    assert life(local, "b")["summary_window"]["overwritten_by"] is None


def test_a_cancelled_event(local: LocalServer) -> None:
    local.meter()
    stream(local, event(local.customer(), identifier="a"))
    local.create(
        "/v1/billing/meter_event_adjustments",
        data={"event_name": "calls", "type": "cancel", "cancel[identifier]": "a"},
    )
    told = life(local, "a")
    assert told["cancelled"] is True
    assert told["summary_window"] is None
    [adjustment] = told["adjustments"]
    assert adjustment.pop("id").startswith("mea_test_61")
    assert adjustment == {"created": NOW, "status": "complete", "type": "cancel"}


@pytest.mark.parametrize(
    ("sent", "hint"),
    [
        ({"event_name": "cals"}, {"sent": "cals", "meant": "calls"}),
        ({"event_name": "Calls "}, {"sent": "Calls ", "meant": "calls"}),
        ({"event_name": "storage"}, None),
        ({"customer": "{customer}x"}, {"sent": "{customer}x", "meant": "{customer}"}),
        ({"customer": "somebody else"}, None),
        (
            {"payload": {"stripe_customer": "{customer}", "value": "1"}},
            {"sent": "stripe_customer", "meant": "stripe_customer_id"},
        ),
        (
            {"payload": {"stripe_customer_id": "{customer}", "valeu": "1"}},
            {"sent": "valeu", "meant": "value"},
        ),
        ({"payload": {"stripe_customer_id": "{customer}", "amount": "1"}}, None),
    ],
)
def test_hints(local: LocalServer, sent: dict[str, object], hint: dict[str, str] | None) -> None:
    local.meter()
    customer = local.customer()

    def named(value: object) -> object:
        if isinstance(value, dict):
            return {key: named(text) for key, text in value.items()}
        return value.replace("{customer}", customer) if isinstance(value, str) else value

    asked = {str(key): named(value) for key, value in sent.items()}
    made = event(str(asked.pop("customer", customer)), identifier="a")
    stream(local, made | asked)
    assert life(local, "a")["hint"] == (None if hint is None else named(hint))


@pytest.mark.parametrize("event_name", ["calls", "unknown"])
def test_the_report_of_a_rejection(local: LocalServer, event_name: str) -> None:
    local.meter()
    stream(local, event("cus_1", identifier="a") | {"event_name": event_name})
    assert life(local, "a")["error_report"] is None
    local.clock.advance(20_000)
    stream(local, event("cus_1", identifier="b") | {"event_name": event_name})
    for _ in range(2):
        local.run(local.job("report").report())
        local.clock.advance(10_000)
    first, second = (life(local, name)["error_report"] for name in "ab")
    assert first != second
    told = local.request("GET", f"/v2/core/events/{first}", headers=HERE).json()
    [error] = told["data"]["reason"]["error_types"]
    assert error["sample_errors"][0]["request"] == {"identifier": "a"}


@pytest.mark.parametrize("event_name", ["calls", "unknown"])
def test_a_report_that_comes_late(local: LocalServer, event_name: str) -> None:
    """Given a server that was down when a report was due, then it is found all the same."""
    local.meter()
    stream(local, event("cus_1", identifier="a") | {"event_name": event_name})
    local.clock.advance(HOUR * 1000)
    local.run(local.job("report").report())
    assert life(local, "a")["error_report"] is not None


def test_an_identifier_that_never_came(local: LocalServer) -> None:
    for path in (f"{EVENTS}/no", f"{LIFE}?identifier=no"):
        refused = error_of(local.request("GET", path), 404)
        assert refused["message"] == "No such meter event: 'no'"


def test_a_life_of_nobody(local: LocalServer) -> None:
    refused = error_of(local.request("GET", LIFE), 400)
    assert refused["message"] == "Missing required param: identifier."
    assert error_of(local.request("GET", f"{LIFE}?identifier="), 400)["param"] == "identifier"


def test_odd_identifiers_are_found(local: LocalServer) -> None:
    local.meter()
    by_v1, by_stream = IDENTIFIERS[::2], IDENTIFIERS[1::2]
    for one in by_v1:
        data = {"event_name": "calls", "payload[value]": "1", "identifier": one}
        assert local.create("/v1/billing/meter_events", data=data)["identifier"] == one
    stream(local, *(event("..", identifier=one) for one in by_stream))
    for one in IDENTIFIERS:
        assert life(local, one)["identifier"] == one
        assert names(local, identifier=one) == [one]
    for one in {*FEW} - {".", ".."}:  # which clients take out of a path
        path = f"{EVENTS}/{quote(one, safe='')}"
        assert local.request("GET", path).json()["identifier"] == one


def test_pending_events_are_found(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    here = {"Meterhouse-Consistency": "eventual"}

    async def ask() -> list[dict[str, object]]:
        processor = local.meterhouse._processor
        async with processor.still():
            await local.ask(
                "POST",
                "/v1/billing/meter_events",
                data={
                    "event_name": "calls",
                    "identifier": "a",
                    "payload[stripe_customer_id]": customer,
                    "payload[value]": "3",
                },
            )
            answer = await local.ask("GET", EVENTS, headers=here)
            assert answer.headers["Meterhouse-Consistency"] == "eventual"
            told = await local.ask("GET", f"{EVENTS}/a", headers=here)
            assert told.json()["outcome"] == "pending"
        found: list[dict[str, object]] = answer.json()["data"]
        return found

    [shown] = local.run(ask())
    assert shown["outcome"] == "pending"
    assert (shown["meter"], shown["customer"], shown["value"]) == (meter, customer, "3")
    assert life(local, "a")["outcome"] == "accepted"


def test_the_sdk_pages_through_events(server: Server, client: stripe.StripeClient) -> None:
    make_meter(client)
    customer = make_customer(client)
    for number in range(3):
        send(client, customer, "1", identifier=f"{customer}-{number}")
    account = new_account(server)
    for asking, expected in ((client, 3), (connect(server, account=account), 0)):
        answer = asking.raw_request("get", f"{EVENTS}?limit=2&customer={customer}")
        page: Any = asking.deserialize(answer, api_mode="V1")
        assert len(list(page.auto_paging_iter())) == expected


def test_duplicates_are_told(local: LocalServer) -> None:
    local.meter()
    customer = local.customer()
    stream(local, event(customer, identifier="a"), event(customer, identifier="a"))
    local.clock.advance(5_000)
    stream(local, event(customer, "9", identifier="a"))
    assert life(local, "a")["duplicates"] == [{"received_at": NOW + 5}, {"received_at": NOW}]
    assert [one["value"] for one in find(local, outcome="duplicate")] == ["9", "1"]
    assert names(local, outcome="accepted") == ["a"]
