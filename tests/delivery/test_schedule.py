from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.delivery.schedule import next_attempt

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def attempts(*, livemode: bool, lasting: int = 0) -> list[int]:
    """Return when the attempts of a delivery are that always fails, each after so long."""
    at: int | None = 0
    made: list[int] = []
    while at is not None:
        made.append(at)
        at = next_attempt(len(made), livemode=livemode, created=0, now=at + lasting)
    return made


def test_three_days_in_live_mode() -> None:
    minutes = [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 1_023, 2_047, 4_095]
    assert attempts(livemode=True) == [minute * MINUTE for minute in minutes]


def test_three_attempts_in_test_mode() -> None:
    assert attempts(livemode=False) == [0, HOUR, 3 * HOUR]


@pytest.mark.parametrize(
    ("livemode", "number", "age", "expected"),
    [
        (False, 4, 10 * MINUTE, HOUR),
        (False, 4, HOUR, 3 * HOUR),
        (False, 9, 3 * HOUR, None),
        (True, 40, 0, MINUTE),
        (True, 40, 8 * MINUTE, 15 * MINUTE),
        (True, 40, 4_095 * MINUTE, None),
    ],
)
def test_tries_by_hand_take_the_place_of_none(
    livemode: bool, number: int, age: int, expected: int | None
) -> None:
    assert next_attempt(number, livemode=livemode, created=0, now=age) == expected


def test_what_was_missed_while_the_server_was_down_is_made_up_for() -> None:
    assert next_attempt(2, livemode=False, created=0, now=10 * HOUR) == 12 * HOUR
    assert next_attempt(2, livemode=True, created=0, now=DAY) == DAY + 2 * MINUTE


@given(st.integers(0, 20_000), st.booleans())
def test_waits_grow_and_end(lasting: int, livemode: bool) -> None:
    made = attempts(livemode=livemode, lasting=lasting)
    waits = [later - earlier for earlier, later in pairwise(made)]
    assert waits == sorted(waits)
    assert made[-1] <= 3 * DAY


@given(st.integers(1, 10_000), st.integers(0, 40 * DAY))
def test_a_try_by_hand_may_come_at_any_time(number: int, age: int) -> None:
    """Given any number of attempts at any age, then the next is after now, or there is none."""
    at = next_attempt(number, livemode=True, created=0, now=age)
    assert at is None or age < at <= 3 * DAY
