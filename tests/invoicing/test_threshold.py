"""Invoices that are made because a threshold was reached, and what is billed after them."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from meterhouse.billing.invoice import Invoice
from meterhouse.billing.subscription import Subscription
from meterhouse.invoicing import threshold
from meterhouse.invoicing.threshold import check
from meterhouse.invoicing.turn import Turn, take
from meterhouse.ledger import customers
from meterhouse.ledger.announce import Cause
from meterhouse.ledger.tables import touches
from tests.api.local import DAY, kept_store, local_server
from tests.jobs.test_invoice import FEBRUARY, HOUR, JANUARY, MARCH
from tests.jobs.world import World

# What 10,000 units cost at 50 each, and more of them at 40 (spec of tiered prices).
TIERS = {
    "billing_scheme": "tiered",
    "tiers[0][up_to]": 10_000,
    "tiers[0][unit_amount]": 50,
    "tiers[1][up_to]": "inf",
    "tiers[1][unit_amount]": 40,
}


@pytest.fixture(scope="module", autouse=True)
def _kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with kept_store(tmp_path_factory.mktemp("usage")):
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with local_server(tmp_path_factory.mktemp("shared")) as local:
        yield World(local)


_TOUCHED = sa.select(sa.exists(sa.select(touches)))


class Story:
    """A customer who lives by a clock, and is subscribed to a price with thresholds."""

    def __init__(self, world: World, price: dict[str, Any] | None = None, /, **data: Any) -> None:
        self.world = world
        self.http = world.local
        self.price = self.new_price(price) if price else world.metered
        self.clock = world.clock(JANUARY)
        self.customer = world.customer(self.clock)
        items = {"customer": self.customer, "items[0][price]": self.price}
        self.id: str = self.http.create("/v1/subscriptions", data=items | data)["id"]

    def new_price(self, price: dict[str, Any]) -> str:
        plain = {
            "product": "tokens",
            "currency": "usd",
            "recurring[interval]": "month",
            "recurring[usage_type]": "metered",
            "recurring[meter]": self.world.meter,
        }
        made: str = self.http.create("/v1/prices", data=plain | price)["id"]
        return made

    def use(self, value: str, timestamp: int | None = None) -> None:
        """Use something, and let it be looked at."""
        self.world.use(self.customer, value, timestamp)
        self.look()

    def look(self) -> None:
        services = self.http.meterhouse.services
        assert self.http.run(services.progress.settle(30))
        self.http.until(lambda connection: not connection.execute(_TOUCHED).scalar_one())
        touched = {(1, self.world.meter, self.customer)}
        now = self.http.clock.now()
        self.http.run(check(services.stores, self.world.terms, now, touched))

    def on(self, frozen_time: int) -> None:
        self.world.advance(self.clock, frozen_time)

    def invoices(self) -> list[Invoice]:
        return self.world.invoices(self.customer)

    def totals(self) -> list[tuple[str, int]]:
        return [(one.reason.removeprefix("subscription_"), one.total) for one in self.invoices()]

    def lines(self, number: int = -1) -> list[tuple[str, int]]:
        return self.world.lines(self.invoices()[number])

    def balance(self) -> int:
        with self.http.meterhouse.ledger.read() as connection:
            found = customers.find_customer(connection, 1, self.customer)
        assert found is not None
        return found.balance

    def shown(self) -> dict[str, Any]:
        answer = self.http.request("GET", f"/v1/subscriptions/{self.id}")
        document: dict[str, Any] = answer.json()
        return document

    def shown_invoice(self, invoice: str) -> dict[str, Any]:
        document: dict[str, Any] = self.http.request("GET", f"/v1/invoices/{invoice}").json()
        return document

    def change(self, **data: Any) -> httpx.Response:
        return self.http.request("POST", f"/v1/subscriptions/{self.id}", data=data)


def test_graduated_tiers_go_on_over_the_invoices_of_thresholds(world: World) -> None:
    """Example 38: an invoice every 200 units, and after 10,000 units every 250."""
    story = Story(
        world, TIERS | {"tiers_mode": "graduated"}, **{"billing_thresholds[amount_gte]": 10_000}
    )
    story.use("199")
    assert story.invoices() == []
    story.use("1")
    assert story.totals() == [("threshold", 10_000)]
    story.use("199")
    assert len(story.invoices()) == 1
    story.use("1")
    assert story.totals() == [("threshold", 10_000)] * 2
    assert story.lines() == [
        ("400 × Tokens (Tier 1 at $0.50 / month)", 20_000),
        ("Amount previously billed", -10_000),
    ]
    story.use("9600")
    assert story.totals()[2:] == [("threshold", 480_000)]
    story.use("249")
    story.use("1")
    story.use("100")
    assert story.totals()[3:] == [("threshold", 10_000)]
    story.on(FEBRUARY + HOUR)
    assert story.totals()[4:] == [("cycle", 4_000)]
    assert story.lines() == [
        ("10000 × Tokens (Tier 1 at $0.50 / month)", 500_000),
        ("350 × Tokens (Tier 2 at $0.40 / month)", 14_000),
        ("Amount previously billed", -510_000),
    ]
    assert story.balance() == 0


def test_the_volume_of_a_whole_period_is_reckoned_anew(world: World) -> None:
    """Example 39: one unit more makes all of them cheaper, and the rest is the customer's."""
    story = Story(
        world, TIERS | {"tiers_mode": "volume"}, **{"billing_thresholds[amount_gte]": 500_000}
    )
    story.use("10000")
    assert story.totals() == [("threshold", 500_000)]
    story.use("1")
    story.on(FEBRUARY + HOUR)
    assert story.totals()[1:] == [("cycle", -99_960)]
    assert story.lines() == [
        ("10001 × Tokens (Tier 2 at $0.40 / month)", 400_040),
        ("Amount previously billed", -500_000),
    ]
    assert (story.invoices()[1].status, story.balance()) == ("paid", -99_960)


