"""The job that triggers alerts: whoever has used so much is told of once, whatever the batches."""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any
from unittest.mock import patch

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse import limits
from meterhouse.ledger.tables import journal, touches
from meterhouse.usage.store import UsageStore
from tests.api.local import DAY, NOW, LocalServer, kept_store, local_server

ALERTS = "/v1/billing/alerts"
EVENTS = "/v1/billing/meter_events"


@pytest.fixture(scope="module", autouse=True)
def _kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with kept_store(tmp_path_factory.mktemp("usage")):
        yield


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """Return a server in which each test has meters and customers of its own."""
    with local_server(tmp_path_factory.mktemp("shared")) as opened:
        yield opened


_numbers = count()


class World:
    """A meter and a customer, and alerts on what is used."""

    def __init__(self, local: LocalServer, **meter: str) -> None:
        self.local = local
        self.name = f"calls_{next(_numbers)}"
        self.meter = local.meter(self.name, **meter)
        self.customer = local.customer()

    def alert(self, gte: int = 100, customer: str | None = None) -> str:
        data: dict[str, Any] = {
            "alert_type": "usage_threshold",
            "title": "Much",
            "usage_threshold[gte]": gte,
            "usage_threshold[meter]": self.meter,
            "usage_threshold[recurrence]": "one_time",
        }
        if customer is not None:
            data |= {
                "usage_threshold[filters][0][type]": "customer",
                "usage_threshold[filters][0][customer]": customer,
            }
        made: str = self.local.create(ALERTS, data=data)["id"]
        return made

    def use(self, value: str, customer: str | None = None, **extra: Any) -> str:
        """Report usage, and wait until it is evaluated; return the identifier."""
        identifier = self.send(value, customer, **extra)
        self.settle()
        return identifier

    def send(self, value: str, customer: str | None = None, **extra: Any) -> str:
        data = {
            "event_name": self.name,
            "payload[value]": value,
            "payload[stripe_customer_id]": customer or self.customer,
        }
        identifier: str = self.local.create(EVENTS, data=data | extra)["identifier"]
        return identifier

    def cancel(self, identifier: str) -> None:
        data = {"event_name": self.name, "type": "cancel", "cancel[identifier]": identifier}
        self.local.create("/v1/billing/meter_event_adjustments", data=data)
        self.settle()

    def settle(self) -> None:
        self.local.run(self.local.meterhouse.services.progress.settle(20))
        self.local.until(lambda connection: not any(_left(connection)))

    def triggered(self, *alerts: str) -> list[tuple[str, str, int]]:
        """Return the alert, customer and value of each event about some alerts, oldest first."""
        params = {"type": "billing.alert.triggered", "limit": 100}
        events = self.local.request("GET", "/v1/events", params=params).json()["data"]
        told = [event["data"]["object"] for event in events[::-1]]
        return [
            (one["alert"]["id"], one["customer"], one["value"])
            for one in told
            if one["alert"]["id"] in alerts
        ]


def _left(connection: sa.Connection) -> Iterator[bool]:
    for table in (journal, touches):
        yield connection.execute(sa.select(sa.exists(sa.select(table)))).scalar_one()


def test_the_usage_that_reaches_it_triggers_an_alert_once(local: LocalServer) -> None:
    world = World(local)
    alert = world.alert(100)
    world.use("99.5")
    assert world.triggered(alert) == []
    world.use("4.75")
    assert world.triggered(alert) == [(alert, world.customer, 104)]
    world.use("500")
    assert len(world.triggered(alert)) == 1


def test_both_events_that_tell_it(local: LocalServer) -> None:
    world = World(local)
    alert = world.alert(100, world.customer)
    world.use("104")
    [event] = local.request(
        "GET", "/v1/events", params={"type": "billing.alert.triggered", "limit": 1}
    ).json()["data"]
    shown = local.request("GET", f"{ALERTS}/{alert}").json()
    assert event["data"] == {
        "object": {
            "object": "billing.alert_triggered",
            "alert": shown,
            "created": NOW,
            "customer": world.customer,
            "livemode": False,
            "value": 104,
        }
    }
    assert event["request"] is None
    thin = local.request(
        "GET",
        "/v2/core/events",
        params={"types[0]": "v1.billing.alert.triggered"},
        headers={"Stripe-Version": "2026-10-28.endive"},
    ).json()["data"][0]
    assert thin["related_object"] == {
        "id": alert,
        "type": "billing.alert",
        "url": f"{ALERTS}/{alert}",
    }


