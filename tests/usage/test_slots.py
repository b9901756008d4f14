"""Slots: what a batch's events come to, in the store exactly once."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from meterhouse.metering.coded import joined
from meterhouse.metering.model import Scope
from meterhouse.usage import block
from meterhouse.usage.block import Block
from meterhouse.usage.slots import EVERYBODY, WHOLE
from meterhouse.usage.store import UsageStore
from tests.metering.rows import AcceptedEvent
from tests.metering.samples import MINUTE, at, meter
from tests.usage.samples import (
    accepted,
    event_rows,
    insert,
    next_position,
    next_token,
    slot_blocks,
    stored,
    writer,
)

TIERS = meter(id="mtr_tiers", dimension_keys=("model", "tier"))
MODELS = meter(id="mtr_models", dimension_keys=("model",), dimension_version=3)
LAST = meter(id="mtr_last", formula="last")
DAILY = meter(id="mtr_daily", event_time_window="day")
METERS = {one.id: one for one in (meter(), TIERS, MODELS, LAST, DAILY)}


def packed(
    scope: Scope,
    rows: Sequence[AcceptedEvent],
    cancelled: Sequence[AcceptedEvent] = (),
    *,
    batch: int = 7,
    partition: int = 0,
) -> list[Block]:
    events = joined(
        [
            event_rows(rows, {scope.id: scope}),
            block.cancelled([stored(row, scope) for row in cancelled]),
        ]
    )
    return slot_blocks(events, METERS, batch, partition)


def rows_of(one: Block, kind: str = "each") -> list[dict[str, Any]]:
    """Return the rows of each customer, of all together, or of all without dimensions."""
    kinds: dict[str, list[dict[str, Any]]] = {"each": [], "all": [], "whole": []}
    for row in block.read(one.body).to_pylist():
        together = "whole" if row["version"] == WHOLE else "all"
        kinds[together if row["customer"] == EVERYBODY else "each"].append(row)
    return kinds[kind]


def totals(store: UsageStore) -> tuple[int, int]:
    """Add up the slots of each customer, which come to what those of all do."""
    each, together, whole = store.columns(
        "SELECT sum(events) AS events, sum(value) AS value FROM usage_slots"
        " GROUP BY customer = '', version = 0",
        {},
    ).to_pylist()
    assert each == together == whole
    return each["events"], int(each["value"])


def test_events_of_one_slot_and_one_group_are_one_row(scope: Scope) -> None:
    payload = {"tier": "x", "model": "a", "user": "u"}
    rows = [
        accepted(scope, value, meter="mtr_tiers", timestamp=at("3 10:15") + later, payload=payload)
        for value, later in (("1.5", 0), ("2", 15 * MINUTE - 1))
    ]
    [one] = packed(scope, rows, batch=99, partition=3)
    assert (one.destination, one.partition, one.rows) == ("usage_slots", "202611", 3)
    [row], [everybody], [whole] = rows_of(one), rows_of(one, "all"), rows_of(one, "whole")
    assert everybody == row | {"customer": EVERYBODY}
    assert whole == everybody | {"version": WHOLE, "dimensions": []}
    assert int(row.pop("slot").timestamp() * 1000) == at("3 10:15")
    assert row == {
        "meter": "mtr_tiers",
        "version": 1,
        "customer": "cus_1",
        "dimensions": ["a", "x"],
        "events": 2,
        "value": Decimal("3.5"),
        "batch": 0,
        "batches": [(3, 99)],
    }


def test_what_differs_is_apart(scope: Scope) -> None:
    payload = {"model": "a", "tier": "x"}
    rows = [
        accepted(scope, "1"),
        accepted(scope, "2", customer="cus_2"),
        accepted(scope, "3", timestamp=at("3")),
        accepted(scope, "4", meter="mtr_tiers", payload=payload),
        accepted(scope, "5", meter="mtr_tiers", payload=payload | {"tier": "y"}),
        accepted(scope, "6", meter="mtr_models", payload=payload),
        accepted(scope, "7", meter="mtr_models", payload={}),
    ]
    [one] = packed(scope, rows)
    apart = {str(row["value"].normalize()): row for row in rows_of(one)}
    assert [apart[value]["dimensions"] for value in "1234567"] == [
        *[[]] * 3,
        ["a", "x"],
        ["a", "y"],
        ["a"],
        [""],
    ]
    assert {apart["5"]["version"], apart["6"]["version"]} == {1, 3}


def test_everybody_has_rows_without_customers(scope: Scope) -> None:
    rows = [
        accepted(scope, value, customer=customer, meter="mtr_models", payload={"model": model})
        for value, customer, model in (
            ("1", "cus_1", "a"),
            ("2", "cus_2", "a"),
            ("4", "cus_2", "b"),
            ("8", "cus_3", "b"),
        )
    ]
    [one] = packed(scope, rows, rows[:1])
    found = [(row["dimensions"], row["events"], int(row["value"])) for row in rows_of(one, "all")]
    assert sorted(found) == [(["a"], 1, 2), (["b"], 2, 12)]
    assert len(rows_of(one)) == 4
    [whole] = rows_of(one, "whole")
    assert (whole["meter"], whole["version"], whole["events"], whole["value"]) == (
        "mtr_models",
        WHOLE,
        3,
        14,
    )


def test_each_meter_has_a_whole_of_its_own(scope: Scope) -> None:
    payload = {"model": "a", "tier": "x"}
    rows = [
        accepted(scope, "1"),
        accepted(scope, "2", meter="mtr_tiers", payload=payload),
        accepted(scope, "4", meter="mtr_tiers", payload=payload | {"tier": "y"}),
        accepted(scope, "8", meter="mtr_tiers", payload=payload, timestamp=at("3")),
    ]
    [one] = packed(scope, rows)
    found = [(row["meter"], int(row["value"])) for row in rows_of(one, "whole")]
    assert sorted(found) == [("mtr_1", 1), ("mtr_tiers", 6), ("mtr_tiers", 8)]


def test_cancellations_subtract_in_the_same_block(scope: Scope) -> None:
    before, kept = accepted(scope, "8"), accepted(scope, "3")
    [one] = packed(scope, [kept], [before])
    [row] = rows_of(one)
    assert (row["events"], row["value"]) == (0, -5)


def test_months_are_blocks_of_their_own(scope: Scope) -> None:
    rows = [accepted(scope, timestamp=at("1") - 1), accepted(scope, timestamp=at("1"))]
    made = packed(scope, rows, [accepted(scope, timestamp=at("1") + 1)])
    assert [(one.partition, one.rows) for one in made] == [("202610", 3), ("202611", 3)]


@pytest.mark.parametrize("one", ["mtr_last", "mtr_daily"])
def test_meters_whose_usage_does_not_add_up_have_no_slots(scope: Scope, one: str) -> None:
    assert packed(scope, [accepted(scope, meter=one)]) == []
    [made] = packed(scope, [accepted(scope, meter=one), accepted(scope)])
    assert made.rows == 3


def test_a_block_has_the_columns_of_its_table(store: UsageStore, scope: Scope) -> None:
    [one] = packed(scope, [accepted(scope)])
    rows = writer(store).query("DESCRIBE TABLE usage_slots").result_rows
    assert set(block.read(one.body).schema.names) == {row[0] for row in rows}


@pytest.mark.usefixtures("no_slots")
def test_a_block_inserted_again_is_there_once_also_after_merges(
    store: UsageStore, scope: Scope
) -> None:
    """What was left behind is inserted in order; merges add its rows to those of later batches."""
    rows = [
        accepted(scope, "1", meter="mtr_tiers", payload={"model": "a", "tier": t}) for t in "xy"
    ]
    left = [
        *packed(scope, rows, batch=next_position()),
        *packed(scope, rows[:1], batch=next_position()),
        *packed(scope, [], rows[:1], batch=next_position()),
    ]
    for inserted in range(len(left) + 1):
        for one in left[:inserted]:
            store.insert_again(one.destination, one.body, next_token())
        store.change("OPTIMIZE TABLE usage_slots FINAL", {}, {})
    assert totals(store) == (2, 2)


@pytest.mark.usefixtures("no_slots")
def test_a_block_is_not_taken_for_an_earlier_one(store: UsageStore, scope: Scope) -> None:
    first, second = (packed(scope, [accepted(scope)], batch=next_position()) for _ in range(2))
    insert(store, first)
    for one in (*first, *second):
        store.insert_again(one.destination, one.body, next_token())
    assert totals(store) == (2, 50)


@pytest.mark.usefixtures("no_slots")
def test_a_row_that_came_to_nothing_still_tells_that_it_is_there(
    store: UsageStore, scope: Scope
) -> None:
    """A merge that dropped it would let the blocks be inserted again."""
    row = accepted(scope)
    blocks = [
        *packed(scope, [row], batch=next_position()),
        *packed(scope, [], [row], batch=next_position()),
    ]
    insert(store, blocks)
    store.change("OPTIMIZE TABLE usage_slots FINAL", {}, {})
    for one in blocks:
        store.insert_again(one.destination, one.body, next_token())
    assert totals(store) == (0, 0)


@pytest.mark.usefixtures("no_slots")
def test_partitions_prove_their_own_batches_alone(store: UsageStore, scope: Scope) -> None:
    """Given rows that merges have made of several partitions, then each block is there once.

    Partitions number their batches as they like: a low number may come after a high one.
    """
    batches = [(1, 500), (0, 2), (65_535, 2**63), (0, 3), (1, 501)]
    blocks = [
        one
        for partition, number in batches
        for one in packed(scope, [accepted(scope, "1")], batch=number, partition=partition)
    ]
    for inserted in range(len(blocks) + 1):
        assert [store.holds(one.destination, one.body) for one in blocks] == [
            number < inserted - 1 for number in range(len(blocks))
        ]
        for one in blocks[:inserted]:
            store.insert_again(one.destination, one.body, next_token())
        store.change("OPTIMIZE TABLE usage_slots FINAL", {}, {})
    assert totals(store) == (5, 5)
