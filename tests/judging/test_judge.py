"""The two rounds of a batch; what becomes of each event is tested in `test_process`."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from meterhouse import limits
from meterhouse.billing.alert import Alert
from meterhouse.engine.service import EngineService
from meterhouse.errors import StoreError
from meterhouse.identifiers.index import day_of
from meterhouse.judging.judge import Judge, UnderWay, Verdict
from meterhouse.ledger import alerts, partitions, timekeeping
from meterhouse.ledger.blocks import Block, batch_of
from meterhouse.ledger.tables import dimension_combinations
from meterhouse.ledger.tallies import Line
from meterhouse.metering.identifier import identifier_digest
from meterhouse.metering.model import MeterEvent
from meterhouse.processing import process
from meterhouse.usage import block
from tests.metering.samples import DAY, NOW
from tests.pipeline import DAYS, Pipeline, create_meter, submission, write_journal

TODAY = day_of(NOW)


def streamed(identifier: str, value: str = "1", day: int = TODAY) -> MeterEvent:
    received_at = NOW + (day - TODAY) * DAY
    return submission(identifier, value, timestamp=received_at, received_at=received_at).event


def alone(identifier: str, value: str = "1") -> MeterEvent:
    return submission(identifier, value, meter="mtr_1").event


def digests(*identifiers: str) -> list[bytes]:
    return [identifier_digest(1, identifier) for identifier in identifiers]


@pytest.fixture
def judge(pipeline: Pipeline) -> Judge:
    return Judge(pipeline.stores._ledger, pipeline.engine._usage, DAYS)


def create_tiers(pipeline: Pipeline) -> None:
    """Make the meter `tiers`, whose only dimension is the value."""
    with pipeline.stores._ledger.write() as connection:
        create_meter(
            connection, pipeline.scope, id="mtr_t", event_name="tiers", dimension_keys=("value",)
        )


def destinations(made: Sequence[Block]) -> list[tuple[str, int]]:
    return [(one.destination, one.rows) for one in made]


def test_an_empty_journal_is_no_batch(judge: Judge) -> None:
    assert judge.judge(anew=False) is None
    with pytest.raises(StoreError, match="judged anew"):
        judge.conclude({})


def test_the_first_round_asks_about_the_events_of_streams_that_would_count(
    pipeline: Pipeline, judge: Judge
) -> None:
    write_journal(
        pipeline, streamed("a"), alone("b"), streamed("c", "many"), streamed("d"), streamed("a")
    )
    assert judge.judge(anew=False) == digests("a", "d", "a")


def test_the_second_round_concludes_with_the_answer(pipeline: Pipeline, judge: Judge) -> None:
    write_journal(
        pipeline, streamed("a"), streamed("b"), alone("c"), alone("d", "many"), streamed("b")
    )
    judge.judge(anew=False)
    [a, b, c, d] = digests(*"abcd")
    verdict = judge.conclude({a: TODAY - DAYS})
    assert verdict.last == 5
    assert verdict.counts == {
        Line(1, "accepted"): 2,
        Line(1, "duplicate"): 2,
        Line(1, "rejected", "meter_event_invalid_value"): 1,
    }
    assert verdict.new_claims == {TODAY: [b]}
    assert verdict.claims == {TODAY: [b, c, d]}
    stored = {one.destination: one for one in verdict.blocks}
    assert {name: stored[name].rows for name in ("events", "identifiers", "rejected_events")} == {
        "events": 2,
        "identifiers": 3,
        "rejected_events": 1,
    }
    claims = block.claims(stored["identifiers"].body)
    assert claims == ([b, c, d], [2, 3, 4], [TODAY] * 3)


def test_a_claim_that_is_over_stands_against_nobody(pipeline: Pipeline, judge: Judge) -> None:
    write_journal(pipeline, streamed("a"))
    judge.judge(anew=False)
    [a] = digests("a")
    assert judge.conclude({a: TODAY - DAYS - 1}).new_claims == {TODAY: [a]}


@pytest.mark.parametrize(
    ("reached", "counts"), [(None, 1), (TODAY + 180, 1), (TODAY + 1, 1), (TODAY, 0), (TODAY - 9, 0)]
)
def test_a_claim_is_over_when_time_has_reached_its_end(
    pipeline: Pipeline, judge: Judge, reached: int | None, counts: int
) -> None:
    """Given an event that a clock far ahead has received, then its day alone frees nothing."""
    write_journal(pipeline, streamed("a", day=TODAY + 180))
    if reached is not None:
        with pipeline.stores._ledger.write() as connection:
            timekeeping.settle(connection, reached * DAY, pipeline.clock.uptime())
    (digest,) = judge.judge() or []
    verdict = judge.conclude({digest: TODAY - DAYS})
    assert verdict.counts.get(Line(1, "accepted"), 0) == counts


def test_claims_of_several_days_are_blocks_of_their_own(pipeline: Pipeline, judge: Judge) -> None:
    write_journal(pipeline, streamed("a", day=TODAY - 1), streamed("b"))
    judge.judge(anew=False)
    verdict = judge.conclude({})
    [a, b] = digests("a", "b")
    assert verdict.new_claims == verdict.claims == {TODAY - 1: [a], TODAY: [b]}
    made = [one for one in verdict.blocks if one.destination == "identifiers"]
    assert [block.claims(one.body).days for one in made] == [[TODAY - 1], [TODAY]]
    assert len({one.token for one in verdict.blocks}) == len(verdict.blocks)


def test_a_batch_is_concluded_once(pipeline: Pipeline, judge: Judge) -> None:
    write_journal(pipeline, streamed("a"))
    judge.judge(anew=False)
    judge.conclude({})
    with pytest.raises(StoreError, match="judged anew"):
        judge.conclude({})


def test_judging_again_says_the_same_under_another_token(pipeline: Pipeline, judge: Judge) -> None:
    """What a crash left of the first blocks must not be mistaken for the second ones."""
    write_journal(pipeline, streamed("a"), alone("b"))
    verdicts = []
    for anew in (False, False, True):
        assert judge.judge(anew=anew) == digests("a")
        verdicts.append(judge.conclude({}))
    first, *others = verdicts
    for other in others:
        assert other.counts == first.counts
        assert other.claims == first.claims
        assert [one.body for one in other.blocks] == [one.body for one in first.blocks]
        assert not {one.token for one in other.blocks} & {one.token for one in first.blocks}


def test_a_batch_tells_what_was_used_that_an_alert_watches(
    pipeline: Pipeline, judge: Judge
) -> None:
    def concluded(value: str) -> Verdict:
        write_journal(pipeline, streamed(value, value))
        judge.judge(anew=False)
        return judge.conclude({})

    assert concluded("1").touches is None
    with pipeline.stores._ledger.write() as connection:
        alerts.create_alert(connection, alert(pipeline, customer="cus_other"))
    assert concluded("2").touches is None
    with pipeline.stores._ledger.write() as connection:
        alerts.create_alert(connection, alert(pipeline, id="alrt_2"))
    verdict = concluded("4")
    assert verdict.touches is not None
    [row] = block.read(verdict.touches.body).to_pylist()
    assert (row["meter"], row["customer"], row["used"], row["events"]) == ("mtr_1", "cus_1", 7, 3)
    assert {batch_of(one.token) for one in verdict.blocks} == {verdict.touches.batch}
    with pipeline.stores._ledger.write() as connection:
        inactive = alert(pipeline, id="alrt_2", status="inactive")
        alerts.update_alert(connection, inactive)
    assert concluded("8").touches is None


def alert(pipeline: Pipeline, **changes: Any) -> Alert:
    one = Alert(
        id="alrt_1",
        scope=pipeline.scope.id,
        title="Much",
        meter="mtr_1",
        steps=(Decimal(10),),
        since=0,
        created=NOW,
    )
    return msgspec.structs.replace(one, **changes)


def test_combinations_of_a_batch_that_was_not_committed_are_found_anew(
    pipeline: Pipeline, judge: Judge
) -> None:
    create_tiers(pipeline)
    write_journal(pipeline, submission("a", "7", event_name="tiers").event)
    for anew in (False, True):
        judge.judge(anew=anew)
        verdict = judge.conclude({})
        assert len(verdict.combinations) == 1
    asyncio.run(pipeline.stores.write(process._commit, verdict, [], pipeline.identifiers))
    assert pipeline.rows(dimension_combinations) == 1


def test_combinations_that_are_being_committed_stay_in_a_full_cache(
    pipeline: Pipeline, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger cannot tell yet what the batch before has added."""
    monkeypatch.setattr(limits, "DIMENSION_CACHE_COMBINATIONS_MAX", 0)
    create_tiers(pipeline)
    write_journal(pipeline, submission("a", "7", event_name="tiers").event)
    judge.judge()
    first = judge.conclude({})
    write_journal(pipeline, submission("b", "7", event_name="tiers").event)
    judge.judge([0], first.under_way)
    second = judge.conclude({})
    assert (len(first.combinations), len(second.combinations)) == (1, 0)
    assert second.last > first.last
    judge.judge()
    assert len(judge.conclude({}).combinations) == 1


