from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse import zones
from meterhouse.metering.window import (
    MILLISECONDS,
    SLOT,
    Alignment,
    GroupingWindow,
    Window,
    WindowSize,
    floor_to,
    is_aligned,
    shown,
    slot_at,
    stretches,
    widen,
    window_of,
    zoned,
)
from tests.metering import oracle
from tests.metering.samples import DAY, HOUR, MINUTE, at

INSTANTS = st.integers(at("1") - 10**12, at("1") + 10**12)
SIZES = st.sampled_from(["day", "hour"])


@pytest.mark.parametrize(
    ("instant", "aligned"),
    [
        ("3 00:00", ("minute", "hour", "day")),
        ("3 10:00", ("minute", "hour")),
        ("3 10:05", ("minute",)),
        ("3 10:05:01", ()),
        ("3 00:00:00.001", ()),
        ("3 23:59:59.999", ()),
    ],
)
def test_alignment(instant: str, aligned: tuple[Alignment, ...]) -> None:
    assert tuple(name for name in MILLISECONDS if is_aligned(at(instant), name)) == aligned


@pytest.mark.parametrize(
    ("instant", "size", "start", "end"),
    [
        ("3 10:05", "hour", "3 10:00", "3 11:00"),
        ("3 10:00", "hour", "3 10:00", "3 11:00"),
        ("3 10:59:59.999", "hour", "3 10:00", "3 11:00"),
        ("3 11:00", "hour", "3 11:00", "3 12:00"),
        ("3 23:30", "hour", "3 23:00", "4 00:00"),
        ("3 10:05", "day", "3 00:00", "4 00:00"),
        ("3 00:00", "day", "3 00:00", "4 00:00"),
        ("3 23:59:59.999", "day", "3 00:00", "4 00:00"),
    ],
)
def test_the_window_of_an_instant(instant: str, size: WindowSize, start: str, end: str) -> None:
    assert window_of(at(instant), size) == Window(at(start), at(end))


@pytest.mark.parametrize(
    ("start", "end", "size", "wide_start", "wide_end"),
    [
        ("3 10:05", "3 10:06", "hour", "3 10:00", "3 11:00"),
        ("3 10:05", "3 11:00", "hour", "3 10:00", "3 11:00"),
        ("3 10:05", "3 11:01", "hour", "3 10:00", "3 12:00"),
        ("3 10:00", "3 12:00", "hour", "3 10:00", "3 12:00"),
        ("3 10:05", "4 00:01", "day", "3 00:00", "5 00:00"),
        ("3 00:00", "4 00:00", "day", "3 00:00", "4 00:00"),
    ],
)
def test_widening_takes_in_whole_windows(
    start: str, end: str, size: WindowSize, wide_start: str, wide_end: str
) -> None:
    assert widen(at(start), at(end), size) == Window(at(wide_start), at(wide_end))


@given(INSTANTS, SIZES)
def test_windows_follow_the_calendar(instant: int, size: WindowSize) -> None:
    assert floor_to(instant, size) == oracle.opening(instant, size)


@given(INSTANTS, SIZES)
def test_windows_cover_time_without_gap_or_overlap(instant: int, size: WindowSize) -> None:
    window = window_of(instant, size)
    assert window.start <= instant < window.end
    assert window_of(window.start, size) == window == window_of(window.end - 1, size)
    assert window_of(window.end, size).start == window.end
    assert is_aligned(window.start, size)


