"""The job that bills: what is due is done once, in order, by the machine's clock and by others."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.billing.period import Period
from meterhouse.invoicing import step
from meterhouse.ledger import subscriptions, test_clocks
from tests.api.local import DAY, NOW, LocalServer, kept_store, local_server
from tests.jobs.world import CLOCKS, World

HOUR = 3_600


def second(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


JANUARY = second("2027-01-31T10:00")
FEBRUARY = second("2027-02-28T10:00")
MARCH = second("2027-03-31T10:00")


@pytest.fixture(scope="module", autouse=True)
def _kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with kept_store(tmp_path_factory.mktemp("usage")):
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Return a server in which each test has customers and clocks of its own."""
    with local_server(tmp_path_factory.mktemp("shared")) as local:
        yield World(local)


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[World]:
    """Return a server whose time a test may move."""
    with local_server(tmp_path) as local:
        yield World(local)


def test_a_clock_over_the_end_of_the_month_bills_what_was_used(world: World) -> None:
    clock = world.clock(JANUARY)
    customer = world.customer(clock)
    one = world.subscribe(customer)
    world.use(customer, "100")
    world.use(customer, "-30", JANUARY + HOUR // 20)
    world.advance(clock, JANUARY + 10 * DAY)
    world.use(customer, "2.5")
    world.advance(clock, FEBRUARY)
    [draft] = world.invoices(customer)
    assert (draft.status, draft.reason, draft.total) == ("draft", "subscription_cycle", 290)
    assert (draft.created, draft.finalizes_at) == (FEBRUARY * 1000, (FEBRUARY + HOUR) * 1000)
    assert draft.period == Period(JANUARY * 1000, FEBRUARY * 1000)
    world.use(customer, "10", FEBRUARY - 1)  # it comes late, and in time
    world.use(customer, "7", FEBRUARY)  # it belongs to March
    world.advance(clock, FEBRUARY + HOUR)
    [invoice] = world.invoices(customer)
    assert (invoice.status, invoice.total, invoice.number) == (
        "open",
        330,
        f"{customer.rpartition('_')[2][:8].upper()}-0001",
    )
    assert invoice.finalized_at == (FEBRUARY + HOUR) * 1000
    assert world.lines(invoice) == [("82.5 × Tokens (at $0.04 / month)", 330)]
    assert world.found(one).period == Period(FEBRUARY * 1000, MARCH * 1000)
    world.use(customer, "1", FEBRUARY - 1)  # too late
    world.advance(clock, MARCH + HOUR)
    assert [one.total for one in world.invoices(customer)] == [330, 28]
    assert world.events(customer) == [
        "customer.subscription.created",
        "customer.subscription.updated",
        "invoice.created",
        "invoice.updated",
        "invoice.finalized",
        "customer.subscription.updated",
        "invoice.created",
        "invoice.finalized",
    ]


def test_an_invoice_that_comes_is_told_of_a_week_before(world: World) -> None:
    clock = world.clock(JANUARY)
    customer = world.customer(clock)
    one = world.subscribe(customer)
    world.subscribe(world.customer(clock), collection="send_invoice", days_until_due=7)
    world.use(customer, "25")
    world.advance(clock, FEBRUARY - 7 * DAY - 1)
    assert world.upcoming(customer) == []
    world.advance(clock, FEBRUARY - 7 * DAY)
    [coming] = world.upcoming(customer)
    assert "id" not in coming
    assert (coming["total"], coming["billing_reason"]) == (100, "upcoming")
    assert coming["customer"] == customer
    assert [line["description"] for line in coming["lines"]["data"]] == [
        "25 × Tokens (at $0.04 / month)"
    ]
    asked = {"types": "v1.invoice.upcoming"}
    headers = {"Stripe-Version": "2026-10-28.endive"}
    thin = world.local.request("GET", "/v2/core/events", params=asked, headers=headers).json()
    about = [event["data"] for event in thin["data"]]
    assert about.count({"customer": customer, "subscription": one.id}) == 1
    assert world.invoices(customer) == []
    world.advance(clock, FEBRUARY + DAY)
    assert len(world.upcoming(customer)) == 1
    world.advance(clock, MARCH)
    assert [told["total"] for told in world.upcoming(customer)] == [100, 0]


def test_a_clock_that_goes_far_plays_everything_in_its_order(world: World) -> None:
    clock = world.clock(JANUARY)
    customer = world.customer(clock)
    one = world.subscribe(customer)
    world.subscribe(world.customer(clock), world.licence)
    world.advance(clock, second("2029-02-01T00:00"))
    found = world.invoices(customer)
    ends = [second(f"{text}T10:00") for text in ("2027-02-28", "2027-03-31", "2027-04-30")]
    assert [invoice.period.end // 1000 for invoice in found[:3]] == ends
    assert len(found) == 24
    assert [invoice.number and int(invoice.number[-4:]) for invoice in found] == [*range(1, 25)]
    assert {invoice.status for invoice in found} == {"paid"}
    assert world.found(one).period.start == second("2029-01-31T10:00") * 1000


def test_a_clock_with_a_long_way_holds_up_no_other(alone: World) -> None:
    far, near = alone.clock(JANUARY), alone.clock(JANUARY)
    alone.subscribe(alone.customer(far))
    once = alone.subscribe(alone.customer())
    data = {"frozen_time": JANUARY + 50 * 365 * DAY}
    alone.local.create(f"{CLOCKS}/{far}/advance", data=data)
    alone.local.create(f"{CLOCKS}/{near}/advance", data={"frozen_time": JANUARY + DAY})
    alone.local.later(31 * DAY * 1000)

    def others_are_done(connection: sa.Connection) -> bool:
        under_way = [clock for _, clock in test_clocks.advancing(connection)]
        one = subscriptions.find_subscription(connection, once.scope, once.id)
        assert far in under_way
        return near not in under_way and one is not None and one.latest_invoice is not None

    alone.local.until(others_are_done)


def test_a_trial_ends_and_its_usage_is_free(world: World) -> None:
    clock = world.clock(JANUARY)
    customer = world.customer(clock)
    trial = Period(JANUARY * 1000, (JANUARY + 14 * DAY) * 1000)
    one = world.subscribe(customer, status="trialing", trial=trial, anchor=trial.end)
    world.use(customer, "10")
    world.advance(clock, JANUARY + 13 * DAY)
    assert world.events(customer)[1:] == ["customer.subscription.trial_will_end"]
    world.advance(clock, JANUARY + 14 * DAY)
    assert world.found(one).status == "active"
    world.use(customer, "5")
    world.advance(clock, JANUARY + 60 * DAY)
    first, second_ = world.invoices(customer)
    assert world.lines(first) == [("Free trial for 10 × Tokens", 0)]
    assert (first.status, second_.total) == ("paid", 20)
    assert second_.period.start == trial.end


@pytest.mark.parametrize(
    ("behavior", "status"),
    [("cancel", "canceled"), ("pause", "paused"), ("create_invoice", "active")],
)
def test_the_end_of_a_trial_without_a_payment_method(
    world: World, behavior: str, status: str
) -> None:
    clock = world.clock(JANUARY)
    trial = Period(JANUARY * 1000, (JANUARY + DAY) * 1000)
    ending = {"trial_settings": {"end_behavior": {"missing_payment_method": behavior}}}
    one = world.subscribe(
        world.customer(clock), status="trialing", trial=trial, anchor=trial.end, details=ending
    )
    world.advance(clock, JANUARY + 40 * DAY)
    assert world.found(one).status == status


def test_one_that_is_cancelled_at_its_end_is_billed_for_the_last_time(world: World) -> None:
    clock = world.clock(JANUARY)
    customer = world.customer(clock)
    one = world.subscribe(customer, cancel_at=FEBRUARY * 1000, cancel_at_period_end=True)
    world.use(customer, "25")
    world.advance(clock, FEBRUARY + DAY)
    assert world.found(one).status == "canceled"
    assert [(one.status, one.total) for one in world.invoices(customer)] == [("open", 100)]
    assert world.events(customer)[1:] == [
        "customer.subscription.deleted",
        "invoice.created",
        "invoice.finalized",
    ]
    world.advance(clock, FEBRUARY + 400 * DAY)
    assert len(world.invoices(customer)) == 1


def test_an_invoice_that_is_sent_and_not_paid_is_overdue(world: World) -> None:
    clock = world.clock(JANUARY)
    customer = world.customer(clock)
    one = world.subscribe(customer, collection="send_invoice", days_until_due=7)
    world.use(customer, "25")
    world.advance(clock, FEBRUARY + 7 * DAY - 1)
    assert world.found(one).status == "active"
    world.advance(clock, FEBRUARY + 7 * DAY)
    [invoice] = world.invoices(customer)
    assert (invoice.status, invoice.overdue_told) == ("open", True)
    assert world.found(one).status == "past_due"
    assert world.events(customer)[-2:] == ["customer.subscription.updated", "invoice.overdue"]
    world.advance(clock, FEBRUARY + 14 * DAY)
    assert world.events(customer).count("invoice.overdue") == 1


def test_several_invoices_that_are_late_at_once_make_one_subscription_past_due(
    alone: World,
) -> None:
    customer = alone.customer()
    one = alone.subscribe(customer, collection="send_invoice", days_until_due=1)
    alone.use(customer, "25", NOW)
    alone.local.stop_job("invoice")
    alone.local.later(30 * DAY * 1000)
    alone.use(customer, "25", NOW + 30 * DAY)
    alone.local.later(40 * DAY * 1000)
    alone.local.run(started(alone.local))
    for passed in (0, 2 * HOUR, 2 * DAY):
        alone.go_on(passed)
    assert alone.events(customer).count("invoice.overdue") == 2
    assert alone.found(one).status == "past_due"
    late = [
        event
        for event in alone.told(customer)
        if event["data"].get("previous_attributes", {}).get("status") == "active"
    ]
    assert len(late) == 1


async def started(local: LocalServer) -> None:
    local.start_job("invoice")


def test_the_machines_time_goes_on_too_and_a_standstill_is_made_up_for(alone: World) -> None:
    customer = alone.customer()
    one = alone.subscribe(customer)
    alone.use(customer, "25", NOW)
    alone.local.stop_job("invoice")
    alone.local.later(70 * DAY * 1000)
    back = alone.local.clock.now()
    alone.local.run(started(alone.local))
    alone.go_on(0)
    first, second_ = alone.invoices(customer)
    assert (first.status, second_.status) == ("draft", "draft")
    assert (first.total, second_.total) == (100, 0)
    assert first.created >= back  # so its hour is a whole one
    assert first.period.start == NOW * 1000
    assert first.period.end == second_.period.start
    alone.go_on(HOUR - 1)
    assert {one.status for one in alone.invoices(customer)} == {"draft"}
    alone.go_on(2)
    assert [one.status for one in alone.invoices(customer)] == ["open", "paid"]
    assert alone.found(one).period.end > alone.local.clock.now()


@pytest.mark.parametrize("what", ["_planned", "_take_step"])
def test_what_fails_holds_up_nobody_else(
    alone: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    bad, good = alone.customer(), alone.customer()
    failing, other = alone.subscribe(bad), alone.subscribe(good)
    work = getattr(step, what)

    def refuse(*args: Any) -> Any:
        about = args[1] if what == "_planned" else args[-1].subscription
        if about.id == failing.id:
            raise ValueError("nobody thought of that")
        return work(*args)

    monkeypatch.setattr(step, what, refuse)
    alone.local.later(40 * DAY * 1000)
    alone.local.job("invoice").wake()

    def done(connection: Any) -> bool:
        found = subscriptions.find_subscription(connection, 1, other.id)
        return found is not None and found.revision > other.revision

    alone.local.until(done)
    assert alone.found(failing) == failing
    assert f"what is due of {failing.id} failed" in caplog.text
    monkeypatch.undo()
    alone.go_on(2 * limits.INVOICE_RETRY_SECONDS)
    assert len(alone.invoices(bad)) == len(alone.invoices(good)) == 1
