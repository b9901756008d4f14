from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.wire.timestamp import print_timestamp, read_timestamp

NOON = 1_717_243_200_000  # 2024-06-01T12:00:00Z


@pytest.mark.parametrize(
    ("value", "after_noon"),
    [
        ("2024-06-01T12:00:00.000Z", 0),
        ("2024-06-01T12:00:59.999Z", 59_999),
        ("2024-06-01T12:00:00Z", 0),
        ("2024-06-01t12:00:00z", 0),
        ("2024-06-01 12:00:00Z", 0),
        ("2024-06-01T14:00:00+02:00", 0),
        ("2024-06-01T06:30:00.250-05:30", 250),
        ("2024-06-01T12:00:00.000-00:00", 0),
        ("2024-06-01T12:00:00.5Z", 500),
        ("2024-06-01T12:00:00.123456789Z", 123),
        ("2024-06-01T12:00:00.99999Z", 999),
        ("2024-06-01T11:59:60Z", 0),
        ("2024-06-01T11:59:60.000Z", 0),
        (1_717_243_200, 0),
        (1_717_243_200.25, 250),
        (1_717_243_200.001, 1),
        (1_717_243_200.9996, 999),
        ("1717243200", 0),
        ("1717243200.2509", 250),
    ],
)
def test_what_is_read(value: str | float, after_noon: int) -> None:
    assert read_timestamp(value) == NOON + after_noon


@pytest.mark.parametrize(
    "value",
    [
        "",
        "now",
        "2024-06-01",
        "2024-06-01T12:00:00",
        "2024-06-01T12:00:00.Z",
        "2024-06-01T12:00Z",
        "2024-13-01T12:00:00.000Z",
        "2024-02-30T12:00:00.000Z",
        "2024-06-01T24:00:00.000Z",
        "2024-06-01T12:60:00.000Z",
        "2024-06-01T12:00:61.000Z",
        "2024-06-01T12:00:00.00aZ",
        "2024-06-01T12:00: 0.000Z",
        "2024-06-01T12:00:+1.000Z",
        "2024-06-01T12:00:00+24:00",
        "2024-06-01T12:00:00+0200",
        "\u0662024-06-01T12:00:00.00Z",
        "\u0661717243200",
        "1969-12-31T23:59:59.999Z",
        "2300-01-01T00:00:00.000Z",
        "0000-01-01T00:00:00.000Z",
        "-1",
        "1e9",
        "99999999999",
        " 1717243200",
        -1,
        1e308,
        -1e308,
        10**30,
        1_717_243_200_000,
    ],
)
def test_what_is_none(value: str | float) -> None:
    with pytest.raises(ValueError, match=r"must be|month|day|year"):
        read_timestamp(value)


@given(st.integers(0, 10_413_791_999_999))
def test_what_is_printed_is_read(instant: int) -> None:
    text = print_timestamp(instant)
    assert len(text) == len("2024-06-01T12:00:00.000Z")
    assert read_timestamp(text) == instant


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2290, 1, 1)),  # noqa: DTZ001 - see below
    st.integers(-23 * 60, 23 * 60),
)
def test_every_offset_is_read_as_python_does(moment: datetime, minutes: int) -> None:
    there = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    exact = (there - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert read_timestamp(there.isoformat()) == exact
