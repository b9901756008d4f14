import asyncio
import time
from collections.abc import Callable, Container
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.errors import StoreError
from meterhouse.ledger import adjustments, blocks, journal, meters, tables, tallies
from meterhouse.ledger.adjustments import Adjustment
from meterhouse.ledger.blocks import Block
from meterhouse.ledger.journal import Cancellation
from meterhouse.metering.activity import WINDOW, ActivityLine
from meterhouse.metering.model import Scope, StoredEvent
from meterhouse.processing import process
from meterhouse.processing.left_behind import store_left_behind
from meterhouse.processing.process import _retry_seconds
from meterhouse.usage.store import UsageStore
from tests.metering.samples import DAY, NOW, event
from tests.pipeline import Pipeline, stream, submission, write_journal


async def accept(pipeline: Pipeline, *identifiers: str, **changes: Any) -> None:
    sent = [pipeline.acceptor.accept(submission(name, **changes)) for name in identifiers]
    assert await asyncio.gather(*sent) == [None] * len(identifiers)


async def cancel(pipeline: Pipeline, position: int, number: int = 1) -> None:
    adjustment = Adjustment(
        f"mea_{number}", pipeline.scope.id, "a", "calls", position, "pending", NOW
    )

    def work(connection: Any) -> None:
        adjustments.put(connection, adjustment)
        journal.append_cancellation(
            connection, Cancellation(pipeline.scope.id, adjustment.id, "mtr_1", position, NOW)
        )

    await pipeline.stores.write(work)


def usage(pipeline: Pipeline) -> Decimal:
    with pipeline.stores._ledger.read() as connection:
        [meter] = meters.all_meters(connection)
    return pipeline.engine._usage.total(pipeline.scope, meter).stored


def failing(times: int, work: Callable[..., Any]) -> Callable[..., Any]:
    """Return `work` that fails before it begins, so many times."""
    left = iter(range(times))

    def run(*args: Any) -> Any:
        if next(left, None) is not None:
            raise StoreError("the usage store went away")
        return work(*args)

    return run


def watch_blocks(monkeypatch: pytest.MonkeyPatch) -> list[list[Block]]:
    """Return a list that gets the blocks of each batch from now on."""
    put = blocks.put
    seen: list[list[Block]] = []

    def note(connection: Any, new: list[Block]) -> None:
        seen.append(new)
        put(connection, new)

    monkeypatch.setattr(blocks, "put", note)
    return seen


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PROCESS_RETRY_SECONDS_MAX", 0.001)


def test_each_event_has_one_outcome(pipeline: Pipeline) -> None:
    async def body() -> None:
        await accept(pipeline, "a", "b", "c")
        await accept(pipeline, "d", value="many")
        assert await pipeline.processor.settle(30)

    pipeline.run(body)
    assert pipeline.books() == {
        "acknowledged": 4,
        "accepted": 3,
        "meter_event_invalid_value": 1,
        "pending": 0,
    }
    assert usage(pipeline) == 3
    assert (pipeline.rows(tables.journal), pipeline.rows(tables.blocks)) == (0, 0)
    assert pipeline.acceptor.journal_events == 0


def test_activity_adds_up_to_the_books(pipeline: Pipeline) -> None:
    async def body() -> None:
        for names in ("abc", "aad", "x"):
            sent = [submission(name, value="1").event for name in names]
            stray = submission("y", event_name="cals").event
            events = [msgspec.structs.replace(one, meter=None) for one in (*sent, stray)]
            write_journal(pipeline, *events)
            pipeline.processor.wake()
        assert await pipeline.processor.settle(30)

    pipeline.run(body)
    with pipeline.stores._ledger.read() as connection:
        rows = connection.execute(sa.select(tables.activity)).mappings().all()
        books = tallies.read(connection)
    lines = [ActivityLine(**row) for row in rows]
    assert tallies.of(lines) == {
        line: events for line, events in books.items() if line.outcome != "acknowledged"
    }
    assert {line.window_start for line in lines} == {NOW - NOW % WINDOW}
    assert {line.meter for line in lines} == {"mtr_1", ""}


