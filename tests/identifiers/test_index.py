import asyncio
from collections.abc import Awaitable, Callable, Collection

import pytest

from meterhouse.clock import ManualClock
from meterhouse.identifiers.filter import Filter
from meterhouse.identifiers.index import Claimed, Identifiers, day_of
from meterhouse.identifiers.load import Loader
from meterhouse.ledger import blocks
from meterhouse.ledger.blocks import Block
from meterhouse.metering.identifier import Claim, Claims, identifier_digest, partition_of
from meterhouse.metrics import Metrics
from meterhouse.stores import Stores
from meterhouse.usage import block
from meterhouse.usage.store import UsageStore
from tests.metering.samples import DAY, NOW, event
from tests.pipeline import DAYS, Pipeline, new_identifiers, put_claims, write_journal

TODAY = day_of(NOW)
OVER = TODAY - DAYS - 1  # the last day whose claims are over


def digest(name: str) -> bytes:
    return identifier_digest(1, name)


A, B, C = map(digest, "abc")


def write_block(pipeline: Pipeline, day: int, *digests: bytes) -> None:
    [made] = block.identifiers(Claims(list(digests), [1] * len(digests), [day] * len(digests)))
    with pipeline.stores._ledger.write() as connection:
        kept = Block(f"{day}", made.destination, made.rows, made.body)
        blocks.put(connection, [kept])


def loaded(pipeline: Pipeline, now: int = NOW) -> Identifiers:
    """Return what a process knows some time after its start."""
    identifiers = Identifiers(DAYS)

    async def body() -> None:
        await identifiers.recover(pipeline.stores)
        await Loader(pipeline.stores, identifiers, ManualClock(now), Metrics()).load()

    asyncio.run(body())
    return identifiers


def found(pipeline: Pipeline, identifiers: Identifiers, *digests: bytes) -> dict[bytes, int]:
    return asyncio.run(identifiers.find(pipeline.stores, digests))


def pending(identifiers: Identifiers, digests: Collection[bytes] = (A, B, C)) -> set[bytes]:
    """Return which of these digests have a claim that is known without a question."""
    return identifiers.taken(digests, 0)


# ---- Claims, pending and stored ----


def test_nothing_is_taken_at_first() -> None:
    identifiers = new_identifiers()
    assert identifiers.suspects([A, B]) == identifiers.suspects([]) == []
    assert pending(identifiers) == set()


def test_a_claim_is_pending_until_it_is_stored() -> None:
    identifiers = new_identifiers()
    identifiers.claim({TODAY: [A, B]})
    assert identifiers.suspects([A, B, C]) == []
    assert pending(identifiers) == {A, B}
    identifiers.stored({TODAY: [A]})
    assert identifiers.suspects([A, B, C]) == [A]
    assert pending(identifiers) == {B}


def test_noting_nothing_changes_nothing() -> None:
    identifiers = new_identifiers()
    empty: list[Claimed] = [{}, {TODAY: []}]
    for nothing in empty:
        identifiers.claim(nothing)
        identifiers.stored(nothing)
    assert identifiers.suspects([A]) == []


def test_an_older_claim_that_is_stored_leaves_a_newer_one_pending() -> None:
    identifiers = new_identifiers()
    identifiers.claim({OVER: [A]})
    identifiers.claim({TODAY: [A]})
    identifiers.stored({OVER: [A]})
    assert identifiers.taken([A], NOW) == {A}


@pytest.mark.parametrize(
    ("day", "holds"), [(TODAY, True), (OVER + 1, True), (OVER, False), (TODAY + 1, True)]
)
def test_a_claim_holds_by_days(day: int, holds: bool) -> None:
    """Until the end of the day that lies `deduplication_days` after its own."""
    identifiers = new_identifiers()
    identifiers.claim({day: [A]})
    assert identifiers.first_day(NOW) == OVER + 1
    for instant in (TODAY * DAY, NOW, (TODAY + 1) * DAY - 1):
        assert identifiers.holds(day, instant) == holds
        assert identifiers.taken([A, B], instant) == ({A} if holds else set())
    assert identifiers.stand_against({TODAY: [B, A]}, TODAY) == holds
    assert not identifiers.stand_against({TODAY: [B]}, TODAY)
    assert identifiers.stand_against({TODAY + 180: [A]}, TODAY) == holds


# ---- Holds ----


