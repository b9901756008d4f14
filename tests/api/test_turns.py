"""Turns of subscriptions in the machine's time, beside the job that takes those of time."""

from typing import Any

import pytest

from meterhouse import limits
from meterhouse.invoicing.turn import bill_of
from tests.api.local import DAY, NOW, LocalServer

SECOND = 1_000


class World:
    """A server, and somebody who is subscribed to two prices of calls."""

    def __init__(self, local: LocalServer) -> None:
        self.local = local
        meter = local.meter()
        local.create("/v1/products", data={"id": "calls", "name": "Calls"})
        data = {
            "currency": "usd",
            "product": "calls",
            "recurring[interval]": "month",
            "recurring[usage_type]": "metered",
            "recurring[meter]": meter,
        }
        self.prices: list[str] = [
            local.create("/v1/prices", data=data | {"unit_amount": str(amount)})["id"]
            for amount in (4, 5)
        ]
        self.customer = local.customer()
        self.subscription = self.subscribe()

    def subscribe(self) -> dict[str, Any]:
        data = {"customer": self.customer, "items[0][price]": self.prices[0]}
        return self.local.create("/v1/subscriptions", data=data)

    @property
    def path(self) -> str:
        return f"/v1/subscriptions/{self.subscription['id']}"

    def use(self, value: int) -> None:
        event = {
            "event_name": "calls",
            "payload[value]": str(value),
            "payload[stripe_customer_id]": self.customer,
        }
        self.local.create("/v1/billing/meter_events", data=event)


@pytest.fixture
def world(local: LocalServer) -> World:
    local.later(700)  # requests do not come at whole seconds
    return World(local)


def test_what_begins_has_the_whole_of_its_first_second(world: World) -> None:
    (item,) = world.subscription["items"]["data"]
    assert item["current_period_start"] == NOW
    world.local.later(10 * SECOND)
    world.use(3)
    world.local.later(200)
    over = world.local.request("DELETE", world.path, params={"invoice_now": "true"}).json()
    invoice = world.local.request("GET", f"/v1/invoices/{over['latest_invoice']}").json()
    assert (over["ended_at"], invoice["total"]) == (NOW + 10, 12)


def test_a_change_waits_for_what_is_due_before_it(world: World) -> None:
    world.use(5)
    world.local.later(40 * DAY * SECOND)  # nobody has told the job of it
    item = world.subscription["items"]["data"][0]["id"]
    data = {"items[0][id]": item, "items[0][price]": world.prices[1]}
    changed = world.local.create(world.path, data=data)
    assert changed["latest_invoice"] is not None
    waiting = world.local.request("GET", "/v1/events?type=invoiceitem.created").json()["data"]
    assert [one["data"]["object"]["period"]["start"] for one in waiting] == [
        world.subscription["items"]["data"][0]["current_period_end"]
    ]


def test_a_change_is_turned_away_while_nothing_happens(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SUBSCRIPTION_DUE_SECONDS_MAX", 0)
    world.local.stop_job("invoice")
    world.local.clock.advance(40 * DAY * SECOND)
    answer = world.local.request("POST", world.path, data={"description": "New"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "lock_timeout")
    assert answer.headers["stripe-should-retry"] == "true"


def test_what_is_another_by_then_is_counted_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a turn was counted for may be billed by somebody else before it is taken."""
    decided: list[int] = []

    def bill(*args: Any) -> Any:
        found = bill_of(*args)
        decided.append(len(decided))
        return None if decided == [0] else found

    monkeypatch.setattr("meterhouse.api.turns.bill_of", bill)
    world.local.later(10 * SECOND)
    world.use(3)
    over = world.local.request("DELETE", world.path, params={"invoice_now": "true"}).json()
    assert decided == [0, 1]
    invoice = world.local.request("GET", f"/v1/invoices/{over['latest_invoice']}").json()
    assert invoice["total"] == 12
