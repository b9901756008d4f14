import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meterhouse import limits
from meterhouse.identifiers import filter as filters
from meterhouse.identifiers.filter import Digests, Filter

PART_BYTES = 2**14
SMALLER = limits.FILTER_PART_BYTES // PART_BYTES
PART_DIGESTS = limits.FILTER_PART_DIGESTS_MAX // SMALLER
WRONG_MAX = 1 / 5_000  # twice of what `limits` promises, because chance has a hand in it

random = np.random.default_rng(1)
_BEGINNING = random.bit_generator.state


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make parts small, with as many bits for each digest as ever.

    Every test draws the same digests, whichever ran before it.
    """
    random.bit_generator.state = _BEGINNING
    monkeypatch.setattr(filters, "_WORDS", PART_BYTES // 8)
    monkeypatch.setattr(limits, "FILTER_PART_DIGESTS_MAX", PART_DIGESTS)
    monkeypatch.setattr(limits, "FILTER_PARTS_MAX", 3)


def digests(number: int) -> Digests:
    return random.integers(0, 2**64, number, np.uint64)


def wrong(tested: Filter) -> float:
    """Return how many of the digests that were never added are suspected."""
    return float(tested.suspects(digests(200_000)).mean())


def array(numbers: list[int]) -> Digests:
    return np.array(numbers, np.uint64)


words = st.integers(0, 2**64 - 1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.lists(words, max_size=20), st.integers(0, 9)), max_size=12), words)
def test_what_was_added_is_always_suspected(added: list[tuple[list[int], int]], seed: int) -> None:
    """Whatever else is in the filter, and however its parts were merged."""
    tested = Filter()
    others = np.random.default_rng(seed)
    for numbers, day in added:
        tested.add(array(numbers), day)
        tested.add(others.integers(0, 2**64, PART_DIGESTS // 2, np.uint64), day)
    for numbers, _ in added:
        assert tested.suspects(array(numbers)).all()


def test_an_empty_filter_suspects_nobody() -> None:
    assert not Filter().suspects(digests(1_000)).any()
    assert Filter().suspects(digests(0)).tolist() == []


def test_a_filter_is_prepared_before_digests_come() -> None:
    made = Filter()
    made.prepare()
    [part] = made._parts
    assert not made.suspects(digests(1_000)).any()
    made.add(digests(1), 7)
    made.prepare()
    assert made._parts == [part]


def test_few_suspicions_are_wrong_when_a_part_is_full() -> None:
    tested = Filter()
    tested.add(digests(PART_DIGESTS // 2), 1)
    assert wrong(tested) < WRONG_MAX / 5
    tested.add(digests(PART_DIGESTS // 2), 1)
    assert wrong(tested) < WRONG_MAX


def test_a_full_part_is_followed_by_a_new_one() -> None:
    tested = Filter()
    added = [digests(PART_DIGESTS) for _ in range(3)]
    for some in added:
        tested.add(some, 1)
    assert len(tested._parts) == 3
    assert all(tested.suspects(some).all() for some in added)
    assert wrong(tested) < 3 * WRONG_MAX


def test_too_many_parts_become_fewer_and_forget_nothing() -> None:
    tested = Filter()
    added = [digests(PART_DIGESTS) for _ in range(8)]
    for day, some in enumerate(added):
        tested.add(some, day)
        assert len(tested._parts) <= 3
    assert all(tested.suspects(some).all() for some in added)
    assert tested._parts[0].digests == 6 * PART_DIGESTS


def test_a_part_is_dropped_once_all_of_it_is_over_its_time() -> None:
    tested = Filter()
    old, both, new = (digests(PART_DIGESTS) for _ in range(3))
    tested.add(old, 1)
    tested.add(both[: PART_DIGESTS // 2], 1)
    tested.add(both[PART_DIGESTS // 2 :], 2)
    tested.add(new, 3)
    tested.drop(before=2)
    assert tested.suspects(old).mean() < WRONG_MAX * 5
    assert tested.suspects(both).all()
    tested.drop(before=3)
    assert tested.suspects(both).mean() < WRONG_MAX * 5
    assert tested.suspects(new).all()
    tested.drop(before=4)
    assert not tested.suspects(new).any()
    tested.add(old, 4)
    assert tested.suspects(old).all()


def test_a_merged_part_lives_as_long_as_the_newer_of_the_two(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "FILTER_PARTS_MAX", 1)
    tested = Filter()
    old, new = digests(PART_DIGESTS), digests(PART_DIGESTS)
    tested.add(old, 1)
    tested.add(new, 2)
    tested.drop(before=2)
    assert tested.suspects(old).all()
    tested.drop(before=3)
    assert not tested.suspects(old).any()


def test_a_filter_of_later_days_can_be_appended() -> None:
    """Its parts follow, or become part of the last one where that has room."""
    tested, newer = Filter(), Filter()
    old, new = digests(PART_DIGESTS + PART_DIGESTS // 4), digests(2 * PART_DIGESTS)
    tested.add(old[:PART_DIGESTS], 1)
    tested.add(old[PART_DIGESTS:], 2)
    newer.add(new[: PART_DIGESTS // 2], 3)
    tested.append(newer)
    assert [part.digests for part in tested._parts] == [PART_DIGESTS, 3 * PART_DIGESTS // 4]
    newer = Filter()
    newer.add(new[PART_DIGESTS // 2 :], 4)
    tested.append(newer)
    assert len(tested._parts) == 3
    assert tested.suspects(np.concatenate([old, new])).all()
    tested.drop(before=2)
    assert len(tested._parts) == 2


@pytest.mark.parametrize("partitions", [1, 2, 8, 10, 64])
def test_a_share_of_the_memory_is_as_sharp(
    monkeypatch: pytest.MonkeyPatch, partitions: int
) -> None:
    """Given digests of one partition, which are the same modulo the number of partitions."""
    monkeypatch.setattr(filters, "_WORDS", 64 * PART_BYTES // 8)
    monkeypatch.setattr(limits, "FILTER_PART_DIGESTS_MAX", 64 * PART_DIGESTS)
    tested = Filter(share=partitions)
    mine, others = (
        some[some % np.uint64(partitions) == 1 % partitions]
        for some in (digests(64 * PART_DIGESTS), digests(200_000))
    )
    for start in range(0, len(mine), 1_000):
        tested.add(mine[start : start + 1_000], 1)
    assert tested.suspects(mine).all()
    words = sum(len(part._words) for part in tested._parts)
    assert 64 * PART_BYTES // 8 // partitions / 2 <= words / len(tested._parts)
    assert words <= 3 * 64 * PART_BYTES // 8 // partitions
    assert tested.suspects(others).mean() < len(tested._parts) * WRONG_MAX * 2
