"""Usage of many customers and meters in many ranges against its meaning in plain Python."""

from collections.abc import Sequence
from decimal import Decimal
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse.metering.aggregation import Use
from meterhouse.metering.model import Meter, Scope
from meterhouse.metering.usage import PeriodQuery, PeriodUsage, SummaryQuery, summarize
from meterhouse.metering.window import floor_to
from meterhouse.usage import block, periods
from meterhouse.usage.store import UsageStore
from tests.metering.rows import AcceptedEvent
from tests.metering.samples import DAY, MINUTE, at, meter, values
from tests.usage.samples import (
    accepted,
    event_rows,
    forget_slots,
    insert,
    new_scope,
    next_position,
    slot_blocks,
    stored,
)

METERS = {
    one.id: one
    for one in (
        meter(id="mtr_sum", dimension_keys=("model",), dimension_version=3),
        meter(id="mtr_plain"),
        meter(id="mtr_count", formula="count"),
        meter(id="mtr_last", formula="last"),
        meter(id="mtr_hour", event_time_window="hour"),
        meter(id="mtr_day", formula="count", event_time_window="day"),
        meter(id="mtr_last_day", formula="last", event_time_window="day"),
    )
}
CUSTOMERS = ["cus_1", "cus_2", "cus_3"]
START = at("3")


def put(
    store: UsageStore,
    scope: Scope,
    rows: Sequence[AcceptedEvent],
    cancelled: Sequence[AcceptedEvent] = (),
) -> None:
    """Insert events and their cancellations, as one batch after the other brings them."""
    for events in (
        event_rows(rows, {scope.id: scope}),
        block.cancelled([stored(row, scope) for row in cancelled]),
    ):
        insert(store, block.pack("events", block.by_month(events, "timestamp")))
        insert(store, slot_blocks(events, METERS, next_position()))


def meaning(scope: Scope, question: PeriodQuery, kept: Sequence[AcceptedEvent]) -> PeriodUsage:
    """Answer a question from the events that were not cancelled."""
    if question.start >= question.end:
        return PeriodUsage(Decimal(0), 0)
    uses = [
        (row.event.timestamp, row.position, row.value)
        for row in kept
        if (row.meter, row.customer) == (question.meter.id, question.customer)
        and set(question.dimensions) <= set(row.event.payload.items())
    ]
    one = question.meter
    asked = SummaryQuery(scope, one, question.customer, question.start, question.end, None)
    [point] = summarize(asked, uses)
    return PeriodUsage(point.value, _counting(one, question, uses))


def _counting(asked: Meter, question: PeriodQuery, uses: Sequence[Use]) -> int:
    if asked.event_time_window is not None:
        size = asked.event_time_window
        newest = {floor_to(use[0], size): use for use in sorted(uses, key=lambda use: use[1])}
        uses = list(newest.values())
    return sum(question.start <= use[0] < question.end for use in uses)


DIMENSIONS = [(), (), (("model", "a"),), (("model", "b"), ("tier", "x")), (("tier", "y"),)]


