from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.metering.aggregation import Use
from meterhouse.metering.model import EventTimeWindow, Formula
from meterhouse.metering.usage import SummaryPoint, SummaryQuery, summarize
from meterhouse.metering.value import print_value
from meterhouse.metering.window import Window, WindowSize
from tests.metering.oracle import Oracle, OracleEvent, OracleMeter
from tests.metering.samples import DAY, HOUR, MINUTE, SCOPE, at, ledgers, meter

FORMULA_NAMES: list[Formula] = ["count", "sum", "last"]
SIZE_NAMES: list[WindowSize | None] = [None, "day", "hour"]
FORMULAS = st.sampled_from(FORMULA_NAMES)
SIZES = st.sampled_from(SIZE_NAMES)

# when it happened | the order of receipt | the value
LEDGER = """
    3 09:59:59.999 | 1 | 100
    3 10:00        | 2 | 1
    3 10:40        | 5 | 2.5
    3 10:50        | 3 | 4
    3 12:00        | 6 | -8
    3 23:30        | 4 | 16
    4 00:00        | 7 | 0
    4 11:00        | 8 | 32
"""


def uses() -> list[Use]:
    rows = (line.split("|") for line in LEDGER.strip().splitlines())
    return [(at(when.strip()), int(order), Decimal(value.strip())) for when, order, value in rows]


def query(
    formula: Formula,
    event_time_window: EventTimeWindow | None,
    start: int,
    end: int,
    window: WindowSize | None,
) -> SummaryQuery:
    measured = meter(formula=formula, event_time_window=event_time_window)
    return SummaryQuery(SCOPE, measured, "cus_1", start, end, window)


RANGE = ("3 10:00", "4 11:00")  # takes in its first instant, leaves out its last


@pytest.mark.parametrize(
    ("formula", "event_time_window", "total"),
    [
        ("count", None, "6"),
        ("sum", None, "15.5"),
        ("last", None, "0"),
        # Of 10:00 to 11:00 only the 2.5 counts: it happened before the 4 and came later.
        ("count", "hour", "4"),
        ("sum", "hour", "10.5"),
        ("last", "hour", "0"),
        # Of the 3rd only the -8 counts, of the 4th only the 32, which lies outside.
        ("count", "day", "1"),
        ("sum", "day", "-8"),
        ("last", "day", "-8"),
    ],
)
def test_a_total(formula: Formula, event_time_window: EventTimeWindow | None, total: str) -> None:
    start, end = map(at, RANGE)
    asked = query(formula, event_time_window, start, end, None)
    assert summarize(asked, uses()) == [SummaryPoint(start, end, Decimal(total))]


BY_HOUR = {
    "3 10:00": ("3", "7.5", "4"),
    "3 12:00": ("1", "-8", "-8"),
    "3 23:00": ("1", "16", "16"),
    "4 00:00": ("1", "0", "0"),
}
BY_DAY = {"3": ("6", "115.5", "16"), "4": ("2", "32", "32")}
HOURS_OF_HOURLY = {
    "3 10:00": ("1", "2.5", "2.5"),
    "3 12:00": ("1", "-8", "-8"),
    "3 23:00": ("1", "16", "16"),
    "4 00:00": ("1", "0", "0"),
}
DAYS_OF_HOURLY = {"3": ("4", "110.5", "16"), "4": ("2", "32", "32")}
HOURS_OF_DAILY = {"3 12:00": ("1", "-8", "-8")}
DAYS_OF_DAILY = {"3": ("1", "-8", "-8"), "4": ("1", "32", "32")}


@pytest.mark.parametrize(
    ("event_time_window", "window", "asked", "expected"),
    [
        (None, "hour", RANGE, BY_HOUR),
        (None, "day", ("3", "5"), BY_DAY),
        ("hour", "hour", RANGE, HOURS_OF_HOURLY),
        ("hour", "day", ("3", "5"), DAYS_OF_HOURLY),
        ("day", "hour", RANGE, HOURS_OF_DAILY),
        ("day", "day", ("3", "5"), DAYS_OF_DAILY),
    ],
)
def test_points_by_window_newest_first(
    event_time_window: EventTimeWindow | None,
    window: WindowSize,
    asked: tuple[str, str],
    expected: dict[str, tuple[str, str, str]],
) -> None:
    start, end = map(at, asked)
    length = DAY if window == "day" else HOUR
    for column, formula in enumerate(FORMULA_NAMES):
        points = summarize(query(formula, event_time_window, start, end, window), uses())
        assert [(point.start, point.end, print_value(point.value)) for point in points] == [
            (at(opening), at(opening) + length, values[column])
            for opening, values in sorted(expected.items(), key=lambda row: -at(row[0]))
        ]


