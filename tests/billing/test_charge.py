from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.billing.charge import Charge, billable, charges
from meterhouse.billing.money import print_decimal
from meterhouse.billing.price import Pricing, TiersMode
from tests.billing.samples import FLAT, FONTS, package, tiered, unit

GITPOD = tiered("graduated", [(1000, "0", 900), (None, "3.6", 0)])
BASIC = tiered("graduated", [(100_000, None, 999), (None, "0.02", None)])
SEATS = tiered("volume", [(1, "1800", None), (None, "1600", None)])
NONE_FOR_NOTHING = tiered("graduated", [(1, "1000", None), (None, "1000", None)])
FREE_FIRST = tiered("graduated", [(1000, "0", 0), (None, "4", 0)])
HALVES = tiered("graduated", [(1, "0.5", None), (2, "0.5", None), (None, "0.5", None)])
BOUND = tiered("graduated", [(1000, "0.1", None), (None, "0.05", None)])

# A price, a total of usage, and the lines: tier, quantity, amount; a flat line has an F.
EXAMPLES: list[tuple[Pricing, str, str]] = [
    *(
        (tiered("volume", FONTS), usage, f"T{tier} {usage} {amount}")
        for usage, tier, amount in [
            ("1", 1, 700),
            ("5", 1, 3500),
            ("6", 2, 3900),
            ("20", 3, 12000),
            ("25", 3, 15000),
        ]
    ),
    (tiered("graduated", FONTS), "1", "T1 1 700"),
    (tiered("graduated", FONTS), "5", "T1 5 3500"),
    (tiered("graduated", FONTS), "6", "T1 5 3500, T2 1 650"),
    (tiered("graduated", FONTS), "20", "T1 5 3500, T2 5 3250, T3 10 6000"),
    (tiered("graduated", FONTS), "25", "T1 5 3500, T2 5 3250, T3 15 9000"),
    (tiered("volume", FLAT), "12", "T3 12 3600, T3F 0 3000"),
    (
        tiered("graduated", FLAT),
        "12",
        "T1 5 2500, T1F 0 1000, T2 5 2000, T2F 0 2000, T3 2 600, T3F 0 3000",
    ),
    (tiered("volume", FLAT), "0", "T1 0 0, T1F 0 1000"),
    (tiered("graduated", FLAT), "0", "T1 0 0, T1F 0 1000"),
    (NONE_FOR_NOTHING, "0", "T1 0 0"),
    (NONE_FOR_NOTHING, "1", "T1 1 1000"),
    (GITPOD, "1031", "T1 1000 0, T1F 0 900, T2 31 112, T2F 0 0"),
    (BASIC, "0", "T1 0 0, T1F 0 999"),
    (SEATS, "1", "T1 1 1800"),
    (package("1000", 60), "150", "150 3000"),
    (package("8", 60), "9892", "9892 1320"),
    (package("4", 100), "25", "25 4"),
    (package("4", 100), "3000", "3000 120"),
    (package("4", 100), "100.000000000001", "100.000000000001 8"),
    (package("1000", 60, up=False), "150", "150 2000"),
    (package("1000", 60, up=False), "59", "59 0"),
    (package("1000", 60), "0", "0 0"),
    (FREE_FIRST, "3000", "T1 1000 0, T1F 0 0, T2 2000 8000, T2F 0 0"),
    (FREE_FIRST, "1000", "T1 1000 0, T1F 0 0"),
    (unit("0.000123456789"), "1234567", "1234567 152"),
    (unit("0.000000000001"), "1000000000000", "1000000000000 1"),
    (unit("0.000000000001"), "499999999999", "499999999999 0"),
    (unit("0.000000000001"), "500000000000", "500000000000 1"),
    (unit("0.5"), "1", "1 1"),
    (unit("0.5"), "3", "3 2"),
    (unit("0.5"), "5", "5 3"),
    (HALVES, "3", "T1 1 1, T2 1 1, T3 1 1"),
    (unit("40"), "2.5", "2.5 100"),
    (BOUND, "1000.5", "T1 1000 100, T2 0.5 0"),
    (unit("4"), "-15", "0 0"),
    (tiered("graduated", FLAT), "-15", "T1 0 0, T1F 0 1000"),
    (unit("4"), "70", "70 280"),
    (unit("0.5", "jpy"), "3", "3 2"),
]


@pytest.mark.parametrize(("pricing", "usage", "lines"), EXAMPLES)
def test_worked_examples(pricing: Pricing, usage: str, lines: str) -> None:
    made = charges(pricing, billable(Decimal(usage)))
    told = [f"{_number(one)} {print_decimal(one.quantity)} {one.amount}".lstrip() for one in made]
    assert ", ".join(told) == lines


def _number(one: Charge) -> str:
    return "" if one.tier is None else f"T{one.tier}{'F' if one.flat else ''}"


@pytest.mark.parametrize(
    ("usage", "quantity"),
    [
        ("1000.50", "1000.5"),
        ("-0.000000000001", "0"),
        ("1.0000000000005", "1.000000000001"),
        ("1.0000000000004999", "1"),
        ("9" * 60 + ".1234567890125", "9" * 60 + ".123456789013"),
    ],
)
def test_a_quantity_has_twelve_decimals_at_most(usage: str, quantity: str) -> None:
    assert print_decimal(billable(Decimal(usage))) == quantity


amounts = st.decimals(0, 10**6, places=3)
tiers = st.lists(
    st.tuples(st.integers(1, 10**6), amounts, st.none() | st.integers(0, 10**6)),
    min_size=1,
    max_size=6,
    unique_by=lambda row: row[0],
).map(sorted)
quantities = st.decimals(0, 10**7, places=2)


@given(tiers, quantities)
def test_graduated_tiers_price_each_unit_once(rows: list[Any], quantity: Decimal) -> None:
    lines = charges(_pricing("graduated", rows), quantity)
    assert sum(one.quantity for one in lines) == quantity
    exact = _exactly(rows, quantity)
    assert abs(sum(one.amount for one in lines if not one.flat) - exact) <= Fraction(len(rows), 2)


@given(tiers, quantities, quantities)
def test_more_use_of_graduated_tiers_costs_no_less(
    rows: list[Any], some: Decimal, more: Decimal
) -> None:
    pricing = _pricing("graduated", rows)
    less, total = (sum(one.amount for one in charges(pricing, u)) for u in (some, some + more))
    assert less <= total


@given(tiers, quantities)
def test_a_volume_is_priced_by_the_tier_that_holds_it(rows: list[Any], quantity: Decimal) -> None:
    lines = charges(_pricing("volume", rows), quantity)
    bounds = [up_to for up_to, _, _ in rows[:-1]]
    number = sum(bound < quantity for bound in bounds) + 1
    assert {one.tier for one in lines} == {number}
    assert lines[0].quantity == quantity
    assert lines[0].unit_amount == rows[number - 1][1]


def _pricing(mode: TiersMode, rows: list[Any]) -> Pricing:
    last = len(rows) - 1
    return tiered(
        mode,
        [
            (None if number == last else up_to, str(each), flat)
            for number, (up_to, each, flat) in enumerate(rows)
        ],
    )


def _exactly(rows: list[Any], quantity: Decimal) -> Fraction:
    total, below = Fraction(0), Fraction(0)
    for number, (up_to, each, _) in enumerate(rows):
        upper = Fraction(quantity)
        if number < len(rows) - 1:
            upper = min(upper, Fraction(up_to))
        total += max(upper - below, Fraction(0)) * Fraction(each)
        below = max(below, upper)
    return total
