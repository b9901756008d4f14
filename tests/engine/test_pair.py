from collections.abc import Callable
from typing import NamedTuple

import pytest

from meterhouse.engine import pair
from meterhouse.errors import StoreError
from meterhouse.ledger import blocks, identity, journal, partitions, tallies
from meterhouse.ledger.blocks import Block
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.identity import Identity
from meterhouse.limits import JOURNAL_COMMIT_POSITIONS
from meterhouse.usage import identity as theirs
from meterhouse.usage.store import UsageStore
from tests.pipeline import Pipeline
from tests.usage.samples import accepted, accepted_blocks, new_scope, writer

NOWHERE = "http://nowhere"  # `UsageStore.open` is replaced: the room has one store


class Pair(NamedTuple):
    """What each side says: identities, what the ledger awaits, puts up with and counts."""

    ours: str
    awaited: str | None
    theirs: str | None
    counted: int = 0
    stored: int = 0
    missing: int = 0


PAIRS = {
    "two new ones": Pair("a", "", None),
    "killed before the ledger knew": Pair("a", "", "a"),
    "a pair": Pair("a", None, "a", counted=3, stored=3),
    "a pair that goes on regardless": Pair("a", None, "a", counted=3, stored=2, missing=1),
    "behind, and put up with": Pair("a", None, "a", counted=3, stored=5, missing=-2),
    "killed before the usage store took over": Pair("b", "a", "a", counted=3, stored=3),
}
GONE = "The usage store at * is empty or missing, but the ledger at * counts 3 "
NEW = "is new, but the usage store at * belongs to another ledger and holds 3 "
UNLIKE = "do not belong together"
MISMATCHED = {
    "usage store gone": (Pair("a", None, None, counted=3), GONE),
    "ledger gone": (Pair("b", "", "a", stored=3), NEW),
    "ledger gone, no identity": (Pair("b", "", None, stored=3), NEW),
    "halves of two pairs": (Pair("b", None, "a", counted=3, stored=3), UNLIKE),
    "another one than awaited": (Pair("c", "b", "a", counted=3, stored=3), UNLIKE),
    "usage store behind": (Pair("a", None, "a", counted=3, stored=1), "it lacks 2 of "),
    "more is missing": (Pair("a", None, "a", 3, 1, missing=1), "it lacks 1 of "),
    "ledger behind": (Pair("a", None, "a", counted=1, stored=3), "it knows nothing of 2 of "),
}