@pytest.mark.parametrize("formula", ["count", "sum", "last"])
def test_without_use_a_total_is_zero_and_there_are_no_windows(formula: Formula) -> None:
    start, end = at("7"), at("9")
    assert summarize(query(formula, None, start, end, None), uses()) == [
        SummaryPoint(start, end, Decimal(0))
    ]
    assert summarize(query(formula, None, start, end, "day"), uses()) == []


def test_a_cancelled_event_gives_its_window_back_to_the_one_before() -> None:
    asked = query("sum", "hour", at("3 10:00"), at("3 11:00"), None)
    kept = [use for use in uses() if use[1] != 5]
    assert summarize(asked, kept)[0].value == Decimal(4)


@pytest.mark.parametrize(
    ("event_time_window", "reach"),
    [
        (None, ("3 10:05", "3 12:01")),
        ("hour", ("3 10:00", "3 13:00")),
        ("day", ("3 00:00", "4 00:00")),
    ],
)
def test_the_reach_of_a_question(
    event_time_window: EventTimeWindow | None, reach: tuple[str, str]
) -> None:
    asked = query("sum", event_time_window, at("3 10:05"), at("3 12:01"), None)
    assert asked.reach() == Window(at(reach[0]), at(reach[1]))


@st.composite
def questions(draw: st.DrawFn) -> SummaryQuery:
    window = draw(SIZES)
    step = {None: MINUTE, "hour": HOUR, "day": DAY}[window]
    steps = 2 * DAY // step
    start = draw(st.integers(0, steps - 1))
    end = draw(st.integers(start + 1, steps))
    opening = at("3")
    return query(draw(FORMULAS), draw(SIZES), opening + start * step, opening + end * step, window)


@given(questions(), ledgers())
def test_summaries_agree_with_the_oracle(asked: SummaryQuery, ledger: list[Use]) -> None:
    measured = OracleMeter("mtr_1", "calls", asked.meter.formula, asked.meter.event_time_window)
    received = sorted(ledger, key=lambda use: use[1])
    oracle = Oracle(meters={"mtr_1": measured})
    oracle.events = [
        OracleEvent(
            measured, str(position), {"stripe_customer_id": "cus_1"}, when, 0, "accepted", value
        )
        for when, position, value in received
    ]
    expected = oracle.summaries("mtr_1", "cus_1", asked.start, asked.end, asked.window)
    assert [(p.start, p.end, p.value) for p in summarize(asked, ledger)] == expected


@given(questions(), ledgers())
def test_the_events_in_reach_are_enough(asked: SummaryQuery, ledger: list[Use]) -> None:
    reach = asked.reach()
    inside = [use for use in ledger if reach.start <= use[0] < reach.end]
    assert summarize(asked, inside) == summarize(asked, ledger)


@given(
    st.sampled_from(["count", "sum"]),
    SIZES,
    st.lists(st.integers(0, 2 * DAY // MINUTE), min_size=3, max_size=3, unique=True).map(sorted),
    ledgers(),
)
def test_adjacent_ranges_add_up(
    formula: Formula,
    event_time_window: EventTimeWindow | None,
    cuts: list[int],
    ledger: list[Use],
) -> None:
    start, middle, end = (at("3") + cut * MINUTE for cut in cuts)

    def total(start: int, end: int) -> Fraction:
        [point] = summarize(query(formula, event_time_window, start, end, None), ledger)
        return Fraction(point.value)

    assert total(start, middle) + total(middle, end) == total(start, end)


@given(st.sampled_from(["count", "sum"]), SIZES, st.sampled_from(["day", "hour"]), ledgers())
def test_windows_add_up_to_the_total(
    formula: Formula,
    event_time_window: EventTimeWindow | None,
    window: WindowSize,
    ledger: list[Use],
) -> None:
    start, end = at("3"), at("5")
    points = summarize(query(formula, event_time_window, start, end, window), ledger)
    [total] = summarize(query(formula, event_time_window, start, end, None), ledger)
    assert sum(Fraction(point.value) for point in points) == total.value
    assert [point.start for point in points] == sorted(
        {point.start for point in points}, reverse=True
    )


@given(SIZES, st.sampled_from(["day", "hour"]), ledgers())
def test_the_last_of_the_newest_window_is_the_last_of_all(
    event_time_window: EventTimeWindow | None, window: WindowSize, ledger: list[Use]
) -> None:
    start, end = at("3"), at("5")
    points = summarize(query("last", event_time_window, start, end, window), ledger)
    [total] = summarize(query("last", event_time_window, start, end, None), ledger)
    assert total.value == (points[0].value if points else Decimal(0))
