"""Usage that changes after its invoice was finalized: reported, billed again, or credited."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from meterhouse.billing.invoice import Invoice
from meterhouse.invoicing.count import count
from meterhouse.invoicing.preview import Previewed, next_of, shown
from meterhouse.ledger import accounts, customers
from tests.api.local import DAY, kept_store, local_server
from tests.jobs.test_invoice import FEBRUARY, HOUR, JANUARY, MARCH, second
from tests.jobs.world import World

APRIL = second("2027-04-30T10:00")
LATE = "/meterhouse/v1/late_usage"


@pytest.fixture(scope="module", autouse=True)
def _kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with kept_store(tmp_path_factory.mktemp("usage")):
        yield


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    with local_server(tmp_path, late_usage=request.param) as local:
        yield World(local)


class Story:
    """A customer who used 100 units in the first month, at 4 each, and was billed for them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.clock = world.clock(JANUARY)
        self.customer = world.customer(self.clock)
        self.subscription = world.subscribe(self.customer)
        world.use(self.customer, "100")
        self.on(FEBRUARY + HOUR)
        [self.first] = self.invoices()

    def on(self, frozen_time: int) -> None:
        self.world.advance(self.clock, frozen_time)

    def invoices(self) -> list[Invoice]:
        return self.world.invoices(self.customer)

    def late(self, value: str) -> None:
        """Let usage of the first month arrive now."""
        self.world.use(self.customer, value, FEBRUARY - HOUR)

    def listed(self, **params: Any) -> list[dict[str, Any]]:
        page = self.world.local.request("GET", LATE, params=params).json()
        rows: list[dict[str, Any]] = page["data"]
        return rows

    def preview(self) -> Previewed:
        """Return the next invoice as it would be."""
        local = self.world.local
        assert local.run(local.meterhouse.services.progress.settle(30))
        with local.meterhouse.ledger.read() as connection:
            scope = accounts.scopes_by_id(connection)[self.subscription.scope]
            customer = customers.find_customer(connection, scope.id, self.customer)
            assert customer is not None
            one = self.world.found(self.subscription)
            preview = next_of(connection, customer, one, self.world.terms)
        assert preview is not None
        stores = local.meterhouse.services.stores
        segments = preview.bill.segments
        return shown(preview, local.run(count(stores, scope, segments, local.clock.now())))

    def lines(self, number: int) -> list[tuple[str, int]]:
        return self.world.lines(self.invoices()[number])

    def balance(self) -> int:
        def read(connection: sa.Connection) -> int:
            found = customers.find_customer(connection, 1, self.customer)
            assert found is not None
            return found.balance

        with self.world.local.meterhouse.ledger.read() as connection:
            return read(connection)


def brief(row: dict[str, Any]) -> tuple[Any, ...]:
    names = ("usage_billed", "usage_difference", "amount_billed", "amount_difference", "events")
    return tuple(row[name] for name in names)


@pytest.mark.parametrize("world", ["report"], indirect=True)
def test_what_comes_late_is_reported_and_billed_nowhere(world: World) -> None:
    story = Story(world)
    assert story.listed() == []
    story.late("2.5")
    story.late("-10")
    [row] = story.listed()
    assert brief(row) == ("100", "-7.5", 400, -30, 3)
    assert (row["invoice"], row["customer"]) == (story.first.id, story.customer)
    assert (row["usage_start"], row["usage_end"]) == (JANUARY, FEBRUARY)
    assert row["draft"] is None
    story.on(MARCH + HOUR)
    assert [one.total for one in story.invoices()] == [400, 0]
    assert story.listed() == [row]
    for narrow in ({"customer": "cus_other"}, {"usage_end[lt]": FEBRUARY}, {"meter": "mtr_other"}):
        assert story.listed(**narrow) == []
    assert story.listed(invoice=story.first.id, **{"usage_end[gte]": FEBRUARY}) == [row]
    assert story.listed(starting_after=row["id"]) == []
    refused = world.local.request("GET", LATE, params={"starting_after": "in_1_0"})
    assert refused.status_code == 400


@pytest.mark.parametrize("world", ["bill"], indirect=True)
def test_what_comes_late_is_billed_on_the_next_invoice(world: World) -> None:
    """The whole range is billed once more, and what was billed before taken off; again and again.

    What comes after the draft was made, and before it is finalized, is billed by it.
    """
    story = Story(world)
    story.late("2")
    story.world.use(story.customer, "7", FEBRUARY + HOUR)
    assert [line.amount for line in story.preview().lines] == [28, 408, -400]
    story.on(MARCH)
    [row] = story.listed()
    assert row["draft"] == story.invoices()[1].id
    story.late("3")
    story.on(MARCH + HOUR)
    assert story.lines(1) == [
        ("7 × Tokens (at $0.04 / month)", 28),
        ("105 × Tokens (at $0.04 / month)", 420),
        ("Amount previously billed", -400),
    ]
    assert story.listed() == []
    story.late("-5")
    assert [brief(row) for row in story.listed()] == [("105", "-5", 420, -20, 4)]
    story.on(APRIL + HOUR)
    assert story.lines(2) == [
        ("0 × Tokens (at $0.04 / month)", 0),
        ("100 × Tokens (at $0.04 / month)", 400),
        ("Amount previously billed", -420),
    ]
    assert [one.total for one in story.invoices()] == [400, 48, -20]
    assert story.balance() == -20
    story.on(APRIL + 31 * DAY + HOUR)
    assert story.lines(3) == [("0 × Tokens (at $0.04 / month)", 0)]
    assert story.listed() == []


@pytest.mark.parametrize("world", ["bill"], indirect=True)
def test_what_comes_after_a_draft_that_knew_of_nothing_is_billed_by_it(world: World) -> None:
    story = Story(world)
    story.on(MARCH)
    story.late("1")
    story.on(MARCH + HOUR)
    assert [amount for _, amount in story.lines(1)] == [0, 404, -400]


@pytest.mark.parametrize("world", ["credit"], indirect=True)
def test_what_was_billed_too_much_is_credited(world: World) -> None:
    """And used by the invoice that it comes with; what was billed too little is only reported."""
    story = Story(world)
    story.late("-25")
    story.world.use(story.customer, "30", FEBRUARY + HOUR)
    preview = story.preview().invoice
    assert (preview.total, preview.starting_balance, preview.amount_due) == (120, -100, 20)
    story.on(MARCH + HOUR)
    second_ = story.invoices()[1]
    assert story.lines(1) == [("30 × Tokens (at $0.04 / month)", 120)]
    assert (second_.starting_balance, second_.amount_due) == (-100, 20)
    assert story.listed() == []
    story.late("35")
    [row] = story.listed()
    assert brief(row) == ("75", "35", 300, 140, 3)
    story.on(APRIL + HOUR)
    assert story.invoices()[2].total == 0
    assert story.balance() == 0