@pytest.fixture
def ledger(pipeline: Pipeline, usage: UsageStore, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    writer(usage).command("TRUNCATE TABLE store_identity")
    monkeypatch.setattr(UsageStore, "open", lambda _: usage)
    monkeypatch.setattr(UsageStore, "close", lambda _: None)
    return pipeline.stores._ledger


def make(ledger: Ledger, usage: UsageStore, one: Pair) -> None:
    """Bring both stores into a state."""
    with ledger.write() as connection:
        identity.save(connection, Identity(one.ours, one.awaited, one.missing))
        tallies.add(connection, {tallies.Line(1, "accepted"): one.counted})
        if one.counted:
            journal.reserve(connection, one.counted)
    if one.theirs is not None:
        theirs.take_over(usage, one.theirs)
    sql = "INSERT INTO events (position, sign) SELECT number + 1, 1 FROM numbers({rows:UInt64})"
    usage.change(sql, {"rows": one.stored}, {"insert_deduplicate": 0})


def refusal(ledger: Ledger) -> str:
    with pytest.raises(StoreError) as refused:
        pair.open_pair(ledger, NOWHERE, "refuse")
    return str(refused.value)


def assert_paired(ledger: Ledger, usage: UsageStore) -> Identity:
    with ledger.read() as connection:
        ours = identity.read(connection)
    assert ours.awaited is None
    assert theirs.read(usage) == ours.identity
    return ours


@pytest.mark.parametrize("one", PAIRS.values(), ids=PAIRS)
def test_a_pair_opens_and_stays_one(ledger: Ledger, usage: UsageStore, one: Pair) -> None:
    make(ledger, usage, one)
    for _ in range(2):
        pair.open_pair(ledger, NOWHERE, "refuse")
        assert assert_paired(ledger, usage) == Identity(one.ours, None, one.missing)


@pytest.mark.parametrize(("one", "sentence"), MISMATCHED.values(), ids=MISMATCHED)
def test_stores_that_do_not_match_open_when_an_operator_says_so(
    ledger: Ledger, usage: UsageStore, one: Pair, sentence: str
) -> None:
    make(ledger, usage, one)
    told = refusal(ledger)
    places = (ledger.place, usage.place)
    assert all(part in told for part in sentence.split("*"))
    assert all(place in told for place in places)
    assert "--mismatched-stores accept" in told
    assert told == refusal(ledger)  # the first refusal has changed nothing

    pair.open_pair(ledger, NOWHERE, "accept")
    assert assert_paired(ledger, usage).identity not in {one.ours, one.theirs}
    pair.open_pair(ledger, NOWHERE, "refuse")
    with ledger.read() as connection:
        assert journal.last_position(connection) >= max(one.counted, one.stored)


def test_slots_of_another_time_prove_nothing(ledger: Ledger, usage: UsageStore) -> None:
    """Given a store that knows batches, then those to come have higher numbers."""
    make(ledger, usage, Pair("b", "", "a", stored=3))
    usage.change(
        "INSERT INTO usage_slots (batch, batches) VALUES (7, map()), (0, map(1, 12, 5, 3))", {}, {}
    )
    with ledger.write() as connection:
        partitions.provision(connection, 2)
        partitions.number_after(connection, {0: 9})
    pair.open_pair(ledger, NOWHERE, "accept")
    with ledger.read() as connection:
        assert {one.number: one.batch for one in partitions.read(connection)} == {0: 9, 1: 12}


@pytest.mark.parametrize("stored", [False, True])
def test_blocks_that_the_ledger_keeps_may_be_stored_or_not(
    ledger: Ledger, usage: UsageStore, stored: bool
) -> None:
    make(ledger, usage, Pair("a", None, "a", counted=3, stored=2))
    scope = new_scope()
    [made] = accepted_blocks([accepted(scope)], {scope.id: scope})
    kept = Block("t", "events", made.rows, made.body)
    with ledger.write() as connection:
        blocks.put(connection, [kept])
    if stored:
        usage.insert("events", made.body, "t")
    pair.open_pair(ledger, NOWHERE, "refuse")


def put_rejected(usage: UsageStore, position: int) -> None:
    usage.change(
        "INSERT INTO rejected_events (received_at, position) SELECT now(), {position:UInt64}",
        {"position": position},
        {},
    )


def put_claim(usage: UsageStore, position: int) -> None:
    usage.change(
        "INSERT INTO identifiers (day, position) SELECT 20000, {position:UInt64}",
        {"position": position},
        {},
    )


@pytest.mark.parametrize("put", [put_rejected, put_claim])
def test_a_ledger_that_never_gave_out_a_position_is_behind(
    ledger: Ledger, usage: UsageStore, put: Callable[[UsageStore, int], None]
) -> None:
    make(ledger, usage, Pair("a", None, "a", counted=3, stored=3))
    put(usage, 3)
    pair.open_pair(ledger, NOWHERE, "refuse")
    beyond = JOURNAL_COMMIT_POSITIONS + 9  # what one commit may have given out
    put(usage, beyond)
    assert "holds events that it knows nothing of" in refusal(ledger)
    pair.open_pair(ledger, NOWHERE, "accept")
    with ledger.write() as connection:
        assert journal.reserve(connection, 1) == beyond + 1
    pair.open_pair(ledger, NOWHERE, "refuse")


def test_who_does_not_judge_may_open_stores_of_which_one_is_behind(
    ledger: Ledger, usage: UsageStore
) -> None:
    make(ledger, usage, Pair("a", None, "a", counted=3, stored=1))
    pair.open_usage(ledger, NOWHERE)
    writer(usage).command("TRUNCATE TABLE store_identity")
    theirs.take_over(usage, "b")
    with pytest.raises(StoreError, match=UNLIKE):
        pair.open_usage(ledger, NOWHERE)