def test_a_workshop_judges_and_answers_questions(pipeline: Pipeline) -> None:
    engine = EngineService(pipeline.stores._ledger, pipeline.engine._usage, DAYS)
    write_journal(pipeline, streamed("a"))
    assert engine.judge([0]) == digests("a")
    verdict = engine.conclude({})
    assert {("events", 1), ("identifiers", 1)} <= set(destinations(verdict.blocks))
    for one in verdict.blocks:
        engine.usage(type(pipeline.engine._usage).insert, one.destination, one.body, one.token)
    assert pipeline.stored() == pipeline.claims() == 1


@pytest.mark.parametrize("together", [1, 2, 15])
def test_it_does_not_matter_how_many_events_came_together(
    pipeline: Pipeline, judge: Judge, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    """Given duplicates, one combination too many, and events alone, in rows of so many events."""
    monkeypatch.setattr(limits, "DIMENSION_COMBINATIONS_MAX", 2)
    create_tiers(pipeline)
    tiers = [
        submission(f"t{number}", tier, event_name="tiers").event
        for number, tier in enumerate("12321")
    ]
    sent = [*tiers, *map(streamed, "abcab"), streamed("d", "many"), alone("e"), alone("f", "many")]
    sent += [streamed("g", day=TODAY - 1), streamed("a", day=TODAY - 40)]
    for number in range(0, len(sent), together):
        write_journal(pipeline, *sent[number : number + together])
    assert len(judge.judge(anew=True) or []) == 12
    verdict = judge.conclude({})
    assert verdict.counts == {
        Line(1, "accepted"): 9,
        Line(1, "duplicate"): 3,
        Line(1, "rejected", "meter_event_dimension_count_too_high"): 1,
        Line(1, "rejected", "meter_event_invalid_value"): 2,
    }
    stored: dict[str, dict[int, str]] = {}  # by the positions
    for one in verdict.blocks:
        if one.destination in ("events", "duplicate_events", "rejected_events"):
            rows = block.read(one.body).to_pylist()
            found = stored.setdefault(one.destination, {})
            found |= {row["position"]: row["identifier"] for row in rows}
    places = sorted(position for found in stored.values() for position in found)
    assert {
        name: {places.index(position) + 1: one for position, one in found.items()}
        for name, found in stored.items()
    } == {
        "events": {1: "t0", 2: "t1", 4: "t3", 5: "t4", 6: "a", 7: "b", 8: "c", 12: "e", 14: "g"},
        "duplicate_events": {9: "a", 10: "b", 15: "a"},
        "rejected_events": {3: "t2", 11: "d", 13: "f"},
    }


@pytest.mark.parametrize(
    ("partition", "batches"),
    [(0, [(0, 5, []), (0, 6, [])]), (3, [(3, 0, [(3, 5)]), (3, 0, [(3, 6)])])],
)
def test_slots_tell_the_batch_of_their_partition(
    pipeline: Pipeline, partition: int, batches: list[tuple[int, int, list[tuple[int, int]]]]
) -> None:
    ledger = pipeline.stores._ledger
    with ledger.write() as connection:
        partitions.provision(connection, 4)
        partitions.number_after(connection, {partition: 4})
    judge = Judge(ledger, pipeline.engine._usage, DAYS)
    told = []
    under_way = UnderWay({}, [])
    for identifier in "ab":
        write_journal(pipeline, streamed(identifier), partition=partition)
        judge.judge([partition], under_way)
        verdict = judge.conclude({})
        under_way = verdict.under_way
        [slots] = [one for one in verdict.blocks if one.destination == "usage_slots"]
        [row, *_] = block.read(slots.body).to_pylist()
        told.append((slots.partition, row["batch"], row["batches"]))
    assert told == batches


def test_partitions_are_judged_together(pipeline: Pipeline, judge: Judge) -> None:
    """They are one batch, with a number in each that has something, and kept under the first."""
    with pipeline.stores._ledger.write() as connection:
        partitions.provision(connection, 5)
        partitions.number_after(connection, {1: 4, 4: 6})
    for number, names in ((4, "ab"), (0, "c"), (2, "d")):
        write_journal(pipeline, *map(streamed, names), partition=number)
    assert judge.judge([1, 2, 3, 4]) == digests("a", "b", "d")
    verdict = judge.conclude({})
    assert verdict.under == 1
    assert verdict.batches == {1: 5, 2: 1, 4: 7}
    assert verdict.events == {1: 0, 2: 1, 4: 2}
    assert verdict.as_of > 0
    assert destinations(verdict.blocks) == [("events", 3), ("usage_slots", 3), ("identifiers", 3)]
    assert {one.partition for one in verdict.blocks} == {1}
    slots = block.read(verdict.blocks[1].body).to_pylist()
    assert [row["batches"] for row in slots] == [[(1, 5)]] * 3
    assert judge.judge([1, 2, 3, 4], verdict.under_way) is None
