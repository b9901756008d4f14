import time
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse import limits
from meterhouse.metering import report
from meterhouse.metering.report import (
    NO_METER,
    WINDOW,
    RejectionLine,
    Sample,
    reason,
    summary,
)
from tests.metering.rows import RejectedEvent, rejected_columns
from tests.metering.samples import NOW, event


def rejected(
    code: str = "meter_event_invalid_value",
    meter: str | None = "mtr_1",
    *,
    scope: int = 1,
    received_at: int = NOW,
    identifier: str = "a",
) -> RejectedEvent:
    sent = event(scope=scope, received_at=received_at, identifier=identifier)
    return RejectedEvent(1, sent, meter, code, f"{identifier} is wrong")


def gather(rows: Iterable[RejectedEvent]) -> list[RejectionLine]:
    return report.gather(rejected_columns(list(rows)))


def line(code: str, events: int, *samples: Sample) -> RejectionLine:
    return RejectionLine(1, "mtr_1", NOW, code, events, list(samples))


@pytest.mark.parametrize(
    ("received_at", "window_start"),
    [(NOW, NOW), (NOW + 9_999, NOW), (NOW + 10_000, NOW + 10_000), (NOW - 1, NOW - 10_000)],
)
def test_a_window_is_ten_seconds_and_half_open(received_at: int, window_start: int) -> None:
    (one,) = gather([rejected(received_at=received_at)])
    assert one.window_start == window_start


def test_scope_meter_window_and_code_make_a_line() -> None:
    lines = gather(
        [
            rejected(identifier="a"),
            rejected("no_meter", None, identifier="b"),
            rejected(identifier="c"),
            rejected("archived_meter", identifier="d"),
            rejected(scope=2, identifier="e"),
            rejected(received_at=NOW + WINDOW, identifier="f"),
            rejected(meter="mtr_2", identifier="g"),
        ]
    )
    told = [
        (
            one.scope,
            one.meter,
            one.window_start,
            one.code,
            [each.identifier for each in one.samples],
        )
        for one in lines
    ]
    invalid = "meter_event_invalid_value"
    assert sorted(told) == [
        (1, NO_METER, NOW, "no_meter", ["b"]),
        (1, "mtr_1", NOW, "archived_meter", ["d"]),
        (1, "mtr_1", NOW, invalid, ["a", "c"]),
        (1, "mtr_1", NOW + WINDOW, invalid, ["f"]),
        (1, "mtr_2", NOW, invalid, ["g"]),
        (2, "mtr_1", NOW, invalid, ["e"]),
    ]


def test_the_first_ten_are_samples() -> None:
    (one,) = gather(rejected(identifier=str(number)) for number in range(25))
    assert one.events == 25
    assert one.samples == [Sample(str(number), f"{number} is wrong") for number in range(10)]


keys = st.tuples(
    st.integers(1, 2),
    st.sampled_from([None, "mtr_1", "mtr_2"]),
    st.integers(NOW, NOW + 3 * WINDOW),
    st.sampled_from(["archived_meter", "no_meter"]),
)


@given(st.lists(keys, max_size=60))
def test_every_rejected_event_is_in_exactly_one_line(
    found: list[tuple[int, str | None, int, str]],
) -> None:
    lines = gather(
        rejected(code, meter, scope=scope, received_at=received_at)
        for scope, meter, received_at, code in found
    )
    counted = Counter(
        (scope, meter or NO_METER, received_at // WINDOW * WINDOW, code)
        for scope, meter, received_at, code in found
    )
    assert {
        (one.scope, one.meter, one.window_start, one.code): one.events for one in lines
    } == counted
    assert len(lines) == len(counted)
    assert all(
        len(one.samples) == min(one.events, limits.REPORT_SAMPLE_EVENTS_MAX) for one in lines
    )


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ([1], "There is 1 invalid event"),
        ([2], "There are 2 invalid events"),
        ([1, 1_000_000], "There are 1000001 invalid events"),
    ],
)
def test_the_summary(counts: list[int], sentence: str) -> None:
    assert summary(line("archived_meter", count) for count in counts) == sentence


def test_the_reason_begins_with_the_most_frequent_error() -> None:
    sample = Sample("a", "The value is wrong.")
    told = reason([line("c", 2), line("a", 7, sample), line("b", 2)])
    assert told == {
        "error_count": 11,
        "error_types": [
            {
                "code": "a",
                "error_count": 7,
                "sample_errors": [
                    {"error_message": "The value is wrong.", "request": {"identifier": "a"}}
                ],
            },
            {"code": "b", "error_count": 2, "sample_errors": []},
            {"code": "c", "error_count": 2, "sample_errors": []},
        ],
    }


def test_gathering_costs_little() -> None:
    """Given 100,000 rejections a second, they must not take a core: 2 µs each at the very most."""
    many = [rejected(identifier=str(number)) for number in range(20_000)]
    columns = rejected_columns(many)
    started = time.thread_time()
    report.gather(columns)
    assert time.thread_time() - started < 20_000 * 2e-6
