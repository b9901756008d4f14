from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from meterhouse.billing.period import Period
from meterhouse.billing.price import Price, Pricing, Product, Recurrence, Recurring
from meterhouse.billing.subscription import Item, Subscription
from meterhouse.ledger import subscriptions
from meterhouse.ledger.customers import Customer, create_customer
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.prices import create_price
from meterhouse.ledger.products import create_product
from meterhouse.ledger.subscriptions import Filter
from meterhouse.wire.page import PageParams
from tests.ledger.samples import two_scopes


@pytest.fixture
def scope(ledger: Ledger) -> int:
    """Make two customers and three prices, and return the scope that they are in."""
    scope = two_scopes(ledger)[0]
    with ledger.write() as connection:
        create_product(connection, _product(scope))
        for price in ("price_1", "price_2", "price_3"):
            create_price(connection, _price(scope, price))
        for customer in ("cus_1", "cus_2"):
            create_customer(connection, _customer(scope, customer))
    return scope


def _product(scope: int) -> Product:
    return Product(
        id="prod_1",
        scope=scope,
        active=True,
        name="Tokens",
        unit_label=None,
        default_price=None,
        metadata={},
        details={},
        created=1,
        updated=1,
    )


def _price(scope: int, price: str) -> Price:
    return Price(
        id=price,
        scope=scope,
        product="prod_1",
        active=True,
        pricing=Pricing(currency="usd"),
        recurring=Recurring(recurrence=Recurrence("month")),
        options={},
        lookup_key=None,
        nickname=None,
        tax_behavior="unspecified",
        metadata={},
        created=1,
    )


def _customer(scope: int, customer: str) -> Customer:
    return Customer(
        id=customer,
        scope=scope,
        email=None,
        metadata={},
        details={},
        created=1,
        deleted_at=None,
    )


def item(id_: str, **changes: Any) -> Item:
    plain = Item(
        id=id_,
        price="price_1",
        quantity=None,
        period=Period(1_000, 9_000),
        since=2_000,
        metadata={"a": "b"},
        created=1_000,
    )
    return replace(plain, **changes)


def subscription(scope: int, id_: str, *items: Item, **changes: Any) -> Subscription:
    plain = Subscription(
        id=id_,
        scope=scope,
        customer="cus_1",
        test_clock=None,
        status="active",
        currency="usd",
        mode="flexible",
        anchor=1_000,
        start=1_000,
        items=items or (item(f"si_{id_}"),),
        created=1_000,
    )
    return replace(plain, **changes)


def put(ledger: Ledger, *new: Subscription, due: int | None = None) -> None:
    with ledger.write() as connection:
        for one in new:
            subscriptions.create_subscription(connection, one, due)


FULL = {
    "trial": Period(1_000, 5_000),
    "collection": "send_invoice",
    "days_until_due": 30,
    "cancel_at": 9_000,
    "cancel_at_period_end": True,
    "canceled_at": 2_000,
    "trial_told": True,
    "upcoming_told": 9_000,
    "latest_invoice": "in_1",
    "metadata": {"c": "d"},
    "details": {"description": "\N{CONTROL KNOBS}"},
    "status": "trialing",
    "test_clock": "clock_1",
}


@pytest.mark.parametrize("changes", [{}, FULL], ids=["plain", "full"])
def test_one_comes_back_as_it_was_stored(
    ledger: Ledger, scope: int, changes: dict[str, Any]
) -> None:
    items = item("si_2", price="price_2", quantity=4), item("si_1")
    stored = subscription(scope, "sub_1", *items, **changes)
    put(ledger, stored)
    with ledger.read() as connection:
        assert subscriptions.find_subscription(connection, scope, "sub_1") == stored
        assert subscriptions.find_subscription(connection, scope + 1, "sub_1") is None
        assert subscriptions.by_ids(connection, scope, ["sub_1", "sub_2"]) == {"sub_1": stored}
        assert subscriptions.find_item(connection, scope, "si_1") == (stored, items[1])
        assert subscriptions.find_item(connection, scope + 1, "si_1") is None
        assert subscriptions.find_item(connection, scope, "si_3") is None


def test_a_change_replaces_items_and_is_another_revision(ledger: Ledger, scope: int) -> None:
    first = subscription(scope, "sub_1", item("si_1"), item("si_2", price="price_2"))
    other = subscription(scope, "sub_2")
    put(ledger, first, other)
    moved = item("si_2", price="price_3", since=7_000, period=Period(7_000, 8_000), quantity=2)
    with ledger.write() as connection:
        found = subscriptions.find_subscription(connection, scope, "sub_1", lock=True)
        assert found is not None
        changed = subscriptions.update_subscription(
            connection, replace(found, items=(moved, item("si_3")), status="past_due"), 5
        )
    assert changed.revision == first.revision + 1
    with ledger.read() as connection:
        assert subscriptions.find_subscription(connection, scope, "sub_1") == changed
        assert changed.items == (moved, item("si_3"))
        assert subscriptions.find_subscription(connection, scope, "sub_2") == other
        assert subscriptions.find_item(connection, scope, "si_1") is None