@st.composite
def instants(draw: st.DrawFn) -> int:
    """Draw an instant: at the edge of a slot or beside it, on three days."""
    slot = draw(st.integers(0, 3 * DAY // (15 * MINUTE)))
    return START + slot * 15 * MINUTE + draw(st.sampled_from([0, 0, -1, 1, MINUTE, 14 * MINUTE]))


@settings(max_examples=25)
@given(st.data())
def test_periods_equal_their_meaning(store: UsageStore, data: st.DataObject) -> None:
    forget_slots(store)
    scope = new_scope()
    rows = [
        accepted(
            scope,
            str(data.draw(values())),
            meter=data.draw(st.sampled_from(sorted(METERS))),
            customer=data.draw(st.sampled_from(CUSTOMERS)),
            timestamp=data.draw(instants()),
            payload={
                "model": data.draw(st.sampled_from("ab")),
                "tier": data.draw(st.sampled_from("xy")),
            },
        )
        for _ in range(data.draw(st.integers(0, 25)))
    ]
    cancelled = data.draw(st.sets(st.sampled_from(range(len(rows))))) if rows else set()
    put(store, scope, rows, [rows[number] for number in cancelled])
    kept = [row for number, row in enumerate(rows) if number not in cancelled]
    ranges = data.draw(st.lists(st.tuples(instants(), instants()), min_size=1, max_size=6))
    asked = [
        PeriodQuery(
            METERS[id_],
            data.draw(st.sampled_from(CUSTOMERS)),
            min(range_),
            max(range_),
            data.draw(st.sampled_from(DIMENSIONS)) if METERS[id_].slotted else (),
        )
        for range_ in ranges
        for id_ in data.draw(st.lists(st.sampled_from(sorted(METERS)), min_size=1, max_size=7))
    ]
    with (
        patch.object(periods, "USAGE_PERIODS_PARTS_MAX", data.draw(st.integers(1, 8))),
        patch.object(periods, "USAGE_PERIODS_ITEMS_MAX", data.draw(st.integers(1, 20))),
    ):
        found = store.periods(scope, asked)
    assert found == [meaning(scope, one, kept) for one in asked]


@pytest.mark.usefixtures("no_slots")
def test_an_event_at_a_range_s_end_belongs_to_the_next(store: UsageStore, scope: Scope) -> None:
    border = START + 7 * MINUTE
    put(
        store,
        scope,
        [
            accepted(scope, value, meter=id_, timestamp=border + shift)
            for id_ in METERS
            for value, shift in (("1", -DAY), ("2", 0))
        ],
    )
    for one in METERS.values():
        before, after = store.periods(
            scope,
            [
                PeriodQuery(one, "cus_1", START - 2 * DAY, border),
                PeriodQuery(one, "cus_1", border, border + 1),
            ],
        )
        assert (before.events, after.events) == (1, 1)
        assert [int(before.usage), int(after.usage)] == (
            [1, 1] if one.formula == "count" else [1, 2]
        )


@pytest.mark.usefixtures("no_slots")
def test_thousands_of_customers_and_every_digit(store: UsageStore, scope: Scope) -> None:
    customers = [f"cus_{number}" for number in range(2_500)]
    exact = "999999999999999", "0.000000000000001", "-0.000000000000003"
    put(
        store,
        scope,
        [
            accepted(scope, value, meter="mtr_plain", customer=customer, timestamp=START)
            for customer in customers[::50]
            for value in exact
        ],
    )
    asked = [PeriodQuery(METERS["mtr_plain"], one, START, START + 31 * DAY) for one in customers]
    found = store.periods(scope, asked)
    some = PeriodUsage(Decimal("999999999999998.999999999999998"), 3)
    assert found[::50] == [some] * 50
    assert sum(one.events for one in found) == 150


@pytest.mark.usefixtures("no_slots")
@pytest.mark.parametrize("text", ["'", "\\", "\\'", "a\tb\nc\rd", "{account:String}", "\0", "é😀"])
def test_any_text_is_only_a_customer(store: UsageStore, scope: Scope, text: str) -> None:
    """Nor does anybody else's usage count, of another customer or in other books."""
    for id_ in METERS:
        rows = [accepted(scope, str(n), meter=id_, customer=c) for n, c in ((1, text), (2, "else"))]
        put(store, scope, rows)
    found = store.periods(
        scope, [PeriodQuery(one, text, at("20 07:01"), at("21")) for one in METERS.values()]
    )
    assert found == [PeriodUsage(Decimal(1), 1)] * len(METERS)
    whose = [PeriodQuery(METERS["mtr_sum"], "else", at("20"), at("21"), (("model", text),))]
    assert store.periods(scope, whose) == [PeriodUsage(Decimal(0), 0)]
    slotless = [one for one in METERS.values() if not one.slotted]
    others = [PeriodQuery(one, text, at("20 07:01"), at("21")) for one in slotless]
    assert store.periods(new_scope(), others) == [PeriodUsage(Decimal(0), 0)] * len(slotless)


@pytest.mark.usefixtures("no_slots")
def test_events_are_asked_only_where_slots_tell_of_some(store: UsageStore, scope: Scope) -> None:
    start, end = START + 7 * MINUTE, START + DAY + 7 * MINUTE
    cancelled = accepted(scope, "2", meter="mtr_sum", timestamp=end - MINUTE)
    used = [
        accepted(scope, "3", meter="mtr_sum", timestamp=START + DAY // 2),
        accepted(scope, "5", meter="mtr_plain", customer="cus_2", timestamp=start),
        accepted(scope, "7", meter="mtr_plain", customer="cus_2", timestamp=start - 1),
    ]
    put(store, scope, [cancelled, *used], [cancelled])
    with patch.object(store, "_read", wraps=store._read) as read:

        def count(customer: str) -> list[PeriodUsage]:
            meters = METERS["mtr_sum"], METERS["mtr_plain"]
            return store.periods(scope, [PeriodQuery(one, customer, start, end) for one in meters])

        assert count("cus_1") == [PeriodUsage(Decimal(3), 1), PeriodUsage(Decimal(0), 0)]
        assert read.call_count == 1
        assert count("cus_2") == [PeriodUsage(Decimal(0), 0), PeriodUsage(Decimal(5), 1)]
        [*_, (sql, values, _)] = (call.args for call in read.call_args_list)
    assert "FROM events" in sql
    assert str(end) not in sql
    assert (values["meters"], values["customers"]) == (["mtr_plain"], ["cus_2"])
