"""What credit grants pay of which lines."""

from itertools import accumulate
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.billing.bill import totalled
from meterhouse.billing.credit import (
    Grant,
    applications,
    eligible,
    in_order,
    payable,
    simulated,
    spent,
)
from meterhouse.billing.invoice import Credit, Line
from tests.invoicing.samples import NOVEMBER, a_line, an_invoice

END = NOVEMBER.end


def a_grant(id_: str = "g", amount: int = 600, **members: Any) -> Grant:
    plain = Grant(
        id=id_,
        scope=1,
        customer="cus_1",
        test_clock=None,
        currency="usd",
        amount=amount,
        balance=amount,
        priority=50,
        effective_at=0,
        created=0,
        updated=0,
    )
    return msgspec.structs.replace(plain, **members)


def used(id_: str, amount: int, segment: int | None = 0, price: str = "price_1") -> Line:
    return a_line(amount, id=id_, segment=segment, price=price)


def paid(grants: list[Grant], lines: list[Line]) -> list[tuple[str, str, int]]:
    return [(*one,) for one in applications(grants, lines, END, "usd")]


P = a_grant("P", 500, priority=10)
Q = a_grant("Q", 300, category="promotional")
LICENCE = used("licence", 10_000, segment=None)


@pytest.mark.parametrize(
    ("grants", "lines", "expected"),
    [
        ([a_grant()], [used("L1", 1_000)], [("g", "L1", 600)]),
        (
            [Q, P],
            [used("L1", 400), used("L2", 300, segment=1)],
            [("P", "L1", 400), ("P", "L2", 100), ("Q", "L2", 200)],
        ),
        ([a_grant("g", 1_000)], [used("L1", 300), LICENCE], [("g", "L1", 300)]),
        ([a_grant("g", 1_000)], [used("L1", 0), used("L2", 70)], [("g", "L2", 70)]),
        (
            [a_grant("g", 1_000)],
            [used("L1", 700), used("L2", 200), used("before", -400)],
            [("g", "L1", 500)],
        ),
        ([a_grant("g", 1_000)], [used("L1", 300), used("before", -400)], []),
        (
            [a_grant("g", 1_000)],
            [used("L1", 300), used("L2", 200, segment=1), used("before", -300)],
            [("g", "L2", 200)],
        ),
        ([a_grant("g", 1_000)], [used("L1", 300), used("gift", -100, None)], [("g", "L1", 200)]),
        (
            [a_grant("one", prices=("price_2",)), a_grant("all", priority=60)],
            [used("L1", 400), used("L2", 900, segment=1, price="price_2")],
            [("one", "L2", 600), ("all", "L1", 400), ("all", "L2", 200)],
        ),
    ],
    ids=[
        "metered",
        "two grants",
        "a licence",
        "nothing used",
        "billed before",
        "less than billed before",
        "another segment",
        "an item below zero",
        "prices",
    ],
)
def test_what_grants_pay(
    grants: list[Grant], lines: list[Line], expected: list[tuple[str, str, int]]
) -> None:
    assert paid(grants, lines) == expected
    assert paid(grants[::-1], lines) == expected


@pytest.mark.parametrize(
    ("members", "is_eligible"),
    [
        ({}, True),
        ({"balance": 0}, False),
        ({"currency": "eur"}, False),
        ({"effective_at": END}, True),
        ({"effective_at": END + 1}, False),
        ({"expires_at": END}, False),
        ({"expires_at": END + 1}, True),
        ({"voided_at": 5}, False),
    ],
)
def test_which_grants_may_pay(members: dict[str, Any], is_eligible: bool) -> None:
    assert eligible(a_grant(**members), END, "usd") is is_eligible


def test_the_order_of_grants() -> None:
    ordered = [
        a_grant("first", priority=0, created=9),
        a_grant("sooner", expires_at=END + 1, created=9),
        a_grant("later", expires_at=END + 2),
        a_grant("gift", category="promotional", created=9),
        a_grant("long since", effective_at=3, created=9),
        a_grant("older", effective_at=4, created=1),
        a_grant("alike a", effective_at=4, created=2),
        a_grant("alike b", effective_at=4, created=2),
        a_grant("last", priority=100),
    ]
    assert [one.id for one in in_order(reversed(ordered))] == [one.id for one in ordered]


def test_an_invoice_comes_to_less_by_what_credits_pay() -> None:
    lines = simulated([a_grant()], [used("L1", 1_000), LICENCE], END, "usd")
    assert [line.credits for line in lines] == [(Credit(600, None),), ()]
    invoice = totalled(an_invoice(1), lines)
    assert (invoice.subtotal, invoice.total, invoice.amount_due) == (11_000, 10_400, 10_400)
    again = simulated([], lines, END, "usd")
    assert [line.credits for line in again] == [(), ()]


amounts = st.integers(-500, 1_000)
prices = st.sampled_from(["price_1", "price_2", "price_3"])
grants = st.lists(
    st.builds(
        a_grant,
        amount=st.integers(1, 1_500),
        prices=st.lists(prices, max_size=2).map(tuple),
        priority=st.integers(0, 2),
        category=st.sampled_from(["paid", "promotional"]),
        expires_at=st.sampled_from([None, END, END + 1, END + 2]),
    ),
    max_size=6,
).map(lambda some: [msgspec.structs.replace(g, id=f"g{n}") for n, g in enumerate(some)])
lines_of = st.lists(
    st.builds(used, st.just(""), amounts, st.sampled_from([None, 0, 1, 2]), prices), max_size=8
).map(lambda some: [msgspec.structs.replace(one, id=f"l{n}") for n, one in enumerate(some)])


@given(grants=grants, lines=lines_of, order=st.randoms())
def test_nobody_pays_more_than_there_is_or_than_is_owed(
    grants: list[Grant], lines: list[Line], order: Any
) -> None:
    applied = applications(grants, lines, END, "usd")
    shuffled = [*grants]
    order.shuffle(shuffled)
    assert applications(shuffled, lines, END, "usd") == applied
    assert all(one.amount > 0 for one in applied)
    after = spent(grants, applied)
    assert all(0 <= one.balance <= one.amount for one in after)
    total = sum(one.amount for one in applied)
    assert sum(one.balance for one in after) == sum(one.balance for one in grants) - total
    assert total <= max(sum(line.amount for line in lines), 0)
    for place in (0, 1, 2):
        own = {line.id: line.amount for line in lines if line.segment == place}
        assert sum(one.amount for one in applied if one.line in own) <= max(sum(own.values()), 0)
    open_ = payable(lines)
    for line in lines:
        taken = [one.amount for one in applied if one.line == line.id]
        assert max(accumulate(taken), default=0) <= max(open_.get(line.id, 0), 0)
