"""Meter usage from the store against a naive model: lists, loops and the clocks of all zones."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse import zones
from meterhouse.metering.aggregation import SUM
from meterhouse.metering.meter_usage import Filter, MeterQuestion, MeterUsageQuery, UsageRow
from meterhouse.metering.model import Scope
from meterhouse.usage import block
from meterhouse.usage.store import UsageStore
from tests.metering.oracle import Oracle, OracleEvent, OracleMeter
from tests.metering.rows import AcceptedEvent
from tests.metering.samples import DAY, HOUR, MINUTE, at, meter, values
from tests.usage.samples import (
    accepted,
    event_rows,
    forget_slots,
    insert,
    new_scope,
    next_position,
    slot_blocks,
    stored,
    writer,
)

METERS = {
    one.id: one
    for one in (
        meter(id="mtr_sum", dimension_keys=("model", "tier")),
        meter(id="mtr_count", formula="count", dimension_keys=("tier",)),
        meter(id="mtr_plain"),
        meter(id="mtr_last", formula="last", dimension_keys=("model",)),
        meter(id="mtr_hour", event_time_window="hour"),
        meter(id="mtr_day", formula="count", event_time_window="day", dimension_keys=("model",)),
    )
}
VALUES = {"model": ["a", "b", ""], "tier": ["x", "y"], "user": ["u", "v", "w", ""]}
WINDOWS = [None, "hour", "day", "week", "month"]
# Beside any day of 2026: those on which clocks jump in New York, Berlin and on Lord Howe Island.
DAYS = st.sampled_from(["03-08", "03-29", "04-05", "10-04", "10-25", "11-01"]) | st.dates(
    date(2026, 1, 1), date(2026, 12, 31)
).map(lambda day: f"{day:%m-%d}")


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


def ask(store: UsageStore, scope: Scope, *questions: MeterQuestion, **how: Any) -> list[UsageRow]:
    return store.meter_usage(
        MeterUsageQuery(scope=scope, customer="cus_1", questions=questions, **how)
    )


@st.composite
def histories(draw: st.DrawFn, scope: Scope) -> tuple[int, list[AcceptedEvent], set[int]]:
    """Draw a day's start, events of some days from then on, and which of them are cancelled."""
    start = int(datetime.fromisoformat(f"2026-{draw(DAYS)}T00:00Z").timestamp()) * 1_000
    count = draw(st.integers(0, 25))
    rows = [
        accepted(
            scope,
            str(draw(values())),
            meter=draw(st.sampled_from(sorted(METERS))),
            customer=draw(st.sampled_from(["cus_1", "cus_1", "cus_2"])),
            timestamp=start
            + draw(st.integers(-DAY // MINUTE, 2 * DAY // MINUTE)) * MINUTE
            + draw(st.sampled_from([0, 0, 1, 59_999])),
            payload={key: draw(st.sampled_from(some)) for key, some in VALUES.items()},
        )
        for _ in range(count)
    ]
    return start, rows, draw(st.sets(st.integers(0, count - 1))) if rows else set()


def oracle_of(rows: Sequence[AcceptedEvent], cancelled: set[int]) -> Oracle:
    known = Oracle()
    for one in METERS.values():
        known.meters[one.id] = OracleMeter(
            one.id, one.event_name, one.formula, one.event_time_window
        )
    for number, row in enumerate(rows):
        known.events.append(
            OracleEvent(
                known.meters[row.meter],
                str(number),
                row.event.payload | {"stripe_customer_id": row.customer},
                row.event.timestamp,
                row.position,
                "accepted",
                row.value,
                number in cancelled,
            )
        )
    return known


@st.composite
def questions(draw: st.DrawFn) -> MeterQuestion:
    asked = draw(st.sampled_from(sorted(METERS)))
    dimensions = METERS[asked].dimension_keys or ()

    def filtered(keys: Sequence[str]) -> tuple[Filter, ...]:
        chosen = draw(st.lists(st.sampled_from(keys), max_size=2, unique=True)) if keys else []
        some = {key: st.lists(st.sampled_from(VALUES[key]), min_size=1) for key in chosen}
        return tuple(Filter(key, tuple(draw(some[key]))) for key in chosen)

    return MeterQuestion(
        METERS[asked],
        tuple(draw(st.lists(st.sampled_from(dimensions), unique=True))) if dimensions else (),
        filtered(dimensions),
        tuple(draw(st.lists(st.sampled_from(["user", "tier"]), max_size=2, unique=True))),
        filtered(["user"]),
    )


@settings(max_examples=40)
@given(st.data())
def test_usage_equals_the_naive_model(store: UsageStore, data: st.DataObject) -> None:
    forget_slots(store)
    scope = new_scope()
    day, rows, cancelled = data.draw(histories(scope))
    put(store, scope, rows, [rows[number] for number in cancelled])
    known = oracle_of(rows, cancelled)
    for _ in range(4):
        start = day + data.draw(st.integers(-2 * DAY // MINUTE, DAY // MINUTE)) * MINUTE
        end = start + data.draw(st.integers(0, 3 * DAY // MINUTE)) * MINUTE
        how: dict[str, Any] = {
            "start": start,
            "end": end,
            "window": data.draw(st.sampled_from(WINDOWS)),
            "zone": data.draw(st.sampled_from(sorted(zones.names()))),
        }
        asked = data.draw(st.lists(questions(), min_size=1, max_size=4))
        exact = data.draw(st.booleans())
        found = ask(store, scope, *asked, exact=exact, **how)
        for number, one in enumerate(asked):
            expected = known.usage(
                one.meter.id,
                "cus_1",
                keys=one.groups,
                filters=tuple((part.key, part.values) for part in one.filters),
                grain=1 if exact else 15 * MINUTE,
                **how,
            )
            assert [
                (row.start, row.end, (*row.dimensions.values(), *row.tenants.values()), row.value)
                for row in found
                if row.question == number
            ] == expected


@settings(max_examples=6)
@given(st.data())
def test_all_meters_together_are_the_sum_of_each(store: UsageStore, data: st.DataObject) -> None:
    forget_slots(store)
    scope = new_scope()
    day, rows, cancelled = data.draw(histories(scope))
    put(store, scope, rows, [rows[number] for number in cancelled])
    each = [MeterQuestion(one) for one in METERS.values()]
    for window in WINDOWS:
        how = {"start": day - HOUR, "end": day + DAY, "window": window, "zone": "Asia/Kathmandu"}
        sums: dict[int, Decimal] = {}
        for row in ask(store, scope, *each, **how):
            sums[row.start] = SUM.combine(sums.get(row.start, SUM.empty), row.value)
        together = ask(store, scope, *each, together=True, **how)
        assert [(row.question, row.start, row.value) for row in together] == [
            (None, start, value) for start, value in sorted(sums.items())
        ]


@pytest.mark.usefixtures("no_slots")
def test_rows_are_in_the_order_of_windows_then_questions_then_groups(
    store: UsageStore, scope: Scope
) -> None:
    rows = [
        accepted(scope, "1", meter=one, timestamp=at(day), payload={"model": model, "tier": "x"})
        for day in ("4", "3")
        for one in ("mtr_plain", "mtr_sum")
        for model in "ba"
    ]
    put(store, scope, rows)
    asked = (
        MeterQuestion(METERS["mtr_sum"], ("model",)),
        MeterQuestion(METERS["mtr_plain"]),
    )
    found = ask(store, scope, *asked, start=at("1"), end=at("9"), window="day")
    assert [(row.start, row.question, row.dimensions) for row in found] == [
        (at(day), *row)
        for day in ("3", "4")
        for row in ((0, {"model": "a"}), (0, {"model": "b"}), (1, {}))
    ]


@pytest.mark.usefixtures("no_slots")
@pytest.mark.parametrize("text", ["'", "\\", "a\tb\n", "{x:String}", "']", "é😀", "\0", "NULL"])
def test_any_text_is_only_a_value(store: UsageStore, scope: Scope, text: str) -> None:
    rows = [
        accepted(scope, "1", meter="mtr_sum", payload={"model": text, "tier": "x", text: "t"}),
        accepted(scope, "2", meter="mtr_sum", payload={"model": "else", "tier": "x"}),
    ]
    put(store, scope, rows)
    for one in (
        MeterQuestion(METERS["mtr_sum"], ("model",), (Filter("model", (text,)),)),
        MeterQuestion(METERS["mtr_sum"], ("model",), (), (), (Filter(text, ("t",)),)),
    ):
        [row] = ask(store, scope, one, start=at("20"), end=at("21"))
        assert (row.dimensions, int(row.value)) == ({"model": text}, 1)


@pytest.mark.usefixtures("no_slots")
def test_a_filter_that_excludes(store: UsageStore, scope: Scope) -> None:
    rows = [
        accepted(scope, value, meter="mtr_sum", payload={"model": "a", "tier": "x"} | user)
        for value, user in (("1", {"user": "u"}), ("2", {"user": "v"}), ("4", {}))
    ]
    put(store, scope, rows)
    one = MeterQuestion(METERS["mtr_sum"], tenant_filters=(Filter("user", ("u",), True),))
    [row] = ask(store, scope, one, start=at("20"), end=at("21"))
    assert row.value == 6


@pytest.mark.usefixtures("no_slots")
def test_a_sum_keeps_every_digit(store: UsageStore, scope: Scope) -> None:
    texts = ["999999999999999", "0.000000000000001", "-0.000000000000003"]
    for text in texts:
        put(store, scope, [accepted(scope, text, meter="mtr_plain")])
    writer(store).command("OPTIMIZE TABLE usage_slots FINAL")
    [row] = ask(store, scope, MeterQuestion(METERS["mtr_plain"]), start=at("20"), end=at("21"))
    assert row.value == Decimal("999999999999998.999999999999998")


@pytest.mark.usefixtures("no_slots")
def test_a_range_without_a_slot(store: UsageStore, scope: Scope) -> None:
    put(store, scope, [accepted(scope, meter="mtr_plain")])
    moment = at("20 12:01")
    one = MeterQuestion(METERS["mtr_plain"])
    [row] = ask(store, scope, one, start=moment, end=moment + 9 * MINUTE)
    assert row == UsageRow(0, moment, moment + 9 * MINUTE, Decimal(0), {}, {})
    assert ask(store, scope, one, start=moment, end=moment, window="day") == []


@pytest.mark.usefixtures("no_slots")
def test_versions_of_dimensions_are_apart(store: UsageStore, scope: Scope) -> None:
    put(store, scope, [accepted(scope, meter="mtr_sum", payload={"model": "a", "tier": "x"})])
    later = msgspec.structs.replace(METERS["mtr_sum"], dimension_version=2)
    [row] = ask(store, scope, MeterQuestion(later), start=at("20"), end=at("21"))
    assert row.value == 0


@pytest.mark.usefixtures("no_slots")
def test_slots_reach_to_the_last_second_that_a_request_can_name(
    store: UsageStore, scope: Scope
) -> None:
    put(store, scope, [accepted(scope, meter="mtr_plain")])
    end = int(datetime(2299, 12, 31, tzinfo=UTC).timestamp()) * 1_000
    [row] = ask(store, scope, MeterQuestion(METERS["mtr_plain"]), start=0, end=end, window="month")
    assert row.value == 25
