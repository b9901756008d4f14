"""From which rows a question is answered. What the answers must be: `tests.usage`."""

from decimal import Decimal
from typing import Any

import pytest

from meterhouse.metering.meter_usage import (
    Condition,
    Filter,
    Found,
    MeterQuestion,
    MeterUsageQuery,
    answer,
    plan,
    windows_of,
)
from meterhouse.metering.model import Meter
from tests.metering.samples import MINUTE, SCOPE, at, meter

MODELS = meter(dimension_keys=("model", "tier"), dimension_version=4)
USERS = (Filter("user", ("u",)),)


def query(*questions: MeterQuestion, **how: Any) -> MeterUsageQuery:
    bounds = {"start": at("3"), "end": at("5")}
    return MeterUsageQuery(scope=SCOPE, customer="cus_1", questions=questions, **(bounds | how))


def planned(asked: MeterUsageQuery) -> Any:
    return plan(asked, windows_of(asked))


@pytest.mark.parametrize(
    ("one", "how", "slotted"),
    [
        (MeterQuestion(MODELS), {}, True),
        (MeterQuestion(meter(formula="count")), {}, True),
        (MeterQuestion(MODELS, ("tier",), (Filter("model", ("a",)),)), {}, True),
        (MeterQuestion(MODELS, tenant_filters=USERS), {}, False),
        (MeterQuestion(MODELS, tenant_group_by_keys=("tier",)), {}, False),
        (MeterQuestion(MODELS), {"exact": True}, False),
        (MeterQuestion(meter(formula="last")), {}, False),
        (MeterQuestion(meter(event_time_window="hour")), {}, False),
    ],
)
def test_slots_answer_what_they_know(
    one: MeterQuestion, how: dict[str, bool], slotted: bool
) -> None:
    [selection] = planned(query(one, **how)).selections
    assert selection.slotted is slotted


def test_keys_are_named_by_their_places() -> None:
    slots = MeterQuestion(MODELS, ("tier",), (Filter("model", ("a", "b")),))
    events = MeterQuestion(MODELS, ("tier",), (), ("user",), USERS)
    first, second = planned(query(slots, events)).selections
    assert (first.keys, first.version, first.groups) == (("model", "tier"), 4, (1,))
    assert first.conditions == (Condition(0, ("a", "b"), False),)
    assert (second.keys, second.groups) == (("tier", "user"), (0, 1))
    assert second.conditions == (Condition(1, ("u",), False),)


def test_bounds_move_to_the_slots_that_are_in_them() -> None:
    asked = query(MeterQuestion(MODELS), start=at("3") + MINUTE, end=at("4") + MINUTE)
    made = planned(asked)
    assert (made.start, made.end) == (at("3 00:15"), at("4 00:15"))
    narrow = query(MeterQuestion(MODELS), start=at("3") + MINUTE, end=at("3") + 2 * MINUTE)
    assert planned(narrow).stretches == ()


def test_all_that_is_alike_is_asked_for_at_once() -> None:
    made = [meter(id=f"mtr_{number}") for number in range(3)]
    others: list[Meter] = [
        meter(id="mtr_count", formula="count"),
        meter(id="mtr_new", dimension_version=2),
        meter(id="mtr_last", formula="last"),
    ]
    asked = query(*(MeterQuestion(one) for one in (*made, *others)), together=True)
    assert [one.meters for one in planned(asked).selections] == [
        ("mtr_0", "mtr_1", "mtr_2"),
        ("mtr_count",),
        ("mtr_new",),
        ("mtr_last",),
    ]


def test_what_is_alike_and_not_together_is_told_apart_by_meter() -> None:
    one, two, last = meter(id="mtr_1"), meter(id="mtr_2"), meter(id="mtr_3", formula="last")
    asked = query(*(MeterQuestion(each) for each in (one, last, two, one)), window="day")
    first, second = planned(asked).selections
    assert (first.meters, first.questions) == (("mtr_1", "mtr_2", "mtr_1"), (0, 2, 3))
    assert (first.by_meter, second.by_meter) == (True, False)
    found = [[Found(0, ("mtr_2",), Decimal(2)), Found(0, ("mtr_1",), Decimal(1))], []]
    rows = answer(asked, windows_of(asked), found)
    assert [(row.question, int(row.value)) for row in rows] == [(0, 1), (2, 2), (3, 1)]


def test_what_was_found_of_all_meters_is_added_up() -> None:
    asked = query(*[MeterQuestion(MODELS)] * 2, window="day", together=True)
    found = [[Found(1, (), Decimal("0.1"))], [Found(0, (), Decimal(1)), Found(1, (), Decimal(2))]]
    rows = answer(asked, windows_of(asked), found)
    assert [(row.question, row.start, row.value) for row in rows] == [
        (None, at("3"), 1),
        (None, at("4"), Decimal("2.1")),
    ]


def test_nothing_is_0_where_nothing_cuts_it() -> None:
    whole, grouped = MeterQuestion(MODELS), MeterQuestion(MODELS, ("tier",))
    asked = query(whole, grouped)
    [row] = answer(asked, windows_of(asked), [[], []])
    assert (row.question, int(row.value)) == (0, 0)
    days = query(whole, window="day")
    assert answer(days, windows_of(days), [[]]) == []