def test_usage_of_before_counts_when_more_is_reported(local: LocalServer) -> None:
    world = World(local)
    world.use("300")
    alert = world.alert(100)
    world.settle()
    assert world.triggered(alert) == []
    world.use("1")
    assert world.triggered(alert) == [(alert, world.customer, 301)]


def test_each_customer_triggers_an_alert_for_itself(local: LocalServer) -> None:
    world = World(local)
    other, third = local.customer(), local.customer()
    everybody, only = world.alert(10), world.alert(10, other)
    for customer in (other, third, world.customer):
        world.send("6", customer)
    world.settle()
    for customer in (other, third):
        world.send("6", customer)
    world.settle()
    assert sorted(world.triggered(everybody)) == sorted(
        [(everybody, other, 12), (everybody, third, 12)]
    )
    assert world.triggered(only) == [(only, other, 12)]


def test_an_alert_that_is_inactive_is_triggered_by_what_comes_after_it_is_active(
    local: LocalServer,
) -> None:
    world = World(local)
    alert = world.alert(10)
    local.create(f"{ALERTS}/{alert}/deactivate")
    world.use("20")
    local.create(f"{ALERTS}/{alert}/activate")
    world.settle()
    assert world.triggered(alert) == []
    world.use("1")
    assert world.triggered(alert) == [(alert, world.customer, 21)]


def test_what_is_cancelled_counts_no_more(local: LocalServer) -> None:
    world = World(local)
    alert = world.alert(10)
    world.cancel(world.use("9"))
    world.use("2")
    assert world.triggered(alert) == []
    minus = world.use("-5")
    world.use("9")
    assert world.triggered(alert) == []
    world.cancel(minus)  # which raises the total to 11
    assert world.triggered(alert) == [(alert, world.customer, 11)]


@pytest.mark.parametrize(
    ("formula", "values", "reached"),
    [("count", ["7", "7", "7"], 3), ("last", ["2", "8", "1"], 8), ("last", ["2", "1", "9"], 9)],
)
def test_other_formulas_compare_what_they_come_to(
    local: LocalServer, formula: str, values: Sequence[str], reached: int
) -> None:
    world = World(local, **{"default_aggregation[formula]": formula})
    alert = world.alert(3)
    for number, value in enumerate(values):
        world.use(value, timestamp=str(NOW - 100 + number))
    assert world.triggered(alert) == [(alert, world.customer, reached)]


def test_a_meter_with_an_event_time_window(local: LocalServer) -> None:
    world = World(local, event_time_window="hour")
    alert = world.alert(10)
    world.use("9")
    world.use("8")  # instead
    world.use("2", timestamp=str(NOW - 2 * 3_600))
    assert world.triggered(alert) == [(alert, world.customer, 10)]


def test_several_alerts_on_one_meter(local: LocalServer) -> None:
    world = World(local)
    alerts = [world.alert(gte) for gte in (30, 10, 20, 10)]
    world.use("15")
    world.use("5")
    assert world.triggered(*alerts) == [
        (alerts[1], world.customer, 15),
        (alerts[3], world.customer, 15),
        (alerts[2], world.customer, 20),
    ]


def test_a_customer_who_lives_by_a_test_clock(local: LocalServer) -> None:
    world = World(local)
    frozen = NOW + 400 * DAY
    clock = local.create("/v1/test_helpers/test_clocks", data={"frozen_time": frozen})["id"]
    customer = local.create("/v1/customers", data={"test_clock": clock})["id"]
    alert = world.alert(10)
    world.use("12", customer)
    assert world.triggered(alert) == [(alert, customer, 12)]
    params = {"type": "billing.alert.triggered", "limit": 1}
    [event] = local.request("GET", "/v1/events", params=params).json()["data"]
    assert event["data"]["object"]["created"] == frozen
    assert event["created"] == NOW


def test_an_alert_that_recurs_is_triggered_once_in_every_period(local: LocalServer) -> None:
    """Given steps of a budget, each is reached in each day for itself, by late usage, too."""
    world = World(local)
    asked = {"title": "Budget", "meter": world.meter, "recurrence": "day", "budget": "8.4"}
    asked |= {"steps[0]": "50", "steps[1]": "100"}
    alert = local.create("/meterhouse/v1/alerts", data=asked)["id"]
    yesterday = str(NOW - DAY)
    world.send("4.2")
    world.use("3", timestamp=yesterday)
    world.use("1.2", timestamp=yesterday)
    world.use("4.2")
    path = f"/meterhouse/v1/alerts/{alert}/history"
    told = local.request("GET", path).json()["data"][::-1]
    today = NOW // DAY * DAY
    days = {today: (today, today + DAY), today - DAY: (today - DAY, today)}
    assert [(one["percent"], one["gte"], one["value"], one["period"]["start"]) for one in told] == [
        ("50", "4.2", "4.2", today),
        ("50", "4.2", "4.2", today - DAY),
        ("100", "8.4", "8.4", today),
    ]
    assert {(one["period"]["start"], one["period"]["end"]) for one in told} == set(days.values())
    assert world.triggered(alert) == [
        (alert, world.customer, 4),
        (alert, world.customer, 4),
        (alert, world.customer, 8),
    ]