def test_the_next_threshold_is_reached_by_what_is_not_billed_yet(world: World) -> None:
    """Example 40: 25,000 units, less what the first invoice has billed."""
    story = Story(
        world, TIERS | {"tiers_mode": "volume"}, **{"billing_thresholds[amount_gte]": 500_000}
    )
    story.use("10000")
    story.use("14999")
    assert len(story.invoices()) == 1
    story.use("1")
    assert story.totals() == [("threshold", 500_000)] * 2
    assert story.lines() == [
        ("25000 × Tokens (Tier 2 at $0.40 / month)", 1_000_000),
        ("Amount previously billed", -500_000),
    ]


def test_a_period_may_begin_anew_at_a_threshold(world: World) -> None:
    """Example 41: from then on periods are counted, and what came after is billed at their end."""
    story = Story(
        world,
        **{
            "billing_thresholds[reset_billing_cycle_anchor]": "true",
            "items[0][billing_thresholds][usage_gte]": 2_000,
        },
    )
    tenth = JANUARY + 10 * DAY
    story.on(tenth)
    story.use("1999")
    assert story.invoices() == []
    story.use("1")
    assert story.totals() == [("threshold", 8_000)]
    shown = story.shown()
    assert shown["billing_cycle_anchor"] == tenth
    (item,) = shown["items"]["data"]
    assert item["current_period_start"] == tenth
    story.on(tenth + DAY)
    story.use("50")
    story.on(item["current_period_end"] + HOUR)
    assert story.totals()[1:] == [("cycle", 200)]
    assert story.lines() == [("50 × Tokens (at $0.04 / month)", 200)]


def test_what_comes_late_after_a_new_beginning_is_billed_with_the_next_invoice(
    world: World,
) -> None:
    """Given usage of the very second of a threshold, when more of it comes, then it is not lost."""
    story = Story(
        world,
        **{
            "billing_thresholds[amount_gte]": 8_000,
            "billing_thresholds[reset_billing_cycle_anchor]": "true",
        },
    )
    story.use("2000")
    story.use("50")
    assert story.totals() == [("threshold", 8_000)]
    story.on(FEBRUARY + HOUR)
    assert story.totals()[1:] == [("cycle", 200)]
    assert story.lines() == [
        ("0 × Tokens (at $0.04 / month)", 0),
        ("2050 × Tokens (at $0.04 / month)", 8_200),
        ("Amount previously billed", -8_000),
    ]
    story.on(MARCH + HOUR)
    assert story.totals()[2:] == [("cycle", 0)]


@pytest.mark.parametrize(
    ("data", "on"),
    [
        ({"trial_period_days": 20}, 0),
        ({}, 27 * DAY),
        ({"cancel_at": JANUARY + 9 * DAY}, 8 * DAY),
    ],
)
def test_when_no_threshold_is_looked_at(world: World, data: dict[str, Any], on: int) -> None:
    story = Story(world, **{"billing_thresholds[amount_gte]": 1_000}, **data)
    if on:
        story.on(JANUARY + on)
    story.use("300")
    assert story.invoices() == []


def test_an_invoice_that_became_void_is_billed_with_the_rest(world: World) -> None:
    story = Story(world, **{"billing_thresholds[amount_gte]": 1_000})
    story.use("300")
    [first] = story.invoices()
    story.http.create(f"/v1/invoices/{first.id}/void")
    story.change(billing_thresholds="")
    story.on(FEBRUARY + HOUR)
    assert story.totals() == [("threshold", 1_200), ("cycle", 1_200)]


def test_what_became_void_reaches_its_threshold_again(world: World) -> None:
    story = Story(world, **{"items[0][billing_thresholds][usage_gte]": 300})
    story.use("300")
    [first] = story.invoices()
    story.http.create(f"/v1/invoices/{first.id}/void")
    story.use("1")
    assert story.totals() == [("threshold", 1_200), ("threshold", 1_204)]


