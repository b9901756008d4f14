from typing import Any

import pytest

from meterhouse.dashboard.revenue import HEIGHT, Column, books, last_months
from tests.dashboard.samples import at


@pytest.mark.parametrize(
    ("now", "count", "first", "last"),
    [
        ("2026-11-21T12:00:00", 12, "2025-12-01", "2026-12-01"),
        ("2028-03-31T23:59:59", 2, "2028-02-01", "2028-04-01"),
        ("2026-01-01", 1, "2026-01-01", "2026-02-01"),
    ],
)
def test_months(now: str, count: int, first: str, last: str) -> None:
    months = last_months(at(now) // 1000, count)
    assert (months[0], months[-1]) == (at(first) // 1000, at(last) // 1000)
    assert len(months) == count + 1


def row(month: int, meter: str | None, amount: int, currency: str = "usd") -> dict[str, Any]:
    return {"starts_at": month, "meter": meter, "currency": currency, "amount": amount}


def test_rows_become_columns_by_currency() -> None:
    rows = [
        row(0, "mtr_1", 300),
        row(1, "mtr_1", 100),
        row(0, None, 900),
        row(1, "gone", -50),
        row(1, "mtr_1", 7, "jpy"),
    ]
    yen, dollars = books(rows, [0, 1], {"mtr_1": "Tokens"})
    assert dollars.columns == [
        Column("No meter", [900, 0], 900),
        Column("Tokens", [300, 100], 400),
        Column("gone", [0, -50], -50),
    ]
    assert (dollars.totals, dollars.total) == ([1_200, 50], 1_250)
    assert dollars.bars == [
        [(0, HEIGHT * 300 // 1_200, 750), (1, 0, 250)],
        [(1, HEIGHT - 83, 83)],
    ]
    assert (yen.currency, yen.totals) == ("jpy", [0, 7])


def test_nothing_but_what_was_given_back_has_no_bar() -> None:
    [only] = books([row(0, None, -5)], [0], {})
    assert only.bars == [[]]
