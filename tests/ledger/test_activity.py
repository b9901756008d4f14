from typing import Any
from unittest.mock import Mock

import pytest

from meterhouse.ledger import activity, tallies
from meterhouse.ledger.activity import Count, Question
from meterhouse.ledger.engine import Ledger
from meterhouse.metering.activity import WINDOW, ActivityLine
from tests.ledger.samples import two_scopes

HOUR = 12 * WINDOW
LATER = 100 * HOUR + WINDOW


def line(scope: int, start: int = 0, **changes: Any) -> ActivityLine:
    values: dict[str, Any] = {
        "meter": "mtr_1",
        "outcome": "accepted",
        "code": "",
        "events": 1,
        "last_received_at": start + 1,
    }
    return ActivityLine(scope=scope, window_start=start, **(values | changes))


def add(ledger: Ledger, *lines: ActivityLine) -> None:
    with ledger.write() as connection:
        activity.add(connection, lines)


def count(ledger: Ledger, scope: int, *, rows_max: int = 100, **asked: Any) -> list[Count]:
    question = Question(scope, **({"start": 0, "end": 1_000 * HOUR} | asked))
    with ledger.read() as connection:
        return activity.count(connection, question, rows_max)


def test_lines_with_the_same_key_are_one(ledger: Ledger) -> None:
    test, live = two_scopes(ledger)
    add(ledger)
    add(ledger, line(test, events=2, last_received_at=9), line(live, events=5))
    add(ledger, line(test, events=3, last_received_at=8))
    assert count(ledger, test) == [Count(start=0, events=5, last_received_at=9)]
    assert count(ledger, live) == [Count(start=0, events=5, last_received_at=1)]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, [(0, 15)]),
        ({"start": 1}, [(1, 8)]),
        ({"end": LATER}, [(0, 7)]),
        ({"window": WINDOW}, [(0, 7), (LATER, 8)]),
        ({"window": HOUR}, [(0, 7), (100 * HOUR, 8)]),
        ({"meter": "mtr_2"}, [(0, 2)]),
        ({"outcome": "rejected"}, [(0, 12)]),
        ({"rows_max": 1, "window": HOUR}, [(0, 7)]),
        ({"start": 200 * HOUR}, []),
    ],
)
def test_windows_and_filters(
    ledger: Ledger, asked: dict[str, Any], expected: list[tuple[int, int]]
) -> None:
    test, _ = two_scopes(ledger)
    add(
        ledger,
        line(test),
        line(test, meter="mtr_2", events=2),
        line(test, outcome="rejected", code="no_meter", meter="", events=4),
        line(test, LATER, outcome="rejected", code="a", events=8),
    )
    assert [(one.start, one.events) for one in count(ledger, test, **asked)] == expected


def test_groups(ledger: Ledger) -> None:
    test, _ = two_scopes(ledger)
    add(
        ledger,
        line(test),
        line(test, outcome="duplicate", events=2),
        line(test, meter="", outcome="rejected", code="no_meter", events=4),
        line(test, LATER, outcome="rejected", code="a", events=8),
    )
    by_meter = count(ledger, test, groups=("meter",))
    assert [(one.meter, one.outcome, one.code, one.events) for one in by_meter] == [
        ("", None, None, 4),
        ("mtr_1", None, None, 11),
    ]
    by_all = count(ledger, test, groups=("outcome", "code", "meter"), window=HOUR)
    assert [(one.outcome, one.code, one.meter, one.events) for one in by_all] == [
        ("accepted", "", "mtr_1", 1),
        ("duplicate", "", "mtr_1", 2),
        ("rejected", "no_meter", "", 4),
        ("rejected", "a", "mtr_1", 8),
    ]


def test_what_is_over_its_time_goes_in_chunks(ledger: Ledger) -> None:
    test, live = two_scopes(ledger)
    add(ledger, line(test), line(test, WINDOW), line(live), line(live, LATER))
    with ledger.write() as connection:
        assert activity.expire(connection, LATER, 2) == 2
        assert activity.expire(connection, LATER, 2) == 1
        assert activity.expire(connection, LATER, 2) == 0
    assert count(ledger, test) == []
    assert [one.events for one in count(ledger, live)] == [1]


def test_activity_adds_up_to_the_books() -> None:
    lines = [
        line(1, events=2),
        line(1, LATER, meter="mtr_2", events=3),
        line(1, outcome="rejected", code="a", events=4),
        line(2, outcome="duplicate", events=5),
    ]
    assert tallies.of(lines) == {
        tallies.Line(1, "accepted"): 5,
        tallies.Line(1, "rejected", "a"): 4,
        tallies.Line(2, "duplicate"): 5,
    }


def test_lines_are_added_in_one_order_whoever_adds_them() -> None:
    """Given two who add the same lines, then neither holds one that the other waits for."""
    connection = Mock()
    connection.dialect.name = "postgresql"
    lines = [line(2), line(1, outcome="rejected"), line(1, start=WINDOW), line(1)]
    activity.add(connection, lines)
    _, rows = connection.execute.call_args.args
    assert [row["scope"] for row in rows] == [1, 1, 1, 2]
    assert [row["outcome"] for row in rows[:2]] == ["accepted", "rejected"]
