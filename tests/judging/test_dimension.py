from decimal import Decimal
from itertools import count

import pytest

from meterhouse import limits
from meterhouse.judging.dimension import Admission, Combinations
from meterhouse.ledger.tables import dimension_combinations
from meterhouse.metering.model import Meter
from tests.metering.rows import AcceptedEvent, accepted_columns
from tests.metering.samples import event, meter
from tests.pipeline import Pipeline

TIERED = meter(id="mtr_t", dimension_keys=("tier", "place"))
PLAIN = meter(id="mtr_p")
positions = count(1)
METERS = {one.id: one for one in (TIERED, PLAIN)}


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DIMENSION_COMBINATIONS_MAX", 2)


def accepted(
    tier: str, place: str = "x", customer: str = "cus_1", of: Meter = TIERED
) -> AcceptedEvent:
    payload = {"tier": tier, "place": place}
    return AcceptedEvent(next(positions), event(payload=payload), of.id, customer, Decimal(1))


def check(
    pipeline: Pipeline, combinations: Combinations, *events: AcceptedEvent, written: bool = True
) -> tuple[list[str], list[str]]:
    """Admit and write, as a batch does; return the tiers of those kept and of those refused."""
    kept: list[str] = []
    refused: list[str] = []
    with pipeline.stores._ledger.write() as connection:
        admission = Admission(combinations, accepted_columns(events, METERS))
        admission.look_up(connection)
        for number, one in enumerate(events):
            rejected = admission.refuse(number)
            (refused if rejected else kept).append(one.event.payload["tier"])
            if rejected:
                assert rejected.code == "meter_event_dimension_count_too_high"
        if written and not Combinations.write(connection, admission.new):
            connection.rollback()
            return [], ["too many"]
    return kept, refused


def test_known_combinations_go_on_counting_when_a_new_one_is_too_many(pipeline: Pipeline) -> None:
    events = [accepted(tier) for tier in "abcab"]
    assert check(pipeline, Combinations(), *events) == (list("abab"), ["c"])
    assert pipeline.rows(dimension_combinations) == 2


@pytest.fixture
def shared(pipeline: Pipeline) -> Pipeline:
    if not pipeline.stores.shared:
        pytest.skip("one judge has a ledger on SQLite to itself")
    return pipeline


def test_judges_who_do_not_know_of_each_other_admit_no_more_together(shared: Pipeline) -> None:
    one, other = Combinations(), Combinations()
    assert check(shared, one, accepted("a")) == (["a"], [])
    assert check(shared, other, accepted("b")) == (["b"], [])
    assert check(shared, one, accepted("c")) == ([], ["too many"])
    assert shared.rows(dimension_combinations) == 2
    one.clear()  # the batch is judged anew
    assert check(shared, one, accepted("c"), accepted("b")) == (["b"], ["c"])


def test_judges_who_do_not_know_of_each_other_admit_the_same_once(shared: Pipeline) -> None:
    one, other = Combinations(), Combinations()
    for judge in (one, other):
        assert check(shared, judge, accepted("z", customer="cus_2")) == (["z"], [])
    assert check(shared, one, accepted("a"), accepted("z")) == (["a", "z"], [])
    assert check(shared, other, accepted("z"), accepted("a")) == (["z", "a"], [])
    assert shared.rows(dimension_combinations) == 3


def test_what_was_seen_is_remembered_in_the_ledger(pipeline: Pipeline) -> None:
    check(pipeline, Combinations(), accepted("a"), accepted("b"))
    assert check(pipeline, Combinations(), accepted("c"), accepted("b")) == (["b"], ["c"])


def test_each_customer_has_a_number_of_its_own(pipeline: Pipeline) -> None:
    combinations = Combinations()
    check(pipeline, combinations, accepted("a"), accepted("b"))
    others = [accepted(tier, customer="cus_2") for tier in "bcd"]
    assert check(pipeline, combinations, *others) == (["b", "c"], ["d"])


def test_values_are_told_apart_key_by_key(pipeline: Pipeline) -> None:
    events = [accepted("a", "bc"), accepted("ab", "c"), accepted("abc", "")]
    assert check(pipeline, Combinations(), *events) == (["a", "ab"], ["abc"])


def test_a_meter_without_dimensions_has_no_limit(pipeline: Pipeline) -> None:
    events = [accepted(tier, of=PLAIN) for tier in "abcd"]
    assert check(pipeline, Combinations(), *events) == (list("abcd"), [])
    assert pipeline.rows(dimension_combinations) == 0


def test_what_was_not_written_is_forgotten_with_the_cache(pipeline: Pipeline) -> None:
    combinations = Combinations()
    check(pipeline, combinations, accepted("a"), accepted("b"), written=False)
    combinations.clear()
    assert check(pipeline, combinations, accepted("c"), accepted("d")) == (["c", "d"], [])


def test_the_cache_tells_when_it_is_full(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DIMENSION_CACHE_COMBINATIONS_MAX", 3)
    combinations = Combinations()
    for number in range(10):
        check(pipeline, combinations, accepted("a", customer=f"cus_{number}"))
        assert combinations.full == (number % 4 == 3)
        if combinations.full:
            combinations.clear()
    assert check(pipeline, combinations, accepted("a", customer="cus_0")) == (["a"], [])
    assert pipeline.rows(dimension_combinations) == 10
