"""What an alert compares, in which periods, and when it is reached at a pace."""

from decimal import Decimal
from typing import Any

import pytest

from meterhouse.billing.alert import ALWAYS, Alert, Measure, Pace, Recurs
from tests.metering.samples import DAY, at


def alert(*steps: str, **changes: Any) -> Alert:
    return Alert(
        id="alrt_1",
        scope=1,
        title="Much",
        meter="mtr_1",
        steps=tuple(map(Decimal, steps)),
        since=0,
        created=0,
        **changes,
    )


@pytest.mark.parametrize(
    ("budget", "steps", "lines"),
    [
        (None, ["1.5", "3"], ["1.5", "3"]),
        ("200", ["50", "80.5"], ["100", "161"]),
        ("0.000000000000001", ["1"], ["0.000000000000001"]),  # nobody uses less than that
        ("999999999999999.999999999999999", ["100"], ["999999999999999.999999999999999"]),
        ("1", ["33.333333333333333"], ["0.333333333333334"]),
    ],
)
def test_steps_of_a_budget(budget: str | None, steps: list[str], lines: list[str]) -> None:
    one = alert(*steps, budget=None if budget is None else Decimal(budget))
    assert [step.gte for step in one.lines] == list(map(Decimal, lines))


@pytest.mark.parametrize(
    ("steps", "changes", "plain"),
    [
        (["100"], {}, True),
        (["100"], {"customer": "cus_1"}, True),
        (["100.5"], {}, False),
        (["100", "200"], {}, False),
        (["100"], {"recurs": "month"}, False),
        (["100"], {"dimensions": {"a": "b"}}, False),
        (["100"], {"budget": Decimal(7)}, False),
        (["100"], {"hard_limit": True}, False),
    ],
)
def test_what_stripe_could_have_made(
    steps: list[str], changes: dict[str, Any], *, plain: bool
) -> None:
    assert alert(*steps, **changes).plain == plain


@pytest.mark.parametrize(
    ("recurs", "instant", "start", "end"),
    [
        ("day", "20 12:00", "20", "21"),
        ("week", "20 12:00", "16", "23"),  # a Friday
        ("week", "23", "23", "30"),  # a Monday
        ("month", "20 12:00", "1", "31"),  # which is the first of December
    ],
)
def test_periods_are_those_of_utc(recurs: Recurs, instant: str, start: str, end: str) -> None:
    found = Measure("mtr_1", recurs).period_at(at(instant))
    assert found == (at(start), at("30") + DAY if end == "31" else at(end))


def test_periods_from_one_instant_to_another() -> None:
    measure = Measure("mtr_1", "day")
    found = measure.periods(at("20 12:00"), at("22"))
    assert [one.start for one in found] == [at("20"), at("21"), at("22")]
    assert measure.periods(at("20"), at("20")) == [measure.period_at(at("20"))]
    assert Measure("mtr_1", "one_time").periods(0, at("22")) == [ALWAYS]


@pytest.mark.parametrize(
    ("used", "total", "gte", "reached"),
    [
        ("10", "10", "30", 1_000 + 200),
        ("10", "30", "30", 1_000),
        ("10", "31", "30", 1_000),
        ("3", "0", "1", 1_000 + 34),  # the first whole millisecond
        ("0", "10", "30", None),
        ("-1", "10", "30", None),
    ],
)
def test_when_a_pace_reaches_a_step(used: str, total: str, gte: str, reached: int | None) -> None:
    pace = Pace(Decimal(used), 100)
    assert pace.reaches(Decimal(total), Decimal(gte), 1_000) == reached