def test_what_is_due(ledger: Ledger, scope: int) -> None:
    clocked = subscription(scope, "sub_3", test_clock="clock_1")
    put(ledger, subscription(scope, "sub_1"), due=20)
    put(ledger, subscription(scope, "sub_2"), due=10)
    put(ledger, clocked, due=5)
    put(ledger, subscription(scope, "sub_4"))

    with ledger.read() as connection:

        def due(clock: str | None, until: int, rows: int = 10) -> list[str]:
            found = subscriptions.due(connection, clock, until, rows)
            return [one.id for one in found]

        assert due(None, 20) == ["sub_2", "sub_1"]
        assert due(None, 20, rows=1) == ["sub_2"]
        assert due(None, 19) == ["sub_2"]
        assert due(None, 9) == []
        assert due("clock_1", 20) == ["sub_3"]
        assert subscriptions.next_due(connection, None) == 10
        assert subscriptions.next_due(connection, "clock_1") == 5
        assert subscriptions.next_due(connection, "clock_2") is None


def test_those_of_a_customer(ledger: Ledger, scope: int) -> None:
    put(
        ledger,
        subscription(scope, "sub_1"),
        subscription(scope, "sub_2", status="canceled"),
        subscription(scope, "sub_3", customer="cus_2"),
        subscription(scope, "sub_4", status="paused"),
    )
    with ledger.write() as connection:
        found = subscriptions.of_customer(connection, scope, "cus_1", lock=True)
        assert [one.id for one in found] == ["sub_1", "sub_4"]


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (Filter(), ["sub_4", "sub_3", "sub_2", "sub_1"]),
        (Filter(customer="cus_2"), ["sub_2"]),
        (Filter(price="price_2"), ["sub_3"]),
        (Filter(statuses=("active", "paused")), ["sub_4", "sub_2", "sub_1"]),
        (Filter(statuses=("canceled",)), ["sub_3"]),
        (Filter(collection="send_invoice"), ["sub_2"]),
        (Filter(test_clock="clock_1"), ["sub_4"]),
        (Filter(clocked=False), ["sub_3", "sub_2", "sub_1"]),
        (Filter(clocked=True), ["sub_4"]),
        (Filter(created=(2_000, None)), ["sub_3"]),
        (Filter(period_end=(4_000, 6_000)), ["sub_3"]),
        (Filter(period_start=(3_000, None)), ["sub_3"]),
        (Filter(period_end=(7_000, 8_000)), []),
    ],
)
def test_lists(ledger: Ledger, scope: int, wanted: Filter, ids: list[str]) -> None:
    several = (
        item("si_3", period=Period(1_000, 5_000)),
        item("si_4", price="price_2", period=Period(3_000, 7_000)),
    )
    put(
        ledger,
        subscription(scope, "sub_1"),
        subscription(scope, "sub_2", customer="cus_2", collection="send_invoice"),
        subscription(scope, "sub_3", *several, status="canceled", created=2_500),
        subscription(scope, "sub_4", test_clock="clock_1", status="paused"),
    )
    with ledger.read() as connection:
        page = subscriptions.list_subscriptions(connection, scope, PageParams(), wanted)
        assert page is not None
        assert [one.id for one in page[0]] == ids
        nothing = PageParams(starting_after="sub_9")
        assert subscriptions.list_subscriptions(connection, scope, nothing, wanted) is None


def test_pages_of_items(ledger: Ledger, scope: int) -> None:
    items = [item(f"si_{number}") for number in range(3)]
    put(ledger, subscription(scope, "sub_1", *items), subscription(scope, "sub_2"))
    with ledger.read() as connection:

        def listed(**page: Any) -> tuple[list[str], bool] | None:
            found = subscriptions.list_items(connection, "sub_1", PageParams(**page))
            return found and ([one.id for one in found[0]], found[1])

        assert listed() == (["si_2", "si_1", "si_0"], False)
        assert listed(limit=2) == (["si_2", "si_1"], True)
        assert listed(starting_after="si_1") == (["si_0"], False)
        assert listed(starting_after="si_sub_2") is None


def test_what_is_due_is_found_by_an_index(ledger: Ledger, scope: int) -> None:
    del scope
    with ledger.read() as connection:
        if connection.dialect.name != "sqlite":
            pytest.skip("PostgreSQL reads a table of this size whole")
        plan = connection.execute(
            sa.text(
                "EXPLAIN QUERY PLAN SELECT id FROM subscriptions"
                " WHERE test_clock IS NULL AND due <= 5 ORDER BY due, seq LIMIT 1"
            )
        ).all()
    assert "ix_subscriptions_test_clock_due" in str(plan)
    assert "TEMP B-TREE" not in str(plan)
