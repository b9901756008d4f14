"""Who is watched, and what was billed early because of that."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from meterhouse.billing.invoice import Segment
from meterhouse.billing.period import Period
from meterhouse.billing.subscription import Threshold
from meterhouse.ledger import invoice_segments, invoices, prices, subscriptions
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.invoice_segments import Beginning, Early
from meterhouse.ledger.thresholds import any_watched, watched_by_clock, watched_of
from meterhouse.ledger.watched_meters import all_watched
from tests.billing.samples import item, price, subscription, unit
from tests.invoicing.samples import (
    NOVEMBER,
    a_product,
    a_segment,
    an_invoice,
    scope_of_tests,
    stock,
)

AMOUNT = {"threshold": Threshold(amount_gte=50)}


@pytest.fixture
def scope(ledger: Ledger) -> int:
    """Put two customers and two prices of a meter, and one of none, into a ledger."""
    scope = scope_of_tests(ledger).id
    stock(ledger, scope)
    stock(ledger, scope, "cus_2", email="bob@example.com")
    with ledger.write() as connection:
        for one in (price("seats", unit("5"), metered=False),):
            named = replace(one, scope=scope, product=a_product(scope).id)
            prices.create_price(connection, named)
    return scope


def subscribe(ledger: Ledger, scope: int, id_: str, price_id: str, **changes: Any) -> None:
    """Subscribe a customer to a price; `usage_gte` is that of the item."""
    usage_gte = changes.pop("usage_gte", None)
    own = replace(item(price_id, NOVEMBER), id=f"si_{id_}", usage_gte=usage_gte)
    members: dict[str, Any] = {"id": id_, "scope": scope, "customer": "cus_1"} | changes
    with ledger.write() as connection:
        subscriptions.create_subscription(connection, subscription(own, **members), None)


def test_who_is_watched(ledger: Ledger, scope: int) -> None:
    subscribe(ledger, scope, "sub_1", "price_1")
    subscribe(ledger, scope, "sub_2", "price_1", threshold=Threshold(resets=True))
    subscribe(ledger, scope, "sub_3", "seats", **AMOUNT)
    touched = {("mtr_1", "cus_1"), ("mtr_1", "cus_2"), ("mtr_2", "cus_2")}
    with ledger.read() as connection:
        assert all_watched(connection) == set()
        assert watched_of(connection, scope, touched) == []
    subscribe(ledger, scope, "sub_4", "price_1", **AMOUNT, status="canceled")
    subscribe(ledger, scope, "sub_5", "price_1", **AMOUNT)
    subscribe(ledger, scope, "sub_6", "price_1", usage_gte=5, test_clock="clock_1")
    subscribe(ledger, scope, "sub_7", "price_1", usage_gte=5, customer="cus_2")
    with ledger.read() as connection:
        assert all_watched(connection) == {"mtr_1"}
        assert any_watched(connection)
        found = watched_of(connection, scope, touched)
        assert {one.id for one in found} == {"sub_5", "sub_6", "sub_7"}
        [own] = watched_of(connection, scope, {("mtr_1", "cus_2"), ("mtr_2", "cus_1")})
        assert (own.id, own.items[0].usage_gte) == ("sub_7", 5)
        assert watched_of(connection, scope + 1, touched) == []
        assert [one.id for one in watched_by_clock(connection, scope, "clock_1")] == ["sub_6"]


def test_one_that_has_no_threshold_any_more_is_not_looked_for(ledger: Ledger, scope: int) -> None:
    subscribe(ledger, scope, "sub_1", "price_1", usage_gte=5)
    with ledger.write() as connection:
        one = subscriptions.find_subscription(connection, scope, "sub_1")
        assert one is not None
        plain = replace(one, items=(replace(one.items[0], usage_gte=None),))
        subscriptions.update_subscription(connection, plain, None)
        assert not any_watched(connection)
        assert watched_of(connection, scope, {("mtr_1", "cus_1")}) == []


def test_one_that_gets_a_threshold_is_watched(ledger: Ledger, scope: int) -> None:
    subscribe(ledger, scope, "sub_1", "price_1")
    with ledger.write() as connection:
        one = subscriptions.find_subscription(connection, scope, "sub_1")
        assert one is not None
        subscriptions.update_subscription(connection, replace(one, **AMOUNT), None)
        assert all_watched(connection) == {"mtr_1"}


def put(ledger: Ledger, scope: int, *segments: Segment, **changes: Any) -> str:
    """Store an invoice of a subscription with these segments."""
    invoice = an_invoice(scope, subscription="sub_1")
    with ledger.write() as connection:
        invoices.create_invoice(connection, invoice)
        invoice_segments.put_segments(connection, scope, invoice.id, segments)
        invoices.update_invoice(connection, replace(invoice, **changes))
    return invoice.id


def early(days: int, amount: int, **changes: Any) -> Segment:
    """Return usage of the first days of November that was billed early."""
    range_ = Period(NOVEMBER.start, NOVEMBER.start + days * 86_400_000)
    return a_segment(
        subscription_item="si_1",
        usage_in=range_,
        period=range_,
        early=True,
        amount=amount,
        usage=Decimal(days),
        **changes,
    )


def test_what_was_billed_early(ledger: Ledger, scope: int) -> None:
    subscribe(ledger, scope, "sub_1", "price_1", **AMOUNT)
    put(ledger, scope, early(1, 100), status="open")
    put(ledger, scope, early(2, 200), status="void")
    put(ledger, scope, early(3, -20), status="paid")
    whole = replace(early(30, 0), early=False)
    with ledger.read() as connection:
        found = invoice_segments.billed_early(connection, [whole])
        assert found == {Beginning.of(whole): Early(80, Decimal(3))}
        for other in (
            replace(whole, subscription_item="si_2"),
            replace(whole, price="price_2"),
            replace(whole, usage_in=Period(NOVEMBER.start + 1, NOVEMBER.end)),
            replace(whole, customer="cus_2"),
            replace(whole, meter="mtr_2"),
        ):
            found = invoice_segments.billed_early(connection, [other])
            assert Beginning.of(other) not in found
        left_of = invoice_segments.left_early(connection, ["sub_1", "sub_2"])
        assert left_of["sub_2"] == []
        [left] = left_of["sub_1"]
        assert (left.late, left.billed_before, left.early) == ("bill", 80, False)
        assert (left.usage_in, left.counted_at) == (early(3, 0).usage_in, None)
    put(ledger, scope, replace(whole, billed_before=80, amount=500), status="draft")
    with ledger.read() as connection:
        assert invoice_segments.left_early(connection, ["sub_1"]) == {"sub_1": []}
        assert invoice_segments.billed_again(connection, {"sub_1": 0}) == {"sub_1": []}


def test_late_usage_is_beyond_all_that_was_billed(ledger: Ledger, scope: int) -> None:
    subscribe(ledger, scope, "sub_1", "price_1", **AMOUNT)
    put(ledger, scope, early(1, 100), status="open", finalized_at=1)
    whole = replace(early(30, 500), early=False, billed_before=100)
    put(ledger, scope, whole, status="open", finalized_at=2)
    with ledger.read() as connection:
        [again] = invoice_segments.billed_again(connection, {"sub_1": NOVEMBER.end - 1})["sub_1"]
    assert (again.usage_in, again.billed_before) == (whole.usage_in, 600)
