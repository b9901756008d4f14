"""How far two nodes on one ledger know that a third process has come."""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.errors import StoreError
from meterhouse.ledger import leases, partitions, tables
from meterhouse.ledger import nodes as ledger_nodes
from meterhouse.ledger.nodes import Node as Row
from meterhouse.processing.progress import SharedProgress
from tests.nodes import Node, Nodes, on_servers
from tests.pipeline import submission
from tests.processing.workers import PARTITIONS

pytestmark = on_servers

WORKER = Row("worker", "worker", "here", 1)


def test_a_strong_read_at_one_sees_what_the_other_acknowledged(nodes: Nodes) -> None:
    async def body() -> None:
        assert await nodes.left.send(submission("a")) is None
        nodes.right.asked.clear()
        reading = asyncio.create_task(nodes.right.progress.reach(strong=True))
        await nodes.right.asked.wait()
        assert not reading.done()
        await nodes.work()
        assert await reading
        assert nodes.pipeline.stored() == 1

    nodes.run(body)


def test_a_strong_read_waits_for_every_partition(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONSISTENCY_WAIT_SECONDS_MAX", 0.2)

    async def body() -> None:
        with nodes.left.stores._ledger.write() as connection:
            now = leases.now(connection) + 60_000
            for number in range(PARTITIONS - 1):
                partitions.publish(connection, [(number, now, 0)])
        assert not await nodes.left.progress.reach(strong=True)
        assert not await nodes.left.progress.settle(0.01)

    nodes.run(body)


def test_a_clock_of_the_database_that_was_set_back_tells_nothing(nodes: Nodes) -> None:
    async def body() -> None:
        with nodes.left.stores._ledger.write() as connection:
            ahead = leases.now(connection) + 60_000
            connection.execute(sa.update(tables.partitions).values(as_of=ahead))
        assert not await nodes.left.progress.settle(0.1)

    nodes.run(body)


async def enter(nodes: Nodes) -> None:
    """Let there be a worker that has nothing."""
    await nodes.left.stores.write(ledger_nodes.enter, WORKER, 10, 0)


async def told(node: Node, *, strong: bool = False) -> bool:
    """Ask, and tell whether the owners were told that somebody waits."""
    node.asked.clear()
    await node.progress.reach(strong=strong)
    return node.asked.is_set()


def test_an_empty_journal_keeps_nobody_waiting(nodes: Nodes) -> None:
    async def body() -> None:
        assert not await told(nodes.left)

    nodes.run(body)


def test_who_does_not_ask_for_all_waits_for_what_was_held_back(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONSISTENCY_WAIT_SECONDS_MAX", 0.05)

    async def body() -> None:
        assert await nodes.left.send(submission("a")) is None
        monkeypatch.setattr(limits, "PROCESS_ASKED_MILLISECONDS", 0)
        assert not await told(nodes.right)  # for nobody is there who holds it back
        await enter(nodes)
        assert await told(nodes.right)
        monkeypatch.undo()
        monkeypatch.setattr(limits, "CONSISTENCY_WAIT_SECONDS_MAX", 60)
        await nodes.left.stores.write(ledger_nodes.leave, WORKER.id)  # it would get its share
        await nodes.work()
        assert await nodes.left.send(submission("b")) is None
        for name in ("PROCESS_ASKED_MILLISECONDS", "PROGRESS_LAG_MILLISECONDS"):
            monkeypatch.setattr(limits, name, 60_000)
        assert not await told(nodes.right)  # it has just asked
        monkeypatch.setattr(limits, "PROCESS_ASKED_MILLISECONDS", 0)
        assert await told(nodes.right)
        assert nodes.pipeline.stored() == 2

    nodes.run(body)


def test_where_much_is_on_its_way_nobody_waits_for_all_of_it(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PROCESS_HELD_EVENTS_MAX", 1)

    async def body() -> None:
        assert await nodes.left.send(submission("a")) is None
        await enter(nodes)
        with nodes.left.stores._ledger.write() as connection:
            some_time_ago = leases.now(connection) - limits.PROGRESS_LAG_MILLISECONDS // 2
            for number in range(PARTITIONS):
                partitions.publish(connection, [(number, some_time_ago, 0)])
        assert not await told(nodes.right)

    nodes.run(body)


def test_where_processing_is_behind_nobody_waits(nodes: Nodes) -> None:
    async def body() -> None:
        assert await nodes.left.send(submission("a")) is None
        await enter(nodes)
        with nodes.left.stores._ledger.write() as connection:
            partitions.publish(connection, [(0, 1, limits.PROCESS_BATCH_EVENTS_MAX)])
        assert not await told(nodes.right)

    nodes.run(body)


def test_a_ledger_that_does_not_answer_for_a_while_loses_no_reader(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = SharedProgress._see
    failed = asyncio.Event()

    async def failing(progress: SharedProgress) -> Any:
        if nodes.right.asked.is_set() and not failed.is_set():
            failed.set()
            raise StoreError("the connection is lost")
        return await seen(progress)

    monkeypatch.setattr(SharedProgress, "_see", failing)

    async def body() -> None:
        assert await nodes.left.send(submission("a")) is None
        reading = asyncio.create_task(nodes.right.progress.reach(strong=True))
        await failed.wait()
        await nodes.work()
        assert await reading

    nodes.run(body)


def test_what_waits_at_all_nodes_counts_and_who_is_there(nodes: Nodes) -> None:
    async def body() -> None:
        progress, acceptor = nodes.left.progress, nodes.left.acceptor
        await progress._count()
        assert (progress.api_nodes, acceptor.journal_events) == (2, 0)
        with nodes.left.stores._ledger.write() as connection:
            for number in range(PARTITIONS):
                partitions.publish(connection, [(number, 1, 1_000)])
        await progress._count()
        assert await nodes.left.send(submission("a")) is None
        assert acceptor.journal_events == PARTITIONS * 1_000 + 1
        await nodes.right.heartbeat.stop()
        await progress._count()
        assert progress.api_nodes == 1

    nodes.run(body)


def test_a_backlog_of_all_partitions_is_an_overload(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "JOURNAL_LAG_EVENTS_MAX", 100)

    async def body() -> None:
        for backlog, queue in ((50, "journal"), (49, None)):
            with nodes.left.stores._ledger.write() as connection:
                for number in range(2):
                    partitions.publish(connection, [(number, 1, backlog)])
            await nodes.right.progress._count()
            assert nodes.right.acceptor.overloaded() == queue

    nodes.run(body)


def test_it_looks_by_itself(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PROGRESS_LOOK_SECONDS", 0.01)

    async def body() -> None:
        nodes.left.progress.start()
        while nodes.left.progress.api_nodes < 2:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0)
        await nodes.left.progress.stop()

    nodes.run(body)
