from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.dashboard import chart
from meterhouse.dashboard.chart import Chart
from meterhouse.dashboard.question import Question, span, windows
from meterhouse.metering.window import Window
from tests.dashboard.samples import DAY, HOUR, at

FIRST = at("2026-11-19")
DAYS = [Window(FIRST + number * DAY, FIRST + (number + 1) * DAY) for number in range(3)]
FORMER = [Window(one.start - 3 * DAY, one.end - 3 * DAY) for one in DAYS]
NOW = FIRST + 2 * DAY + HOUR
BY_MODEL = Question("m", group="dimension:model")

# What an event may have, and sums of it.
VALUES = st.decimals(-(10**15), 10**15, places=15, allow_nan=False)


def row(day: int, value: str | Decimal | int, **more: Any) -> dict[str, Any]:
    """Return a row of an answer; `day` is counted from the first bar."""
    return {"starts_at": (FIRST + day * DAY) // 1000, "value": value, **more}


def of_model(day: int, value: str, model: str) -> dict[str, Any]:
    return row(day, value, dimensions={"model": model}, other=False)


def others(day: int, value: str) -> dict[str, Any]:
    return row(day, value, dimensions=None, other=True)


def build(question: Question, rows: Sequence[dict[str, Any]], **more: Any) -> Chart:
    return chart.build(question, DAYS, "day", rows, **{"now": NOW, "adds_up": True, **more})


def table(built: Chart) -> list[tuple[str, list[int], int]]:
    return [(one.name, [int(bar) for bar in one.bars], int(one.total)) for one in built.series]


def whole(bars: Sequence[Decimal] | None) -> list[int] | None:
    return None if bars is None else [int(bar) for bar in bars]


def former(built: Chart) -> tuple[list[int] | None, int | None]:
    return whole(built.previous), None if built.before is None else int(built.before)


def sums(built: Chart) -> tuple[list[int] | None, int]:
    return whole(built.totals), int(built.total)


MODELS = [
    of_model(0, "1", "small"),
    of_model(2, "2", "small"),
    others(1, "90"),
    of_model(0, "5", "large"),
    of_model(1, "3", ""),
]


def test_without_groups_there_is_one_series_and_nothing_is_zero() -> None:
    assert table(build(Question("m"), [row(2, 4), row(0, 1)])) == [("", [1, 0, 4], 5)]
    assert table(build(Question("m"), [])) == [("", [0, 0, 0], 0)]
    assert build(BY_MODEL, []).series == []


def test_groups_are_stacked_the_largest_first_and_the_others_last() -> None:
    built = build(BY_MODEL, MODELS)
    assert table(built) == [
        ("large", [5, 0, 0], 5),
        ("(empty)", [0, 3, 0], 3),
        ("small", [1, 0, 2], 3),
        ("other", [0, 90, 0], 90),
    ]
    assert [one.value for one in built.series] == ["large", "", "small", None]
    assert sums(built) == ([6, 93, 2], 101)


def test_a_group_named_other_is_not_the_others() -> None:
    built = build(BY_MODEL, [of_model(0, "1", "other"), others(0, "2")])
    assert [(one.value, one.name) for one in built.series] == [("other", "other"), (None, "other")]
    assert [one["other"] for one in chart.drawing(built, [None, None])["series"]] == [False, True]


@pytest.mark.parametrize(
    ("group", "named"),
    [
        ("customer", {"customer": "cus_1"}),
        ("tenant:user", {"tenants": {"user": "cus_1"}, "dimensions": {"user": "no"}}),
    ],
)
def test_what_a_group_is_told_by(group: str, named: dict[str, Any]) -> None:
    built = build(Question("m", group=group), [row(0, 1, other=False, **named)])
    assert table(built) == [("cus_1", [1, 0, 0], 1)]
    renamed = chart.called(built, {"cus_1": "Ada"})
    assert table(renamed) == [("Ada", [1, 0, 0], 1)]
    assert renamed.series[0].value == "cus_1"


def test_a_row_that_begins_before_the_range_is_in_the_first_bar() -> None:
    assert table(build(Question("m"), [row(-4, 2), row(0, 1)])) == [("", [3, 0, 0], 3)]


def test_cumulative_bars_add_up_to_the_total_that_is_shown_anyway() -> None:
    running = BY_MODEL.change(cumulative=True)
    built = build(running, MODELS[:2], previous=(FORMER, [row(-3, 4), row(-1, 6)]))
    assert table(built) == [("small", [1, 1, 3], 3)]
    assert sums(built) == ([1, 1, 3], 3)
    assert former(built) == ([4, 4, 10], 10)


def test_what_does_not_add_up_is_never_cumulative() -> None:
    running = Question("m", cumulative=True)
    earlier = (FORMER, [row(-3, 4), row(-2, 5)])
    built = build(running, [row(0, 3), row(1, 2)], previous=earlier, adds_up=False)
    assert whole(built.totals) == [3, 2, 0]
    assert whole(built.previous) == [4, 5, 0]


@pytest.mark.parametrize(
    ("now", "unfinished"),
    [
        (FIRST - 1, None),
        (FIRST, 0),
        (FIRST + DAY - 1, 0),
        (FIRST + DAY, 1),
        (FIRST + 3 * DAY - 1, 2),
        (FIRST + 3 * DAY, None),
    ],
)
def test_the_window_that_is_not_over(now: int, unfinished: int | None) -> None:
    built = build(Question("m"), [], now=now)
    assert built.unfinished == unfinished
    assert chart.drawing(built, [None])["unfinished"] == unfinished


@pytest.mark.parametrize(
    ("rows", "previous", "before"),
    [
        ([row(-3, 1), row(-1, 2)], [1, 0, 2], 3),
        ([row(-9, 1)], [1, 0, 0], 1),
        ([row(-3, 1), row(-3, -1)], [0, 0, 0], 0),
        ([], None, None),
    ],
)
def test_the_period_before(
    rows: list[dict[str, Any]], previous: list[int] | None, before: int | None
) -> None:
    built = build(Question("m"), [row(0, 7)], previous=(FORMER, rows))
    assert former(built) == (previous, before)
    drawn = None if previous is None else [str(one) for one in previous]
    assert chart.drawing(built, [None])["previous"] == drawn


def test_a_period_before_that_nobody_asked_for() -> None:
    built = build(Question("m"), [row(0, 7)])
    assert former(built) == (None, None)


@pytest.mark.parametrize(("bars", "previous"), [(2, [1, 2, 0]), (4, [0, 0, 3])])
def test_a_period_before_of_more_or_fewer_bars_loses_nothing(
    bars: int, previous: list[int]
) -> None:
    earlier = [Window(FIRST + n * DAY, FIRST + (n + 1) * DAY) for n in range(-bars, 0)]
    built = build(Question("m"), [], previous=(earlier, [row(-2, 1), row(-1, 2)]))
    assert former(built) == (previous, 3)


def test_of_last_values_a_bar_too_many_is_left_out() -> None:
    earlier = [Window(FIRST + n * DAY, FIRST + (n + 1) * DAY) for n in range(-4, 0)]
    rows = [row(-4, 1), row(-2, 3), row(-1, 4)]
    built = build(Question("m"), [], previous=(earlier, rows), adds_up=False)
    assert whole(built.previous) == [1, 0, 3]


@given(st.lists(st.tuples(st.integers(0, 2), VALUES, st.sampled_from("abc")), max_size=30))
def test_nothing_is_rounded(used: list[tuple[int, Decimal, str]]) -> None:
    rows = [of_model(day, f"{value:f}", model) for day, value, model in used]
    built = build(BY_MODEL.change(cumulative=True), rows, previous=(FORMER, rows))
    exact = sum((Fraction(value) for _, value, _ in used), Fraction(0))
    assert Fraction(built.total) == exact
    assert Fraction(built.totals[-1]) == exact
    assert Fraction(built.before or 0) == exact
    assert sum((Fraction(one.total) for one in built.series), Fraction(0)) == exact
    drawn = chart.drawing(built, [None] * len(built.series))
    assert sum((Fraction(one["bars"][-1]) for one in drawn["series"]), Fraction(0)) == exact


def test_the_script_gets_texts_without_exponents() -> None:
    built = build(Question("m"), [row(0, "1E+3"), row(1, Decimal("1E-15"))])
    [series] = chart.drawing(built, ["/there"])["series"]
    assert series == {
        "name": "",
        "other": False,
        "bars": ["1000", "0.000000000000001", "0"],
        "link": "/there",
    }


@pytest.mark.parametrize(
    ("size", "zone", "text"),
    [
        ("hour", "UTC", "21 Nov 2026, 23:30"),
        ("hour", "Asia/Kolkata", "22 Nov 2026, 05:00"),
        ("day", "Asia/Kolkata", "22 Nov 2026"),
        ("week", "UTC", "Week of 21 Nov 2026"),
        ("month", "UTC", "Nov 2026"),
    ],
)
def test_labels(size: Any, zone: str, text: str) -> None:
    moment = at("2026-11-21T23:30")
    assert chart.label(Window(moment, moment + HOUR), size, zone) == text


def test_an_hour_that_the_clock_shows_twice_has_two_labels() -> None:
    start = at("2026-11-01T01:00", "America/New_York")
    hours = [Window(start + n * HOUR, start + (n + 1) * HOUR) for n in range(3)]
    assert [chart.label(one, "hour", "America/New_York")[13:] for one in hours] == [
        "01:00",
        "01:00 again",
        "02:00",
    ]


@given(
    st.integers(at("1973-01-01"), at("2040-01-01")),
    st.sampled_from(["America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Europe/London"]),
    st.sampled_from([("24h", "hour"), ("30d", "hour"), ("90d", "week"), ("12m", "month")]),
)
def test_no_two_bars_have_one_label(now: int, zone: str, shown: tuple[Any, Any]) -> None:
    question = Question("m", range=shown[0], window=shown[1], zone=zone)
    bars = windows(question, span(question, now))
    labels = {chart.label(one, shown[1], zone) for one in bars}
    assert len(labels) == len(bars)