def test_a_hold_keeps_claims_pending() -> None:
    identifiers = new_identifiers()
    identifiers.claim({TODAY: [A]})
    with identifiers.held():
        identifiers.claim({TODAY: [B]})
        identifiers.stored({TODAY: [A, B]})
        assert pending(identifiers) == {A, B}
    assert pending(identifiers) == set()
    assert identifiers.suspects([A, B]) == [A, B]


def test_a_hold_keeps_nothing_that_was_stored_before_it() -> None:
    identifiers = new_identifiers()
    identifiers.claim({TODAY: [A]})
    older = identifiers.held()
    older.__enter__()
    identifiers.stored({TODAY: [A]})
    with identifiers.held():
        assert pending(identifiers) == {A}
        older.__exit__(None, None, None)
        assert pending(identifiers) == set()


def test_what_is_kept_for_an_older_hold_is_asked_about_in_a_newer_one() -> None:
    """Else the newer one, which outlives the older, would take the identifier to be free."""
    identifiers = new_identifiers()
    identifiers.claim({TODAY: [A, B]})
    with identifiers.held():
        identifiers.stored({TODAY: [A]})
        with identifiers.held():
            assert identifiers.suspects([A, B]) == [A]
            assert pending(identifiers) == {A, B}


def test_a_claim_that_is_made_again_is_kept_for_the_holds_of_either() -> None:
    identifiers = new_identifiers()
    identifiers.claim({TODAY: [A]})
    older, newer = identifiers.held(), identifiers.held()
    older.__enter__()
    identifiers.stored({TODAY: [A]})
    identifiers.claim({TODAY: [A]})
    newer.__enter__()
    assert identifiers.suspects([A]) == []
    identifiers.stored({TODAY: [A]})
    older.__exit__(None, None, None)
    assert pending(identifiers) == {A}
    newer.__exit__(None, None, None)
    assert pending(identifiers) == set()


def test_each_hold_keeps_what_it_may_need() -> None:
    identifiers = new_identifiers()
    holds = []
    for one in (A, B, C):
        hold = identifiers.held()
        hold.__enter__()
        holds.append(hold)
        identifiers.claim({TODAY: [one]})
        identifiers.stored({TODAY: [one]})
    holds[1].__exit__(None, None, None)
    assert pending(identifiers) == {A, B, C}
    holds[0].__exit__(None, None, None)
    assert pending(identifiers) == {C}
    holds[2].__exit__(None, None, None)
    assert pending(identifiers) == set()


def test_a_hold_ends_with_an_error() -> None:
    identifiers = new_identifiers()
    identifiers.claim({TODAY: [A]})

    def fail() -> None:
        with identifiers.held():
            identifiers.stored({TODAY: [A]})
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert pending(identifiers) == set()