def instant(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000


@pytest.mark.parametrize(
    ("zone", "size", "start", "end", "hours"),
    [
        # The day on which the clock jumps has 23 hours, and 25 when it jumps back.
        ("America/New_York", "day", "2026-03-07T05:00", "2026-03-10T04:00", [24, 23, 24]),
        ("America/New_York", "day", "2026-10-31T04:00", "2026-11-03T05:00", [24, 25, 24]),
        ("America/New_York", "hour", "2026-11-01T05:00", "2026-11-01T08:00", [1, 1, 1]),
        ("America/New_York", "week", "2026-03-02T05:00", "2026-03-09T04:00", [7 * 24 - 1]),
        ("America/New_York", "month", "2026-11-01T04:00", "2026-12-01T05:00", [30 * 24 + 1]),
        # Clocks that are half an hour, or three quarters, off the full hour.
        ("Asia/Kolkata", "day", "2026-01-01T18:30", "2026-01-02T18:30", [24]),
        ("Asia/Kathmandu", "hour", "2026-01-01T18:15", "2026-01-01T20:15", [1, 1]),
        # A clock that jumps by half an hour: an hour on it takes an hour and a half.
        ("Australia/Lord_Howe", "hour", "2026-04-04T14:00", "2026-04-04T16:30", [1.5, 1]),
        # Midnight is left out; midnight is shown twice; a whole day is left out.
        ("America/Asuncion", "day", "2024-10-05T04:00", "2024-10-07T03:00", [24, 23]),
        ("America/Sao_Paulo", "day", "2019-02-16T02:00", "2019-02-18T03:00", [25, 24]),
        ("Pacific/Apia", "day", "2011-12-29T10:00", "2011-12-31T10:00", [24, 24]),
        ("UTC", "month", "2026-01-01T00:00", "2026-04-01T00:00", [31 * 24, 28 * 24, 31 * 24]),
    ],
)
def test_windows_of_zones(
    zone: str, size: GroupingWindow, start: str, end: str, hours: list[float]
) -> None:
    windows = zoned(instant(start), instant(end), size, zones.zone(zone))
    assert [(window.end - window.start) / HOUR for window in windows] == hours
    assert (windows[0].start, windows[-1].end) == (instant(start), instant(end))


# zone, day, when it begins in UTC, and its hours: what changed in autumn 2026
CHANGED = [
    # British Columbia, Alberta, Manitoba and the Northwest Territories stay on summer time.
    ("America/Vancouver", "2026-10-31", "2026-10-31T07:00", 24),
    ("America/Vancouver", "2026-11-01", "2026-11-01T07:00", 24),
    ("America/Vancouver", "2026-11-02", "2026-11-02T07:00", 24),
    ("America/Vancouver", "2027-03-14", "2027-03-14T07:00", 24),
    ("America/Edmonton", "2026-11-01", "2026-11-01T06:00", 24),
    ("America/Edmonton", "2026-11-02", "2026-11-02T06:00", 24),
    ("America/Edmonton", "2027-03-14", "2027-03-14T06:00", 24),
    ("America/Winnipeg", "2026-11-01", "2026-11-01T05:00", 24),
    ("America/Winnipeg", "2026-11-02", "2026-11-02T05:00", 24),
    ("America/Winnipeg", "2027-03-14", "2027-03-14T05:00", 24),
    ("America/Yellowknife", "2026-11-01", "2026-11-01T06:00", 24),
    ("America/Yellowknife", "2026-11-02", "2026-11-02T06:00", 24),
    ("America/Inuvik", "2026-11-02", "2026-11-02T06:00", 24),
    # Cuba does for one winter.
    ("America/Havana", "2026-11-01", "2026-11-01T04:00", 24),
    ("America/Havana", "2026-11-02", "2026-11-02T04:00", 24),
    ("America/Havana", "2027-03-14", "2027-03-14T04:00", 24),
    ("America/Havana", "2027-11-07", "2027-11-07T04:00", 25),
    ("America/Havana", "2027-11-08", "2027-11-08T05:00", 24),
    # Morocco goes back by an hour on 20 September, and stays there during Ramadan, too.
    ("Africa/Casablanca", "2026-09-19", "2026-09-18T23:00", 24),
    ("Africa/Casablanca", "2026-09-20", "2026-09-19T23:00", 25),
    ("Africa/Casablanca", "2026-09-21", "2026-09-21T00:00", 24),
    ("Africa/Casablanca", "2027-02-07", "2027-02-07T00:00", 24),
    ("Africa/Casablanca", "2027-03-14", "2027-03-14T00:00", 24),
]


@pytest.mark.parametrize(("name", "day", "start", "hours"), CHANGED)
def test_days_of_zones_that_changed_their_rules(
    name: str, day: str, start: str, hours: int
) -> None:
    zone = zones.zone(name)
    noon = instant(f"{day}T12:00")
    assert zoned(noon, noon + 1, "day", zone) == (
        Window(instant(start), instant(start) + hours * HOUR),
    )
    assert shown(instant(start), "day", zone) == day


@pytest.mark.parametrize(
    ("start", "size", "name", "text"),
    [
        ("2026-11-01T05:00", "hour", "America/New_York", "2026-11-01T01:00"),
        ("2026-11-01T06:00", "hour", "America/New_York", "2026-11-01T01:00"),
        ("2026-11-01T04:00", "day", "America/New_York", "2026-11-01"),
        ("2026-11-01T04:00", "month", "America/New_York", "2026-11-01"),
        ("2026-10-26T04:00", "week", "America/New_York", "2026-10-26"),
        ("2024-10-06T04:00", "day", "America/Asuncion", "2024-10-06"),  # begins at 01:00
        ("2026-01-01T18:17", None, "Asia/Kathmandu", "2026-01-02T00:02"),
    ],
)
def test_what_a_clock_shows_when_a_window_begins(
    start: str, size: GroupingWindow | None, name: str, text: str
) -> None:
    assert shown(instant(start), size, zones.zone(name)) == text


@given(
    st.integers(instant("1973-01-01") // MINUTE, instant("2040-01-01") // MINUTE),
    st.sampled_from(["hour", "day", "week", "month"]),
    st.sampled_from(sorted(zones.names())),
)
def test_windows_of_zones_follow_their_clocks(minute: int, size: GroupingWindow, zone: str) -> None:
    moment = minute * MINUTE
    [window] = zoned(moment, moment + MINUTE, size, zones.zone(zone))
    assert window == oracle.zoned(moment, size, zone)


def test_a_range_has_every_window_that_it_touches() -> None:
    zone = zones.zone("Europe/Berlin")
    windows = zoned(instant("2026-03-28T23:30"), instant("2026-03-31T00:00"), "day", zone)
    assert [window.start for window in windows] == [
        instant("2026-03-28T23:00"),
        instant("2026-03-29T22:00"),
        instant("2026-03-30T22:00"),
    ]
    assert zoned(instant("2026-03-28"), instant("2026-03-28"), "day", zone) == ()


def test_few_stretches_say_where_many_windows_are() -> None:
    windows = zoned(
        instant("2026-01-01"), instant("2027-01-01"), "hour", zones.zone("America/New_York")
    )
    edges = [window.start for window in windows] + [windows[-1].end]
    assert stretches(edges) == [(instant("2026-01-01"), HOUR, 0)]


@given(st.lists(st.sampled_from([0, HOUR, HOUR, DAY]), max_size=12), st.integers(0, 12 * DAY))
def test_stretches_find_the_window_of_an_instant(lengths: list[int], ahead: int) -> None:
    edges = [0]
    for length in lengths:
        edges.append(edges[-1] + length)
    found = [one for one in stretches(edges) if one.start <= ahead]
    expected = [n for n, (start, end) in enumerate(pairwise(edges)) if start <= ahead < end]
    if expected:
        assert [found[-1].first + (ahead - found[-1].start) // found[-1].length] == expected


@given(INSTANTS, INSTANTS)
def test_an_event_is_as_late_as_its_slot(moment: int, bound: int) -> None:
    assert (moment // SLOT * SLOT >= bound) == (moment >= slot_at(bound))
