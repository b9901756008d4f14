"""Summaries from the store against their meaning in plain Python."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse.limits import REQUEST_TIMESTAMP_SECONDS_MAX
from meterhouse.metering.aggregation import Use
from meterhouse.metering.model import EventTimeWindow, Formula, Scope
from meterhouse.metering.usage import SummaryPoint, SummaryQuery, summarize
from meterhouse.metering.window import WindowSize
from meterhouse.usage.store import UsageStore
from tests.metering.samples import DAY, HOUR, MINUTE, at, ledgers, meter
from tests.usage.samples import (
    accepted,
    accepted_blocks,
    cancelled_blocks,
    insert,
    new_scope,
    stored,
)

FORMULAS: list[Formula] = ["count", "last", "sum"]
SIZES: list[WindowSize | None] = [None, "day", "hour"]

# when it happened | the order of receipt | the value | whether it was cancelled
LEDGER = """
    3 09:59:59.999 | 1 | 100  |
    3 10:00        | 2 | 1    |
    3 10:40        | 5 | 2.5  | cancelled
    3 10:50        | 3 | 4    |
    3 12:00        | 6 | -8   |
    3 14:00        | 9 | 64   | cancelled
    3 23:30        | 4 | 16   |
    4 00:00        | 7 | 0    |
    4 11:00        | 8 | 32   |