def test_a_claim_that_is_stored_during_a_question_is_found(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given an answer from before the claim, then `find` knows better."""
    identifiers = pipeline.identifiers
    usage = pipeline.stores.usage

    async def slow(work: Callable[..., object], *args: object) -> object:
        answer = await usage(work, *args)
        identifiers.claim({TODAY: [A]})
        put_claims(pipeline, TODAY, A)
        identifiers.stored({TODAY: [A]})
        return answer

    monkeypatch.setattr(pipeline.stores, "usage", slow)
    monkeypatch.setattr(identifiers, "suspects", list)
    assert found(pipeline, identifiers, A, B) == {A: TODAY}


# ---- What is asked, and what is known from the stores ----


def test_find_tells_the_newest_claim_wherever_it_is(pipeline: Pipeline) -> None:
    put_claims(pipeline, OVER, A, B)
    identifiers = loaded(pipeline, NOW - DAY)
    identifiers.claim({TODAY: [B, C]})
    assert found(pipeline, identifiers, A, B, C, digest("d")) == {A: OVER, B: TODAY, C: TODAY}


def test_nobody_suspected_is_no_question(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(UsageStore, "claims", never)
    pipeline.identifiers.claim({TODAY: [A]})
    assert found(pipeline, pipeline.identifiers, A, B) == {A: TODAY}


def test_until_the_filter_knows_everybody_is_a_suspect(pipeline: Pipeline) -> None:
    put_claims(pipeline, TODAY, A)
    identifiers = Identifiers(DAYS)
    identifiers.claim({TODAY: [B]})
    assert identifiers.suspects([A, B, C]) == [A, C]
    assert found(pipeline, identifiers, A, B, C) == {A: TODAY, B: TODAY}


def test_what_is_claimed_while_the_filter_is_filled_stays_known() -> None:
    identifiers = Identifiers(DAYS)
    identifiers.claim({TODAY: [A]})
    identifiers.know(identifiers.unloaded()[0], Filter())
    identifiers.stored({TODAY: [A]})
    assert identifiers.suspects([A, B]) == [A]


def test_a_partition_that_goes_takes_its_claims_along() -> None:
    identifiers = Identifiers(DAYS, partitions=2)
    digests = [digest(str(number)) for number in range(20)]
    here, there = ([one for one in digests if partition_of(one, 2) == n] for n in (0, 1))
    for partition in (0, 1):
        identifiers.begin(partition)
        identifiers.know(identifiers.unloaded()[partition], Filter(2))
    identifiers.claim({TODAY: digests})
    assert identifiers.taken(digests, NOW) == set(digests)
    identifiers.forget(1)
    assert identifiers.taken(digests, NOW) == set(here)
    assert identifiers.suspects(digests) == there
    identifiers.stored({TODAY: digests})
    assert identifiers.suspects(digests) == digests
    identifiers.begin(0)
    assert list(identifiers.unloaded()) == [0]


def test_a_start_learns_what_is_on_its_way(pipeline: Pipeline) -> None:
    """Events that were submitted alone have claimed theirs, those of a stream not yet."""
    alone = event(identifier="a", meter="mtr_1")
    write_journal(pipeline, event(identifier="b"), alone)
    write_block(pipeline, TODAY, C)
    identifiers = loaded(pipeline)
    assert pending(identifiers) == {A, C}


def test_the_newer_of_two_claims_on_their_way_counts(pipeline: Pipeline) -> None:
    """Given a block that could not be stored for longer than its claims held."""
    write_block(pipeline, OVER, A)
    write_journal(pipeline, event(identifier="a", meter="mtr_1"))
    assert loaded(pipeline).taken([A], NOW) == {A}


def test_recovering_learns_what_a_commit_that_seemed_to_fail_has_claimed(
    pipeline: Pipeline,
) -> None:
    identifiers = loaded(pipeline)
    write_journal(pipeline, event(identifier="a", meter="mtr_1"))
    assert pending(identifiers) == set()
    asyncio.run(identifiers.recover(pipeline.stores))
    assert pending(identifiers) == {A}
    asyncio.run(identifiers.recover(pipeline.stores))
    identifiers.stored({TODAY: [A]})
    assert pending(identifiers) == set()


def test_recovering_leaves_nothing_pending_that_is_stored_meanwhile(pipeline: Pipeline) -> None:
    """Given a block that is stored and released right after it was read, then it is forgotten."""
    write_block(pipeline, TODAY, A)
    identifiers = new_identifiers()

    async def release(stores: Stores) -> None:
        await stores.write(blocks.release, [f"{TODAY}"])
        identifiers.stored({TODAY: [A]})

    async def body() -> None:
        both: list[Awaitable[None]] = [
            identifiers.recover(pipeline.stores),
            release(pipeline.stores),
        ]
        await asyncio.gather(*both)

    asyncio.run(body())
    assert pending(identifiers) == set()


def test_dropping_forgets_suspicions_that_are_over(pipeline: Pipeline) -> None:
    """A day late, because an event that was received before midnight may be judged after it."""
    put_claims(pipeline, OVER, A)
    identifiers = loaded(pipeline)
    identifiers.drop(NOW)
    assert identifiers.suspects([A]) == [A]
    identifiers.drop(NOW + DAY)
    assert identifiers.suspects([A]) == []


def test_dropping_forgets_nothing_that_is_pending() -> None:
    """The usage store does not have it yet, so it is still somebody's to store."""
    identifiers = new_identifiers()
    claimed: Claimed = {OVER: [A]}
    identifiers.claim(claimed)
    identifiers.drop(NOW)
    assert identifiers._pending == {A: OVER}
    identifiers.stored(claimed)
    assert identifiers._pending == {}


def test_the_usage_store_keeps_a_claim_as_it_was_made(pipeline: Pipeline) -> None:
    put_claims(pipeline, TODAY, A, B)
    assert pipeline.engine._usage.claims([B, C]) == {B: Claim(B, 2, TODAY)}
