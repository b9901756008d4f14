"""When credits are used up at a pace."""

from typing import Any

import pytest

from meterhouse.billing.burn_down import Pace, used_up
from tests.billing.test_credit import a_grant

NOW = 1_000
TEN = Pace("price_1", "usd", 100, NOW - 10, NOW)  # ten in a millisecond


@pytest.mark.parametrize(
    ("grants", "paces", "expected"),
    [
        ([a_grant("g", 600)], [TEN], {"g": 1_060}),
        ([a_grant("g", 600)], [TEN, TEN], {"g": 1_030}),
        ([a_grant("g", 600)], [], {}),
        ([a_grant("g", 600)], [TEN._replace(since=NOW)], {}),
        ([a_grant("g", 600)], [TEN._replace(currency="eur")], {}),
        ([a_grant("g", 600, expires_at=1_059)], [TEN], {}),
        ([a_grant("g", 600, expires_at=1_060)], [TEN], {"g": 1_060}),
        ([a_grant("g", 600, effective_at=2_000)], [TEN], {"g": 2_060}),
        (
            [a_grant("second", 300, priority=60), a_grant("first", 600)],
            [TEN],
            {"first": 1_060, "second": 1_090},
        ),
        (
            [a_grant("short", 600, expires_at=1_010), a_grant("long", 600)],
            [TEN],
            {"long": 1_070},
        ),
        (
            [a_grant("one", 600, prices=("price_2",)), a_grant("all", 900, priority=60)],
            [TEN, TEN._replace(price="price_2", amount=200)],
            {"one": 1_030, "all": 1_050},
        ),
        ([a_grant("g", 1)], [TEN._replace(amount=3)], {"g": 1_003}),
    ],
)
def test_when_grants_are_used_up(
    grants: list[Any], paces: list[Pace], expected: dict[str, int]
) -> None:
    assert used_up(grants, paces, NOW) == expected
    assert used_up(grants[::-1], paces[::-1], NOW) == expected