def test_an_alert_about_some_dimensions(local: LocalServer) -> None:
    world = World(local)
    asked = {
        "title": "Large",
        "meter": world.meter,
        "dimensions[size]": "large",
        "dimensions[place]": "here",
        "steps[0]": "10",
    }
    alert = local.create("/meterhouse/v1/alerts", data=asked)["id"]
    for value, size, place in (
        ("9", "large", "here"),
        ("50", "large", ""),
        ("50", "small", "here"),
    ):
        extra = {"payload[size]": size} | ({"payload[place]": place} if place else {})
        world.use(value, **extra)
    assert world.triggered(alert) == []
    large = {"payload[size]": "large", "payload[place]": "here"}
    world.use("-5", **large)
    world.use("6", **large)
    assert world.triggered(alert) == [(alert, world.customer, 10)]


def test_what_is_archived_is_triggered_no_more(local: LocalServer) -> None:
    world = World(local)
    alert = world.alert(10)
    local.create(f"{ALERTS}/{alert}/archive")
    world.use("12")
    assert world.triggered(alert) == []


def test_an_evaluation_that_fails_is_done_again(local: LocalServer) -> None:
    world = World(local)
    alert = world.alert(10)
    world.use("9")
    failed = OSError("no")
    with (
        patch.object(limits, "ALERT_RETRY_SECONDS", 0),
        patch("meterhouse.jobs.alert.new_id", side_effect=[failed, failed, "alrtg_1", "alrtg_2"]),
    ):
        world.use("2")
    assert world.triggered(alert) == [(alert, world.customer, 11)]


def test_totals_are_asked_for_only_near_a_step(local: LocalServer) -> None:
    world = World(local)
    alert = world.alert(100)
    asked: list[int] = []
    periods = UsageStore.periods

    def counting(store: UsageStore, *args: Any) -> Any:
        asked.append(len(args[1]))
        return periods(store, *args)

    with patch.object(UsageStore, "periods", counting):
        world.use("1")  # of a customer who is not known yet
        for _ in range(5):
            world.use("10")
        assert asked == [1]
        world.use("60")
        assert asked == [1, 1]
        world.use("60")
        assert asked == [1, 1]
    assert len(world.triggered(alert)) == 1


def test_a_job_that_begins_anew_triggers_nothing_twice(local: LocalServer) -> None:
    world = World(local)
    alert, other = world.alert(10), world.alert(20)
    world.use("12")
    local.stop_job("alert")
    world.send("3")
    local.run(_started(local))
    world.settle()
    assert world.triggered(alert, other) == [(alert, world.customer, 12)]
    world.use("5")
    assert world.triggered(alert, other)[1:] == [(other, world.customer, 20)]


async def _started(local: LocalServer) -> None:
    local.start_job("alert")


EVENT = st.tuples(st.integers(0, 2), st.integers(-6, 12))


@settings(max_examples=8)
@given(
    batches=st.lists(st.lists(EVENT, min_size=1, max_size=6), min_size=1, max_size=4),
    steps=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    forgotten=st.booleans(),
)
def test_whatever_the_batches_each_step_is_triggered_once(
    local: LocalServer, batches: list[list[tuple[int, int]]], steps: list[int], *, forgotten: bool
) -> None:
    world = World(local)
    customers = [local.customer() for _ in range(3)]
    alerts = {world.alert(gte): gte for gte in steps}
    totals = dict.fromkeys(customers, 0)
    certain: set[tuple[str, str]] = set()
    possible: set[tuple[str, str]] = set()

    def reached() -> set[tuple[str, str]]:
        return {
            (alert, customer)
            for alert, gte in alerts.items()
            for customer, total in totals.items()
            if total >= gte
        }

    for batch in batches:
        for number, value in batch:
            world.send(str(value), customers[number])
            totals[customers[number]] += value
            possible |= reached()
        world.settle()
        certain |= reached()
        if forgotten:
            local.stop_job("alert")
            local.run(_started(local))
    told = [(alert, customer) for alert, customer, _ in world.triggered(*alerts)]
    assert len(told) == len(set(told))
    assert certain <= set(told) <= possible