@pytest.mark.parametrize(
    ("limit", "batches"),
    [
        ("PROCESS_BATCH_EVENTS_MAX", 3),
        ("PROCESS_BATCH_ROWS_MAX", 2),
        ("PROCESS_BATCH_BYTES_MAX", 6),
    ],
)
def test_batches_are_bounded(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, limit: str, batches: int
) -> None:
    """Given six rows of two events each, then a batch takes no more than four rows or events.

    A row is larger than four bytes, and is taken alone.
    """
    monkeypatch.setattr(limits, limit, 4)
    seen = watch_blocks(monkeypatch)
    for number in range(6):
        write_journal(pipeline, *[submission(f"{number}-{which}").event for which in "ab"])

    async def body() -> bool:
        return await pipeline.processor.settle(30)

    assert pipeline.run(body)
    assert len(seen) == batches
    assert pipeline.stored() == 12


def test_an_event_larger_than_a_batch_gets_through(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PROCESS_BATCH_EVENTS_MAX", 1)
    write_journal(pipeline, *[submission(name).event for name in "abc"])

    async def body() -> bool:
        return await pipeline.processor.settle(30)

    assert pipeline.run(body)
    assert pipeline.stored() == 3


def test_a_batch_makes_a_block_for_each_table_and_month(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = watch_blocks(monkeypatch)

    async def body() -> None:
        await asyncio.gather(
            accept(pipeline, "a"),
            accept(pipeline, "b", timestamp=NOW - 25 * DAY),
            accept(pipeline, "c", value="many"),
        )
        await pipeline.processor.settle(30)

    pipeline.run(body)
    made = [one for batch in seen for one in batch]
    assert sorted((one.destination, one.rows) for one in made) == [
        ("events", 1),
        ("events", 1),
        ("identifiers", 3),
        ("rejected_events", 1),
        ("usage_slots", 3),
        ("usage_slots", 3),
    ]
    assert len({one.token for one in made}) == 6


def test_a_meter_counts_an_event_that_was_taken_before_its_deactivation(
    pipeline: Pipeline,
) -> None:
    async def body() -> None:
        async with pipeline.processor.still():
            await accept(pipeline, "a")
            with pipeline.stores._ledger.write() as connection:
                [meter] = meters.all_meters(connection)
                meters.deactivate_meter(connection, meter, NOW)
        await pipeline.processor.settle(30)

    pipeline.run(body)
    assert usage(pipeline) == 1


def test_a_cancellation_of_an_event_that_was_lost_holds_up_nobody(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        await cancel(pipeline, position=1_000_000)
        await accept(pipeline, "a", value="7")
        assert await pipeline.processor.settle(30)

    pipeline.run(body)
    assert usage(pipeline) == 7
    assert "has lost the event at position 1000000 that mea_1 cancels" in caplog.text


def test_a_cancellation_takes_its_event_away(pipeline: Pipeline) -> None:
    async def body() -> None:
        await accept(pipeline, "a", value="2.5")
        await accept(pipeline, "b")
        await pipeline.processor.settle(30)
        await cancel(pipeline, position=1)
        assert await pipeline.processor.settle(30)

    pipeline.run(body)
    assert usage(pipeline) == 1
    with pipeline.stores._ledger.read() as connection:
        assert adjustments.complete_by_scope(connection) == {pipeline.scope.id: 1}


def test_the_events_of_many_cancellations_are_found_at_once(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[int]] = []
    find_all = UsageStore.find_all

    def noted(
        store: UsageStore, scope: Scope, meter: str, positions: list[int]
    ) -> list[StoredEvent]:
        asked.append(positions)
        return find_all(store, scope, meter, positions)

    monkeypatch.setattr(UsageStore, "find_all", noted)

    async def body() -> None:
        await accept(pipeline, "a", "b", "c", value="2.5")
        await pipeline.processor.settle(30)
        async with pipeline.processor.still():  # so that they are one batch
            await cancel(pipeline, position=1)
            await cancel(pipeline, position=3, number=2)
        assert await pipeline.processor.settle(30)

    pipeline.run(body)
    assert asked == [[1, 3]]
    assert usage(pipeline) == Decimal("2.5")


@pytest.mark.usefixtures("impatient")
def test_a_usage_store_that_fails_gets_everything_when_it_is_back(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given inserts that fail, then events are still taken, and each counts once in the end."""
    monkeypatch.setattr(UsageStore, "_insert", failing(5, UsageStore._insert))

    async def body() -> None:
        await accept(pipeline, "a", "b")
        await accept(pipeline, "c", value="many")
        assert await pipeline.processor.settle(30)

    pipeline.run(body)
    assert pipeline.books()["pending"] == 0
    assert pipeline.stored() == 2
    assert pipeline.rows(tables.blocks) == 0
    assert pipeline.acceptor.journal_events == 0
    assert pipeline.metrics.process_failures._value.get() == 5


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_ledger_that_fails_at_the_commit_is_asked_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Whether the commit had taken effect or not, each event is judged and stored once."""
    write_then = pipeline.stores.write_then
    failures = iter("1")

    async def unsure(then: Any, work: Any, *args: Any) -> Any:
        if work is not process._commit or next(failures, None) is None:
            return await write_then(then, work, *args)
        if moment == "after":
            await pipeline.stores.write(work, *args)
        raise StoreError("the connection broke during COMMIT")

    monkeypatch.setattr(pipeline.stores, "write_then", unsure)

    async def body() -> None:
        await accept(pipeline, "a", "b")
        assert await pipeline.processor.settle(30)

    pipeline.run(body)
    assert pipeline.books() == {"acknowledged": 2, "accepted": 2, "pending": 0}
    assert pipeline.stored() == 2
    assert pipeline.acceptor.journal_events == 0


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", ["none", "judge", "commit", "insert", "still"])
def test_a_batch_is_judged_while_the_one_before_is_committed(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Whatever fails, or stands still, in between: every identifier counts once."""
    monkeypatch.setattr(limits, "PROCESS_BATCH_EVENTS_MAX", 4)
    monkeypatch.setattr(limits, "PROCESS_AHEAD_EVENTS", 1)
    monkeypatch.setattr(limits, "PROCESS_HELD_EVENTS_MAX", 1)
    judge, write_then = pipeline.engine.judge, pipeline.stores.write_then
    failures = iter([False, True, False, False, True])
    judged_ahead: list[bool] = []

    def judging(numbers: list[int], under_way: Any = None, *, anew: bool = False) -> Any:
        judged_ahead.append(under_way is not None)
        if fault == "judge" and under_way and next(failures, False):
            raise StoreError("the process went away")
        return judge(numbers, under_way, anew=anew)

    async def committing(then: Any, work: Any, *args: Any) -> Any:
        if fault == "commit" and work is process._commit and next(failures, False):
            raise StoreError("the ledger went away")
        return await write_then(then, work, *args)

    monkeypatch.setattr(pipeline.engine, "judge", judging)
    monkeypatch.setattr(pipeline.stores, "write_then", committing)
    if fault == "insert":
        monkeypatch.setattr(UsageStore, "insert", failing(3, UsageStore.insert))

    async def body() -> None:
        async with pipeline.processor.still():
            for name in "abcabdefgaghijklmbkl":
                await stream(pipeline, event(identifier=name, meter=None))
        while fault == "still" and not any(judged_ahead):
            async with pipeline.processor.still():
                assert pipeline.only._ahead is None
            await asyncio.sleep(0)
        assert await pipeline.processor.settle(20)

    pipeline.run(body)
    assert pipeline.books() == {"acknowledged": 20, "accepted": 13, "duplicate": 7, "pending": 0}
    assert pipeline.stored() == 13
    assert pipeline.acceptor.journal_events == 0
    assert any(judged_ahead)


def test_waiting_grows_and_is_bounded() -> None:
    waits = [_retry_seconds(failures) for failures in (1, 2, 3, 10, 100_000)]
    assert waits == [0.1, 0.2, 0.4, 5, 5]


async def nothing() -> None:
    """Let the processor do what it does by itself."""


async def crash(pipeline: Pipeline, stored: Container[str]) -> None:
    """Judge and commit a batch, and die when the usage store has the blocks for some tables."""
    digests = pipeline.engine.judge([0])
    assert digests is not None
    verdict = pipeline.engine.conclude(await pipeline.identifiers.find(pipeline.stores, digests))
    await pipeline.stores.write(process._commit, verdict, [], pipeline.identifiers)
    for one in verdict.blocks:
        if one.destination in stored:
            await pipeline.stores.usage(UsageStore.insert, one.destination, one.body, one.token)


@pytest.mark.parametrize(
    "stored",
    [
        (),
        ("events",),
        ("identifiers",),
        ("events", "rejected_events"),
        ("identifiers", "rejected_events"),
        ("events", "identifiers", "rejected_events"),
    ],
)
def test_a_start_finishes_what_a_crash_left_behind(
    pipeline: Pipeline, stored: tuple[str, ...]
) -> None:
    """Given batches of which some blocks are stored, when started anew, then all are, once."""

    async def crashes() -> None:
        await accept(pipeline, "a", "b")
        await crash(pipeline, ())
        await accept(pipeline, "c")
        await accept(pipeline, "d", value="many")
        await crash(pipeline, stored)

    asyncio.run(crashes())
    again = pipeline.restarted()

    async def body() -> int:
        position = again.processor.stored_position
        for name in "abcd":
            answer = await again.acceptor.accept(submission(name))
            assert str(answer) == f"An event already exists with identifier {name}."
        return position

    with again.stores._ledger.read() as connection:
        last = journal.last_position(connection)
    assert again.run(body) == last
    assert (pipeline.stored(), pipeline.claims()) == (3, 4)
    assert pipeline.rows(tables.blocks) == 0
    assert asyncio.run(store_left_behind(pipeline.stores)) == {}
    assert (pipeline.stored(), pipeline.claims()) == (3, 4)
    assert asyncio.run(again.verify())["status"] == "balanced"


def test_a_start_knows_what_waits_in_the_journal(pipeline: Pipeline) -> None:
    async def left() -> None:
        await accept(pipeline, "a", "b")

    asyncio.run(left())
    pipeline.acceptor.journal_events = 0

    async def body() -> None:
        assert await pipeline.processor.settle(30)

    pipeline.run(body)
    assert pipeline.acceptor.journal_events == 0
    assert pipeline.stored() == 2


def test_a_stop_processes_what_is_pending(pipeline: Pipeline) -> None:
    async def body() -> None:
        await accept(pipeline, "a", "b")

    pipeline.run(body)
    assert pipeline.stored() == 2


def test_a_stop_waits_only_so_long(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a usage store that is gone, when stopped, then the events stay in the ledger."""
    monkeypatch.setattr(UsageStore, "insert", failing(1_000, UsageStore.insert))

    async def stop() -> None:
        await pipeline.processor.start()
        await accept(pipeline, "a")
        settling = asyncio.create_task(pipeline.processor.settle(30))
        while not pipeline.rows(tables.blocks):  # noqa: ASYNC110 - the ledger tells nobody
            await asyncio.sleep(0)
        await pipeline.processor.stop(seconds=0.05)
        settling.cancel()

    asyncio.run(stop())
    assert pipeline.stored() == 0
    assert pipeline.rows(tables.blocks) > 0
    monkeypatch.undo()
    pipeline.restarted().run(nothing)
    assert pipeline.stored() == 1


def test_settling_hurries_a_batch_that_gathers(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused events take positions, too; nobody waits for those."""
    monkeypatch.setattr(limits, "PROCESS_LINGER_MILLISECONDS", 60_000)

    async def body() -> float:
        began = time.perf_counter()
        for name in "abc":
            await accept(pipeline, name)
            await asyncio.gather(
                *(pipeline.acceptor.accept(submission(same)) for same in (name, f"{name}2", name))
            )
            assert await pipeline.processor.settle(30)
            assert usage(pipeline) == pipeline.books()["accepted"]
        return time.perf_counter() - began

    assert pipeline.run(body) < 60
    assert usage(pipeline) == 6


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold events back until somebody asks."""
    monkeypatch.setattr(limits, "PROCESS_HELD_MILLISECONDS_MAX", 60_000)


async def held(pipeline: Pipeline) -> None:
    """Wait until the processor holds back what there is."""
    while not pipeline.only.holds_back():  # noqa: ASYNC110 - nobody is told
        await asyncio.sleep(0)


async def stored(pipeline: Pipeline, position: int) -> None:
    """Wait, without asking, until everything up to a position is stored."""
    processor = pipeline.processor
    async with asyncio.timeout(60), processor.demand._moved:
        await processor.demand._moved.wait_for(lambda: processor.stored_position >= position)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("strong", [False, True])
def test_a_few_events_wait_until_somebody_asks(pipeline: Pipeline, strong: object) -> None:
    async def body() -> None:
        await accept(pipeline, "a", "b")
        await held(pipeline)
        assert pipeline.books()["pending"] == 2
        assert not pipeline.processor.busy.is_set()
        assert await pipeline.processor.reach(strong=bool(strong)) is strong
        assert usage(pipeline) == 2
        assert await pipeline.processor.reach(strong=False) is False
        assert pipeline.books()["pending"] == 0

    pipeline.run(body)


@pytest.mark.usefixtures("patient")
def test_enough_events_do_not_wait(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PROCESS_HELD_EVENTS_MAX", 3)

    async def body() -> None:
        await accept(pipeline, "a", "b")
        await held(pipeline)
        assert usage(pipeline) == 0
        await accept(pipeline, "c")
        await stored(pipeline, 3)

    pipeline.run(body)
    assert usage(pipeline) == 3


def test_no_event_waits_for_long(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PROCESS_HELD_MILLISECONDS_MAX", 10)

    async def body() -> None:
        await accept(pipeline, "a")
        await stored(pipeline, 1)

    pipeline.run(body)


@pytest.mark.usefixtures("patient")
def test_nothing_waits_while_somebody_asks_again_and_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PROCESS_ASKED_MILLISECONDS", 60_000)

    async def body() -> None:
        await pipeline.processor.reach(strong=False)
        for position, name in enumerate("abc", 1):
            await accept(pipeline, name)
            await stored(pipeline, position)
            assert not pipeline.only.holds_back()

    pipeline.run(body)


@pytest.mark.usefixtures("patient")
def test_a_question_waits_for_a_held_batch_that_is_under_way(pipeline: Pipeline) -> None:
    """Somebody else has asked, so the batch has begun; it is stored some time later."""

    async def body() -> None:
        await accept(pipeline, "a")
        await held(pipeline)
        asked = [asyncio.create_task(pipeline.processor.reach(strong=False)) for _ in range(3)]
        await pipeline.processor.busy.wait()
        await pipeline.processor.reach(strong=False)
        assert usage(pipeline) == 1
        await asyncio.gather(*asked)

    pipeline.run(body)


@pytest.mark.usefixtures("patient", "impatient")
def test_a_question_does_not_wait_for_what_fails(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONSISTENCY_WAIT_SECONDS_MAX", 60)

    def judge(*_: object, **__: object) -> None:
        raise StoreError("the ledger went away")

    async def body() -> None:
        await accept(pipeline, "a")
        await held(pipeline)
        with monkeypatch.context() as broken:
            broken.setattr(pipeline.engine, "judge", judge)
            async with asyncio.timeout(60):
                await pipeline.processor.reach(strong=False)
        assert usage(pipeline) == 0
        await stored(pipeline, 1)

    pipeline.run(body)
    assert usage(pipeline) == 1


@pytest.mark.usefixtures("patient")
def test_a_question_waits_on_when_a_held_batch_is_judged_anew(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = iter([True])
    monkeypatch.setattr(pipeline.identifiers, "stand_against", lambda *_: next(taken, False))

    async def body() -> None:
        await stream(pipeline, msgspec.structs.replace(submission("a").event, meter=None))
        await held(pipeline)
        await pipeline.processor.reach(strong=False)
        assert usage(pipeline) == 1

    pipeline.run(body)


@pytest.mark.usefixtures("patient")
def test_a_question_is_answered_while_both_stores_stand_still(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONSISTENCY_WAIT_SECONDS_MAX", 60)

    async def body() -> None:
        await accept(pipeline, "a")
        await held(pipeline)
        async with pipeline.processor.still():
            async with asyncio.timeout(60):
                assert await pipeline.processor.reach(strong=False) is False
            assert usage(pipeline) == 0
        await pipeline.processor.reach(strong=False)
        assert usage(pipeline) == 1

    pipeline.run(body)


def test_settling_gives_up_in_time(pipeline: Pipeline) -> None:
    async def body() -> bool:
        async with pipeline.processor.still():
            await accept(pipeline, "a")
            return await pipeline.processor.settle(0.02)

    assert not pipeline.run(body)
    assert pipeline.stored() == 1


def test_nothing_to_settle_is_settled(pipeline: Pipeline) -> None:
    async def body() -> bool:
        async with pipeline.processor.still():
            return await pipeline.processor.settle(30)

    assert pipeline.run(body)