"""


def put(store: UsageStore, scope: Scope, uses: list[Use], cancelled: set[int]) -> None:
    """Insert uses in the order of their positions, with cancellations of some."""
    rows = {
        use[1]: accepted(scope, str(use[2]), timestamp=use[0])
        for use in sorted(uses, key=lambda use: use[1])
    }
    insert(store, accepted_blocks(list(rows.values()), {scope.id: scope}))
    insert(store, cancelled_blocks([stored(rows[position], scope) for position in cancelled]))


def question(
    scope: Scope,
    formula: Formula,
    event_time_window: EventTimeWindow | None,
    reach: tuple[int, int],
    window: WindowSize | None,
    *,
    customer: str = "cus_1",
) -> SummaryQuery:
    measured = meter(formula=formula, event_time_window=event_time_window)
    return SummaryQuery(scope, measured, customer, *reach, window)


@pytest.mark.parametrize(
    ("event_time_window", "window", "reach"),
    [
        (None, None, ("3 10:00", "4 11:00")),
        (None, "hour", ("3 10:00", "4 11:00")),
        (None, "day", ("3", "5")),
        ("hour", None, ("3 10:45", "4 11:00")),
        ("hour", "hour", ("3 10:00", "4 11:00")),
        ("hour", "day", ("3", "5")),
        ("day", None, ("3 10:00", "3 12:00")),
        ("day", None, ("3 11:00", "4 11:00")),
        ("day", "hour", ("3 10:00", "4 12:00")),
        ("day", "day", ("3", "5")),
    ],
)
def test_the_ledger_on_paper(
    store: UsageStore,
    scope: Scope,
    event_time_window: EventTimeWindow | None,
    window: WindowSize | None,
    reach: tuple[str, str],
) -> None:
    lines = [line.split("|") for line in LEDGER.strip().splitlines()]
    uses = [
        (at(when.strip()), int(order), Decimal(value.strip())) for when, order, value, _ in lines
    ]
    cancelled = {int(order) for _, order, _, mark in lines if mark.strip()}
    kept = [use for use in uses if use[1] not in cancelled]
    put(store, scope, uses, cancelled)
    for formula in FORMULAS:
        asked = question(scope, formula, event_time_window, (at(reach[0]), at(reach[1])), window)
        assert store.summaries(asked) == summarize(asked, kept)


@st.composite
def reaches(draw: st.DrawFn) -> tuple[tuple[int, int], WindowSize | None]:
    window = draw(st.sampled_from(SIZES))
    step = {None: MINUTE, "hour": HOUR, "day": DAY}[window]
    steps = 2 * DAY // step
    start = draw(st.integers(0, steps - 1))
    end = draw(st.integers(start + 1, steps))
    return (at("3") + start * step, at("3") + end * step), window


@settings(max_examples=60)
@given(st.data())
def test_summaries_equal_their_meaning(store: UsageStore, data: st.DataObject) -> None:
    uses = data.draw(ledgers())
    cancelled = data.draw(st.sets(st.sampled_from([use[1] for use in uses]))) if uses else set()
    kept = [use for use in uses if use[1] not in cancelled]
    scope = new_scope()
    put(store, scope, uses, cancelled)
    for _ in range(4):
        reach, window = data.draw(reaches())
        formula, size = data.draw(st.tuples(st.sampled_from(FORMULAS), st.sampled_from(SIZES)))
        asked = question(scope, formula, size, reach, window)
        assert store.summaries(asked) == summarize(asked, kept)


def test_a_month_is_no_wall(store: UsageStore, scope: Scope) -> None:
    november = at("1")
    put(store, scope, [(november - 1, 1, Decimal(1)), (november, 2, Decimal(2))], set())
    reach = (november - DAY, november + DAY)
    total = question(scope, "sum", None, reach, None)
    assert store.summaries(total) == [SummaryPoint(*reach, Decimal(3))]
    days = question(scope, "last", None, reach, "day")
    assert [point.value for point in store.summaries(days)] == [2, 1]


def test_a_sum_keeps_every_digit(store: UsageStore, scope: Scope) -> None:
    values = ["999999999999999", "0.000000000000001", "-0.000000000000003"]
    put(store, scope, [(at("3"), 1 + n, Decimal(value)) for n, value in enumerate(values)], set())
    asked = question(scope, "sum", None, (at("3"), at("4")), None)
    assert store.summaries(asked)[0].value == Decimal("999999999999998.999999999999998")


def test_a_window_whose_events_were_all_cancelled_is_left_out(
    store: UsageStore, scope: Scope
) -> None:
    put(store, scope, [(at("3"), 1, Decimal(1)), (at("4"), 2, Decimal(0))], {1})
    asked = question(scope, "sum", None, (at("3"), at("5")), "day")
    assert store.summaries(asked) == [SummaryPoint(at("4"), at("5"), Decimal(0))]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("formula", FORMULAS)
def test_without_events(
    store: UsageStore, scope: Scope, formula: Formula, size: EventTimeWindow | None
) -> None:
    for reach in ((at("3"), at("4")), (0, (REQUEST_TIMESTAMP_SECONDS_MAX + 1) * 1000)):
        asked = question(scope, formula, size, reach, None)
        assert store.summaries(asked) == [SummaryPoint(*reach, Decimal(0))]
        assert store.summaries(question(scope, formula, size, reach, "day")) == []


@pytest.mark.parametrize(
    "customer",
    [
        "'",
        "\\",
        "\\'",
        "a\tb\nc\rd",
        "{start:Int64}",
        "%(a)s",
        "' OR 1 = 1 --",
        "\0",
        "é😀",
        "NULL",
        "",
    ],
)
def test_any_text_is_only_a_customer(store: UsageStore, scope: Scope, customer: str) -> None:
    rows = [accepted(scope, "1", customer=customer), accepted(scope, "2", customer="another")]
    insert(store, accepted_blocks(rows, {scope.id: scope}))
    reach = (at("20"), at("21"))
    asked = question(scope, "sum", None, reach, None, customer=customer)
    assert store.summaries(asked) == [SummaryPoint(*reach, Decimal(1))]


def test_books_are_apart(store: UsageStore, scope: Scope) -> None:
    live = Scope(scope.id + 1_000_000, scope.account, livemode=True)
    rows = [accepted(scope, "1"), accepted(live, "2"), accepted(scope, "4", meter="mtr_2")]
    insert(store, accepted_blocks(rows, {scope.id: scope, live.id: live}))
    reach = (at("20"), at("21"))
    for books, value in ((scope, 1), (live, 2), (new_scope(), 0)):
        asked = question(books, "sum", None, reach, None)
        assert store.summaries(asked) == [SummaryPoint(*reach, Decimal(value))]
