"""What is due and cannot be billed is told, tried again with pauses, and holds up nobody else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.ledger import holdups, test_clocks
from tests.api.local import DAY, NOW, LocalServer, kept_store, local_server
from tests.jobs.world import CLOCKS, World

HOUR = 3_600
MONTH = 40 * DAY
TOO_MUCH = "999999999999999"
ADVICE = (
    "Cancel the events that are wrong, or cancel the subscription without `invoice_now`, "
    "which then does not bill them."
)
SENTENCE = "The amount of a line is greater than the maximum amount allowed."


@pytest.fixture(scope="module", autouse=True)
def _kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with kept_store(tmp_path_factory.mktemp("usage")):
        yield


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with local_server(tmp_path) as local:
        yield World(local)


def held_up(world: World, **asked: Any) -> list[dict[str, Any]]:
    answer = world.local.request("GET", "/meterhouse/v1/holdups", params=asked).raise_for_status()
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def subscribe(world: World, customer: str) -> str:
    data = {"customer": customer, "items[0][price]": world.metered}
    subscription: str = world.local.create("/v1/subscriptions", data=data)["id"]
    return subscription


def attempts(world: World, number: int) -> dict[str, Any]:
    """Wait until something has been tried so many times; return how it is held up."""
    world.local.job("invoice").wake()

    def done(connection: sa.Connection) -> bool:
        return [one.attempts for one in holdups.list_holdups(connection, 1, 2)] == [number]

    world.local.until(done)
    [held] = held_up(world)
    return held


def test_it_is_told_and_tried_again_with_pauses(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Given usage that nobody could pay, then others are billed, and it can be cancelled."""
    bad, good = world.customer(), world.customer()
    failing, _ = subscribe(world, bad), subscribe(world, good)
    world.use(bad, TOO_MUCH)
    world.local.later(MONTH * 1000)
    held = attempts(world, 1)
    now = NOW + MONTH
    retry = limits.INVOICE_RETRY_SECONDS
    assert held == {
        "object": "meterhouse.holdup",
        "advice": ADVICE,
        "attempts": 1,
        "code": "amount_too_large",
        "customer": bad,
        "held_up": failing,
        "message": SENTENCE,
        "next_attempt": now + 2 * retry,
        "since": now,
        "test_clock": None,
    }
    again = f"failed at attempt 1 and is tried again in {2 * retry} seconds: {SENTENCE} {ADVICE}"
    assert f"what is due of {failing} {again}" in caplog.text
    world.local.until(lambda connection: bool(_drafts(connection)))
    assert len(world.invoices(good)) == 1
    assert held_up(world, customer=good) == []
    assert world.local.request("GET", "/meterhouse/v1/status").json()["held_up"] == 1
    world.local.later(2 * retry * 1000)
    held = attempts(world, 2)
    assert (held["since"], held["next_attempt"]) == (now, now + 6 * retry)

    path = f"/v1/subscriptions/{failing}"
    for method, query in (("POST", ""), ("DELETE", "?invoice_now=true")):
        error = world.local.request(method, path + query).json()["error"]
        assert error["code"] == "subscription_held_up"
        assert SENTENCE in error["message"]
    world.local.request("DELETE", path).raise_for_status()
    assert held_up(world) == []
    assert world.local.request("GET", "/meterhouse/v1/status").json()["held_up"] == 0


def test_the_pause_has_a_bound(world: World) -> None:
    customer = world.customer()
    subscription = subscribe(world, customer)
    with world.local.meterhouse.ledger.write() as connection:
        for _ in range(40):
            held = holdups.hold_up(connection, subscription, None, "It cannot be.", 0)
    assert held is not None
    assert (held.attempts, held.again_at) == (40, limits.INVOICE_RETRY_SECONDS_MAX * 1000)


def test_what_is_due_no_more_is_not_held_up(world: World) -> None:
    customer = world.customer()
    subscription = subscribe(world, customer)
    with world.local.meterhouse.ledger.write() as connection:
        assert holdups.hold_up(connection, subscription, None, "It cannot be.", 0)
        assert holdups.find(connection, subscription)
        assert holdups.hold_up(connection, "sub_none", None, "It is not there.", 0) is None
    world.local.request("DELETE", f"/v1/subscriptions/{subscription}").raise_for_status()
    with world.local.meterhouse.ledger.read() as connection:
        assert holdups.find(connection, subscription) is None
        assert holdups.count(connection, 1) == 0


