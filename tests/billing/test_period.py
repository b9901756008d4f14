from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.billing.period import beginning, period_at
from meterhouse.billing.price import Recurrence

MONTH = Recurrence("month")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(text: str) -> int:
    return (datetime.fromisoformat(text).replace(tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)


def shown(instant: int) -> str:
    return (EPOCH + timedelta(milliseconds=instant)).strftime("%Y-%m-%dT%H:%M")


@pytest.mark.parametrize(
    ("anchor", "recurrence", "begin"),
    [
        ("2027-01-31T10:00", MONTH, "2027-02-28T10:00 2027-03-31T10:00 2027-04-30T10:00"),
        ("2028-01-30T00:00", MONTH, "2028-02-29T00:00 2028-03-30T00:00 2028-04-30T00:00"),
        ("2027-12-29T00:00", MONTH, "2028-01-29T00:00 2028-02-29T00:00 2028-03-29T00:00"),
        ("2028-02-29T12:30", Recurrence("year"), "2029-02-28T12:30 2030-02-28T12:30"),
        ("2024-02-29T00:00", Recurrence("year", 2), "2026-02-28T00:00 2028-02-29T00:00"),
        ("2026-11-30T00:00", Recurrence("month", 3), "2027-02-28T00:00 2027-05-30T00:00"),
        ("2026-03-28T23:00", Recurrence("week"), "2026-04-04T23:00 2026-04-11T23:00"),
        ("2026-10-24T00:00", Recurrence("day", 10), "2026-11-03T00:00 2026-11-13T00:00"),
    ],
)
def test_periods_begin_so_many_intervals_after_the_anchor(
    anchor: str, recurrence: Recurrence, begin: str
) -> None:
    expected = begin.split()
    numbers = range(1, len(expected) + 1)
    assert [shown(beginning(at(anchor), recurrence, one)) for one in numbers] == expected


def test_an_event_on_the_boundary_belongs_to_the_new_period() -> None:
    boundary = at("2027-02-28T10:00")
    assert period_at(at("2027-01-31T10:00"), MONTH, boundary).start == boundary
    assert period_at(at("2027-01-31T10:00"), MONTH, boundary - 1).end == boundary


instants = st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1)).map(  # noqa: DTZ001 - made UTC
    lambda one: at(one.isoformat())
)
recurrences = st.builds(
    Recurrence, st.sampled_from(["day", "week", "month", "year"]), st.integers(1, 36)
)


@given(instants, recurrences, instants)
def test_each_instant_is_in_one_period_of_its_anchor(
    anchor: int, recurrence: Recurrence, instant: int
) -> None:
    found = period_at(anchor, recurrence, instant)
    assert found.start <= instant < found.end
    assert period_at(anchor, recurrence, found.end).start == found.end
    assert period_at(anchor, recurrence, found.start) == found


@given(instants, recurrences, st.integers(-30, 30))
def test_periods_follow_each_other(anchor: int, recurrence: Recurrence, number: int) -> None:
    assert beginning(anchor, recurrence, 0) == anchor
    assert beginning(anchor, recurrence, number) < beginning(anchor, recurrence, number + 1)
