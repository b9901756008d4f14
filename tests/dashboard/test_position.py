from decimal import Decimal

import pytest

from meterhouse.dashboard.position import Part, parts, position


def test_parts_fill_the_bar() -> None:
    assert parts([("left", 1), ("open", 0), ("spent", 2)]) == [
        Part("left", 1, 0, 333),
        Part("open", 0, 333, 0),
        Part("spent", 2, 333, 667),
    ]
    assert parts([("left", 0)]) == [Part("left", 0, 0, 0)]


@pytest.mark.parametrize(
    ("used", "width", "reached"),
    [
        ("-3", 0, [False, False]),
        ("0", 0, [False, False]),
        ("50", 500, [True, False]),
        ("99.9", 999, [True, False]),
        ("100", 1000, [True, True]),
        ("1e9", 1000, [True, True]),
    ],
)
def test_how_far_it_is(used: str, width: int, reached: list[bool]) -> None:
    found = position(Decimal(used), [Decimal(50), Decimal(100)])
    assert found.width == width
    assert [line.reached for line in found.lines] == reached
    assert [line.at for line in found.lines] == [500, 1000]
    assert found.last.gte == 100
