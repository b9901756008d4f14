import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.metering.window import (
    MILLISECONDS,
    Alignment,
    Window,
    WindowSize,
    floor_to,
    is_aligned,
    widen,
    window_of,
)
from tests.metering import oracle
from tests.metering.samples import at

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
