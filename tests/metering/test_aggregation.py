from decimal import Decimal, Inexact
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.metering.aggregation import AGGREGATIONS, SUM, Aggregation, Use
from meterhouse.metering.model import Formula
from tests.metering.samples import at, ledgers

FORMULAS = pytest.mark.parametrize("aggregation", AGGREGATIONS.values(), ids=list(AGGREGATIONS))

# when it happened, the order of receipt, the value
LEDGER: list[Use] = [
    (at("3 10:00"), 1, Decimal("2.5")),
    (at("3 12:00"), 2, Decimal(4)),
    (at("3 12:00"), 3, Decimal(-1)),
    (at("3 11:00"), 4, Decimal(8)),
]


@pytest.mark.parametrize(
    ("formula", "of_none", "of_first", "of_all"),
    [
        ("count", "0", "1", "4"),
        ("sum", "0", "2.5", "13.5"),
        ("last", "0", "2.5", "-1"),  # of two at 12:00 the one received later
    ],
)
def test_formulas(formula: Formula, of_none: str, of_first: str, of_all: str) -> None:
    aggregation = AGGREGATIONS[formula]
    assert aggregation.over([]) == Decimal(of_none)
    assert aggregation.over(LEDGER[:1]) == Decimal(of_first)
    assert aggregation.over(LEDGER) == Decimal(of_all)


@FORMULAS
@given(uses=ledgers(), cut=st.tuples(st.integers(0, 25), st.integers(0, 25)))
def test_each_is_a_commutative_monoid(
    aggregation: Aggregation[Any], uses: list[Use], cut: tuple[int, int]
) -> None:
    def state(part: list[Use]) -> Any:
        whole = aggregation.empty
        for use in part:
            whole = aggregation.combine(whole, aggregation.of(use))
        return whole

    first, second = sorted(cut)
    a, b, c = state(uses[:first]), state(uses[first:second]), state(uses[second:])
    combine = aggregation.combine
    assert combine(aggregation.empty, a) == a == combine(a, aggregation.empty)
    assert combine(a, b) == combine(b, a)
    assert combine(combine(a, b), c) == combine(a, combine(b, c)) == state(uses)
    assert aggregation.result(state(uses)) == aggregation.over(uses)


@given(ledgers())
def test_a_sum_is_exact(uses: list[Use]) -> None:
    assert SUM.over(uses) == sum(Fraction(use[2]) for use in uses)


def test_a_sum_keeps_what_a_usual_context_would_round_away() -> None:
    parts = [Decimal(10**15 - 1), Decimal("0.000000000000001")] * 1_000
    total = SUM.over((0, position, value) for position, value in enumerate(parts))
    assert total == Decimal("999999999999999000.000000000001")


def test_a_sum_beyond_every_digit_is_an_error_and_not_a_wrong_number() -> None:
    with pytest.raises(Inexact):
        SUM.over([(0, 1, Decimal(10) ** 76), (0, 2, Decimal(1))])
