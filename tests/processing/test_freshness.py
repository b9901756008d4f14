import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from meterhouse import limits
from meterhouse.clock import ManualClock
from meterhouse.judging.judge import Judge
from meterhouse.ledger import blocks, journal
from meterhouse.ledger.blocks import Block
from meterhouse.ledger.journal import Cancellation
from meterhouse.processing.freshness import Freshness
from meterhouse.processing.progress import LocalProgress
from meterhouse.processing.under_way import UnderWay
from tests.metering.samples import NOW
from tests.nodes import Nodes, on_servers
from tests.pipeline import Pipeline, submission


@dataclass
class Journal:
    """The stores and the processor, as far as they matter here."""

    last: int = 0
    stored_position: int = 0
    settles: bool = True
    oldest: tuple[int, int] | None = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    busy: asyncio.Event = field(default_factory=asyncio.Event)
    looks: int = 0

    async def read(self, what: Any) -> Any:
        if what is journal.oldest:
            return self.oldest
        self.asked.set()
        self.looks += 1
        return self.last

    async def settle(self, _: float) -> bool:
        return self.settles

    def wake(self) -> None:
        """There is nothing to wake."""

    def trouble(self) -> str | None:
        return None

    async def reach(self, *, strong: bool) -> bool:
        if strong and self.settles:
            self.stored_position = self.last
        return strong and self.settles


def fresh(stores: Journal, clock: ManualClock) -> Freshness:
    progress = LocalProgress(cast("Any", stores), cast("Any", stores))
    return Freshness(progress, UnderWay(clock), clock)


def reach(freshness: Freshness, *, strong: bool = False) -> tuple[bool, int]:
    return asyncio.run(freshness.reach(strong=strong))


def test_when_everything_is_stored_it_is_the_present() -> None:
    clock = ManualClock(1_000)
    freshness = fresh(Journal(7, 7), clock)
    assert reach(freshness) == (False, 1_000)
    clock.advance(500)
    assert reach(freshness, strong=True) == (True, 1_500)


def test_it_stays_until_what_was_given_out_is_stored() -> None:
    clock, stores = ManualClock(1_000), Journal(7, 7)
    freshness = fresh(stores, clock)
    assert reach(freshness) == (False, 1_000)
    for last in (8, 9):
        clock.advance(1_000)
        stores.last = last
        assert reach(freshness) == (False, 1_000)
    stores.stored_position = 8
    clock.advance(1_000)
    assert reach(freshness) == (False, 2_000)


def test_a_strong_reader_waits() -> None:
    clock, stores = ManualClock(1_000), Journal(7, 3)
    freshness = fresh(stores, clock)
    assert reach(freshness) == (False, 0)
    assert reach(freshness, strong=True) == (True, 1_000)
    stores.last, stores.settles = 8, False
    clock.advance(1_000)
    assert reach(freshness, strong=True) == (False, 1_000)


def test_what_is_under_way_may_be_missing() -> None:
    """The oldest request decides: it may have its position later than any other."""
    clock = ManualClock(1_000)
    freshness = fresh(Journal(), clock)
    with freshness.receiving(400):
        with freshness.receiving(700):
            assert reach(freshness) == (False, 400)
        assert reach(freshness) == (False, 400)
    assert reach(freshness) == (False, 1_000)


def test_looks_do_not_pile_up() -> None:
    clock, stores = ManualClock(0), Journal(1, 0)
    freshness = fresh(stores, clock)
    for _ in range(limits.FRESHNESS_LOOKS_KEPT + 10):
        clock.advance(1)
        reach(freshness)
    assert len(freshness._looks) == limits.FRESHNESS_LOOKS_KEPT
    stores.stored_position = 1
    assert reach(freshness) == (False, limits.FRESHNESS_LOOKS_KEPT + 10)


def test_a_clock_that_comes_back_takes_what_it_said_with_it() -> None:
    clock = ManualClock(1_000)
    freshness = fresh(Journal(7, 7), clock)
    clock.set(9_000_000)
    assert reach(freshness) == (False, 9_000_000)
    clock.set(2_000)
    assert reach(freshness) == (False, 2_000)


async def look_once(freshness: Freshness, stores: Journal) -> None:
    """Let it look by itself when it starts, and no more."""
    freshness.start()
    await asyncio.wait_for(stores.asked.wait(), 5)
    await freshness.stop()


def test_it_looks_by_itself() -> None:
    stores = Journal(1, 0)
    freshness = fresh(stores, ManualClock(1_000))
    asyncio.run(look_once(freshness, stores))
    stores.stored_position = 1
    assert freshness._passed() == 1_000


def test_it_looks_no_more_while_nothing_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FRESHNESS_LOOK_MILLISECONDS", 0)
    stores = Journal(1, 0)
    freshness = fresh(stores, ManualClock(1_000))

    async def body() -> None:
        freshness.start()
        await asyncio.wait_for(stores.asked.wait(), 5)
        for _ in range(100):
            await asyncio.sleep(0)
        assert stores.looks == 1
        stores.asked.clear()
        stores.busy.set()
        await asyncio.wait_for(stores.asked.wait(), 5)
        await freshness.stop()

    asyncio.run(body())


