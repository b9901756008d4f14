from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.billing.anchor import AnchorDay, anchor_on
from meterhouse.billing.period import period_at
from meterhouse.billing.price import Recurrence

MONTHLY = [Recurrence("month")]


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def day_of(instant: int) -> datetime:
    return datetime.fromtimestamp(instant / 1000, UTC)


@pytest.mark.parametrize(
    ("day", "recurrences", "ends"),
    [
        (AnchorDay(1), MONTHLY, "2027-05-01T12:30:15"),
        (AnchorDay(10), MONTHLY, "2027-04-10T12:30:15"),
        (AnchorDay(10, hour=12, minute=0), MONTHLY, "2027-05-10T12:00:15"),
        (AnchorDay(31, hour=0, minute=0, second=0), MONTHLY, "2027-04-30"),
        (AnchorDay(31, hour=0, minute=0, second=0), [Recurrence("month", 3)], "2027-04-30"),
        (AnchorDay(29, 2, 0, 0, 0), [Recurrence("year")], "2028-02-29"),
        (AnchorDay(31, 2, 0, 0, 0), [Recurrence("year")], "2028-02-29"),
        (AnchorDay(1, 1, 0, 0, 0), [Recurrence("year")], "2028-01-01"),
    ],
)
def test_when_the_first_period_ends(
    day: AnchorDay, recurrences: list[Recurrence], ends: str
) -> None:
    now = at("2027-04-10T12:30:15")
    anchor = anchor_on(day, now, recurrences)
    end = at(ends)
    assert period_at(anchor, recurrences[0], end).start == end
    if end > now:
        assert period_at(anchor, recurrences[0], now).end == end


def test_short_months_have_their_last_day_and_long_ones_the_day() -> None:
    anchor = anchor_on(AnchorDay(31, hour=0, minute=0, second=0), at("2027-02-10"), MONTHLY)
    days = []
    instant = at("2027-02-10")
    for _ in range(4):
        instant = period_at(anchor, MONTHLY[0], instant).end
        days.append(day_of(instant).date().isoformat())
    assert days == ["2027-02-28", "2027-03-31", "2027-04-30", "2027-05-31"]


counts = st.lists(st.integers(1, 36), min_size=1, max_size=6)


@given(st.integers(1, 31), st.none() | st.integers(1, 12), counts, st.integers(0, 10**13))
def test_any_day_gives_periods_that_begin_on_it(
    day: int, month: int | None, several: list[int], now: int
) -> None:
    recurrences = [Recurrence("month", count) for count in several]
    anchor = anchor_on(AnchorDay(day, month), now, recurrences)
    assert anchor >= now
    assert day_of(anchor).day in (day, 30, 29, 28)
    assert month is None or day_of(anchor).month == month or any(n % 12 for n in several)
