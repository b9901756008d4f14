"""What customers may have used at most: nobody who has reached a step is left out."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.jobs.alert_totals import Totals
from meterhouse.usage.touched import USED_LIMIT


def added(totals: Totals, *used: int) -> list[int]:
    """Let customers 0, 1, … use something; return the numbers of whom to ask."""
    return totals.add([str(number) for number in range(len(used))], np.array(used, np.int64))


def test_who_is_not_known_is_asked_about() -> None:
    totals = Totals()
    assert added(totals, 1, 0) == [0, 1]
    totals.learn("0", Decimal(1), Decimal(10))
    assert added(totals, 1, 1) == [1]
    assert len(totals) == 1


@pytest.mark.parametrize(
    ("total", "step", "used", "asked"),
    [
        ("1", "10", 8, False),
        ("1", "10", 9, True),
        ("1.000001", "10", 8, True),  # 9 and a little may be 10
        ("9.5", "9.9", 0, True),
        ("9.5", None, 10**14, False),
        ("-20", "10", 29, False),
        ("-20", "10", 30, True),
        ("1", "1e18", 5, False),
        ("1", "1e18", USED_LIMIT, True),  # beyond it nothing is sure
        ("1e20", "1e21", 0, True),
    ],
)
def test_who_may_have_reached_a_step_is_asked_about(
    total: str, step: str | None, used: int, *, asked: bool
) -> None:
    totals = Totals()
    totals.learn("0", Decimal(total), None if step is None else Decimal(step))
    assert added(totals, used) == [0] * asked


def test_who_is_forgotten_is_asked_about_even_without_a_step() -> None:
    totals = Totals()
    totals.learn("0", Decimal(0), None)
    totals.learn("1", Decimal(0), None)
    totals.forget("1")
    totals.forget("who was never known")
    assert added(totals, 0, 0) == [1]


def test_there_is_room_for_more() -> None:
    totals = Totals()
    for number in range(1_000):
        totals.learn(str(number), Decimal(number), Decimal(number + 2))
    assert len(totals) == 1_000
    assert added(totals, *[number % 3 for number in range(1_000)]) == list(range(2, 1_000, 3))


@given(
    start=st.decimals(-50, 50, places=3),
    step=st.decimals(0, 100, places=3),
    used=st.lists(st.decimals(-20, 20, places=3)),
)
def test_nobody_who_has_reached_a_step_is_left_out(
    start: Decimal, step: Decimal, used: list[Decimal]
) -> None:
    totals = Totals()
    totals.learn("0", start, step)
    total = start
    for one in used:
        total += one
        at_most = int(max(one, Decimal(0)).to_integral_value("ROUND_CEILING"))
        if not added(totals, at_most):
            assert total < step