def test_what_was_left_behind_bounds_it_until_it_is_stored() -> None:
    clock, stores = ManualClock(1_000), Journal(9, 3, oldest=(5, 600))
    freshness = fresh(stores, clock)
    asyncio.run(look_once(freshness, stores))
    assert reach(freshness) == (False, 0)  # position 4 is judged, and on its way
    stores.stored_position = 4
    assert reach(freshness) == (False, 600)
    stores.stored_position = 8
    assert reach(freshness) == (False, 600)
    stores.stored_position = 9
    assert reach(freshness) == (False, 1_000)


def test_what_is_under_way_while_it_looks_back_may_be_missing() -> None:
    """A clock that was set back lets a new request be older than what was left behind."""
    stores = Journal(9, 4, oldest=(5, 600))
    freshness = fresh(stores, ManualClock(1_000))
    with freshness.receiving(400):
        asyncio.run(look_once(freshness, stores))
    assert freshness._passed() == 400


def test_a_restart_with_a_backlog(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was received first of what is not judged yet has its position last."""
    monkeypatch.setattr(Judge, "judge", lambda *_, **__: None)

    async def sent() -> None:
        for number, received_at in enumerate((NOW - 1_000, NOW - 3_000, NOW - 2_000)):
            await pipeline.acceptor.accept(submission(str(number), received_at=received_at))

    def seen_after_a_restart() -> int:
        again = pipeline.restarted()
        progress = LocalProgress(again.stores, again.processor)
        freshness = Freshness(progress, UnderWay(again.clock), again.clock)

        async def asked() -> int:
            await freshness._look_back()
            return (await freshness.reach(strong=False))[1]

        return again.run(asked)

    assert seen_after_a_restart() == NOW
    asyncio.run(sent())
    assert seen_after_a_restart() == NOW - 3_000
    with pipeline.stores._ledger.write() as connection:
        earlier = Cancellation(pipeline.scope.id, "adj_1", "mtr_1", 1, NOW - 4_000)
        journal.append_cancellation(connection, earlier)
    assert seen_after_a_restart() == NOW - 4_000


@on_servers
def test_the_oldest_request_of_all_nodes_decides(nodes: Nodes) -> None:
    """An event received before the instant and acknowledged is in the answer, wherever it came."""
    left, right = nodes.left, nodes.right

    async def read(*, strong: bool = True) -> tuple[bool, int]:
        reading = asyncio.create_task(right.freshness.reach(strong=strong))
        if strong:
            await right.asked.wait()
            right.asked.clear()
            await nodes.work()
        return await reading

    async def body() -> None:
        with left.under_way.receiving(NOW - 5_000):
            await left.heartbeat.beat()
            assert await read() == (True, NOW - 5_000)
            sent = submission("a", received_at=NOW - 5_000)
            assert await left.send(sent) is None
        assert await read() == (True, NOW - 5_000)  # nobody was told that it was answered
        assert nodes.pipeline.stored() == 1
        await left.heartbeat.beat()
        with right.under_way.receiving(NOW - 300):
            assert await read() == (True, NOW - 300)
        assert await read() == (True, NOW)

    nodes.run(body)


@on_servers
def test_what_a_node_that_is_gone_committed_last_is_waited_for(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONSISTENCY_WAIT_SECONDS_MAX", 0)
    left, right = nodes.left, nodes.right

    async def body() -> None:
        assert await left.send(submission("a", received_at=NOW - 5_000)) is None
        await left.heartbeat.stop()
        assert await right.freshness.reach(strong=False) == (False, 0)
        await nodes.work()
        assert await right.freshness.reach(strong=False) == (False, NOW)
        assert nodes.pipeline.stored() == 1

    nodes.run(body)


@on_servers
def test_a_node_that_begins_with_a_backlog_looks_back(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FRESHNESS_LOOK_MILLISECONDS", 10)
    monkeypatch.setattr(limits, "CONSISTENCY_WAIT_SECONDS_MAX", 0)
    left, right = nodes.left, nodes.right

    async def body() -> None:
        for number, received_at in enumerate((NOW - 1_000, NOW - 3_000, NOW - 2_000)):
            sent = submission(str(number), received_at=received_at)
            assert await left.send(sent) is None
        block = Block("judged", "events", 1, b"", 1)
        await left.stores.write(blocks.put, [block])  # something older is not stored yet
        looking = asyncio.create_task(right.freshness._look_back())
        assert (await right.freshness.reach(strong=False))[1] == 0
        assert not looking.done()
        await left.stores.write(blocks.release, [block.token])
        await looking
        assert (await right.freshness.reach(strong=False))[1] == NOW - 3_000
        assert (await left.freshness.reach(strong=False))[1] == 0

    nodes.run(body)