def test_an_invoice_that_becomes_void_before_the_last_one_is_finalized(world: World) -> None:
    story = Story(world, **{"billing_thresholds[amount_gte]": 1_000})
    story.use("300")
    story.on(FEBRUARY)
    [first, draft] = story.invoices()
    assert story.shown_invoice(draft.id)["total"] == 0
    story.http.create(f"/v1/invoices/{first.id}/void")
    assert story.shown_invoice(draft.id)["total"] == 1_200
    story.on(FEBRUARY + HOUR)
    assert story.totals() == [("threshold", 1_200), ("cycle", 1_200)]
    assert story.lines() == [("300 × Tokens (at $0.04 / month)", 1_200)]


def test_a_price_that_changes_after_a_threshold(world: World) -> None:
    """Given an early invoice, then its usage waits with the rest at the old price, less that."""
    story = Story(world, **{"billing_thresholds[amount_gte]": 1_000})
    story.on(JANUARY + DAY)
    story.use("300")
    story.on(JANUARY + 2 * DAY)
    story.use("20")
    story.on(JANUARY + 3 * DAY)
    item = story.shown()["items"]["data"][0]["id"]
    dear = story.new_price({"unit_amount": 9})
    assert story.change(**{"items[0][id]": item, "items[0][price]": dear}).status_code == 200
    items = story.http.request(
        "GET", "/v1/invoiceitems", params={"customer": story.customer}
    ).json()["data"]
    assert [(one["quantity"], one["amount"]) for one in items] == [(320, 80)]
    story.use("100")  # 80 cents wait, and 900 come: 20 are missing
    assert len(story.invoices()) == 1
    story.use("3")
    assert story.totals()[1:] == [("threshold", 1_007)]
    story.on(FEBRUARY + HOUR)
    assert story.totals()[2:] == [("cycle", 0)]
    assert story.lines() == [
        ("103 × Tokens (at $0.09 / month)", 927),
        ("Amount previously billed", -927),
    ]


def test_a_pause_of_collection_makes_no_invoice_early(world: World) -> None:
    story = Story(world, **{"billing_thresholds[amount_gte]": 1_000})
    story.change(**{"pause_collection[behavior]": "void"})
    story.use("300")
    assert story.invoices() == []
    story.change(pause_collection="")
    story.look()
    assert story.totals() == [("threshold", 1_200)]


def test_many_who_look_at_once_make_one_invoice(world: World) -> None:
    story = Story(world, **{"billing_thresholds[amount_gte]": 1_000})
    world.use(story.customer, "300")
    services = story.http.meterhouse.services
    assert story.http.run(services.progress.settle(30))
    touched = {(1, world.meter, story.customer)}
    now = story.http.clock.now()

    async def look() -> None:
        looks = [check(services.stores, world.terms, now, touched) for _ in range(5)]
        await asyncio.gather(*looks)

    story.http.run(look())
    assert story.totals() == [("threshold", 1_200)]


def test_one_that_fails_holds_up_nobody_else(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken, whole = (Story(world, **{"billing_thresholds[amount_gte]": 1_000}) for _ in range(2))

    def refuse(connection: sa.Connection, cause: Cause, turn: Turn, *more: Any) -> Subscription:
        assert turn.change.subscription.id != broken.id
        return take(connection, cause, turn, *more)

    monkeypatch.setattr(threshold, "take", refuse)
    for story in (broken, whole):
        world.use(story.customer, "300")
    services = whole.http.meterhouse.services
    assert whole.http.run(services.progress.settle(30))
    touched = {(1, world.meter, story.customer) for story in (broken, whole)}
    now = whole.http.clock.now()
    whole.http.run(check(services.stores, world.terms, now, touched))
    assert whole.totals() == [("threshold", 1_200)]
    assert broken.invoices() == []
    assert f"the thresholds of {broken.id} could not be compared" in caplog.text


def test_usage_of_a_threshold_is_late_only_when_its_period_has_been_billed(world: World) -> None:
    story = Story(world, **{"billing_thresholds[amount_gte]": 1_000})
    story.use("300")
    params = {"customer": story.customer}

    def late() -> list[tuple[str, int, int]]:
        answer = story.http.request("GET", "/meterhouse/v1/late_usage", params=params)
        names = ("usage_billed", "amount_billed", "amount_difference")
        return [tuple(row[name] for name in names) for row in answer.json()["data"]]

    world.use(story.customer, "10")
    assert late() == []
    story.on(FEBRUARY + HOUR)
    assert late() == []
    world.use(story.customer, "5", FEBRUARY - 1)
    assert late() == [("310", 1_240, 20)]


def test_credits_put_a_threshold_off(world: World) -> None:
    """Given a credit, then what it pays of usage does not count against the threshold."""
    story = Story(world, **{"billing_thresholds[amount_gte]": 1_000})
    grant = {
        "customer": story.customer,
        "amount[type]": "monetary",
        "amount[monetary][currency]": "usd",
        "amount[monetary][value]": 600,
        "applicability_config[scope][price_type]": "metered",
    }
    story.http.create("/v1/billing/credit_grants", data=grant)
    story.use("399")
    assert story.invoices() == []
    story.use("1")
    assert story.totals() == [("threshold", 1_000)]
    story.use("10")
    story.on(FEBRUARY + HOUR)
    assert story.totals()[1:] == [("cycle", 40)]