def test_a_draft_that_has_become_too_much_is_finalized_once_its_events_are_cancelled(
    world: World,
) -> None:
    customer = world.customer()
    subscribe(world, customer)
    world.local.later(31 * DAY * 1000)
    world.local.job("invoice").wake()
    world.local.until(lambda connection: bool(_drafts(connection)))
    data = {
        "event_name": "tokens",
        "identifier": "too much",
        "payload[stripe_customer_id]": customer,
        "payload[value]": TOO_MUCH,
        "timestamp": NOW + DAY,
    }
    world.local.create("/v1/billing/meter_events", data=data)
    world.local.later(2 * HOUR * 1000)
    held = attempts(world, 1)
    draft = world.invoices(customer)[0].id
    assert held["held_up"] == draft
    error = {
        "code": "amount_too_large",
        "doc_url": "https://stripe.com/docs/error-codes/amount-too-large",
        "message": SENTENCE,
        "type": "invalid_request_error",
    }
    shown = world.local.request("GET", f"/v1/invoices/{draft}").json()
    assert shown["last_finalization_error"] == error
    told = [one for one in world.told(customer) if one["type"] == "invoice.finalization_failed"]
    assert [one["data"]["object"]["last_finalization_error"] for one in told] == [error]
    world.local.create(
        "/v1/billing/meter_event_adjustments",
        data={"event_name": "tokens", "type": "cancel", "cancel[identifier]": "too much"},
    )
    world.go_on(2 * limits.INVOICE_RETRY_SECONDS)
    [invoice] = world.invoices(customer)
    assert (invoice.status, invoice.total) == ("paid", 0)
    shown = world.local.request("GET", f"/v1/invoices/{draft}").json()
    assert shown["last_finalization_error"] is None
    assert held_up(world) == []


def _drafts(connection: sa.Connection) -> list[Any]:
    return list(connection.exec_driver_sql("SELECT id FROM invoices WHERE status = 'draft'"))


# ---- Test clocks ----


def failed_clock(world: World) -> tuple[str, str, int]:
    """Send a clock over a period that cannot be billed; return it, what fails, and the end."""
    clock = world.clock(NOW)
    customer = world.customer(clock)
    subscription = subscribe(world, customer)
    world.use(customer, TOO_MUCH, NOW)
    world.advance(clock, NOW + MONTH)
    shown = world.local.request("GET", f"/v1/subscriptions/{subscription}").json()
    return clock, subscription, shown["items"]["data"][0]["current_period_end"]


def shown(world: World, clock: str) -> dict[str, Any]:
    found: dict[str, Any] = world.local.request("GET", f"{CLOCKS}/{clock}").json()
    return found


def test_a_clock_fails_where_it_is_held_up_and_may_be_tried_again(world: World) -> None:
    clock, subscription, end = failed_clock(world)
    document = shown(world, clock)
    assert (document["status"], document["frozen_time"]) == ("internal_failure", end)
    assert document["status_details"] == {}
    [held] = held_up(world)
    assert (held["held_up"], held["test_clock"]) == (subscription, clock)
    assert held["next_attempt"] is None
    told = world.local.request("GET", "/v1/events", params={"limit": 1}).json()["data"][0]
    assert told["type"] == "test_helpers.test_clock.internal_failure"
    assert told["data"]["object"] == document

    world.advance(clock, NOW + MONTH)
    assert shown(world, clock)["status"] == "internal_failure"
    world.local.request("DELETE", f"/v1/subscriptions/{subscription}").raise_for_status()
    world.advance(clock, NOW + MONTH)
    document = shown(world, clock)
    assert (document["status"], document["frozen_time"]) == ("ready", NOW + MONTH)


def test_a_clock_that_has_failed_is_deleted(world: World) -> None:
    clock, _, _ = failed_clock(world)
    assert world.local.request("DELETE", f"{CLOCKS}/{clock}").json()["deleted"] is True
    assert held_up(world) == []


def test_a_clock_is_deleted_on_its_way(world: World) -> None:
    """Given a clock that waits for usage to be counted, then it goes, with all that it has."""
    clock = world.clock(NOW)
    customer = world.customer(clock)
    subscription = subscribe(world, customer)
    local: LocalServer = world.local
    local.run(local.job("invoice").stop())
    local.create(f"{CLOCKS}/{clock}/advance", data={"frozen_time": NOW + MONTH})
    error = local.request("POST", f"/v1/customers/{customer}", data={"name": "a"}).json()["error"]
    assert "advancement underway" in error["message"]
    assert local.request("DELETE", f"{CLOCKS}/{clock}").json()["deleted"] is True
    assert local.request("GET", f"/v1/customers/{customer}").json()["deleted"] is True
    assert local.request("GET", f"/v1/subscriptions/{subscription}").json()["status"] == "canceled"
    with local.meterhouse.ledger.read() as connection:
        assert test_clocks.advancing(connection) == []
