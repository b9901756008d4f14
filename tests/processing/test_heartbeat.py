import asyncio

import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.errors import OvertakenError
from meterhouse.ledger import nodes as ledger_nodes
from meterhouse.ledger import tables
from tests.nodes import Node, Nodes, on_servers

pytestmark = on_servers


def known(nodes: Nodes) -> dict[str, int]:
    """Return what is known of each node: since when it has requests under way."""
    with nodes.left.stores._ledger.read() as connection:
        return {one.id: one.oldest_under_way for one in ledger_nodes.live(connection)}


def miss(nodes: Nodes, node: Node) -> None:
    """Let the time of a node be over."""
    with nodes.left.stores._ledger.write() as connection:
        mine = tables.nodes.c.id == node.heartbeat.node
        connection.execute(sa.update(tables.nodes).where(mine).values(until=1))


def test_a_node_tells_since_when_it_has_requests_under_way(nodes: Nodes) -> None:
    left = nodes.left

    async def body() -> None:
        now = left.clock.now()
        with left.under_way.receiving(now - 5):
            await left.heartbeat.beat()
            assert known(nodes)[left.heartbeat.node] == now - 5
        left.clock.advance(7)
        await left.heartbeat.beat()
        assert known(nodes)[left.heartbeat.node] == now + 7
        await left.heartbeat.stop()
        assert known(nodes).keys() == {nodes.right.heartbeat.node}

    nodes.run(body)


def test_a_node_that_stood_still_answers_what_it_has_before_it_begins_anew(nodes: Nodes) -> None:
    left = nodes.left

    async def body() -> None:
        miss(nodes, left)
        await nodes.right.heartbeat.beat()
        assert known(nodes).keys() == {nodes.right.heartbeat.node}
        request = left.under_way.receiving(left.clock.now())
        request.__enter__()
        beating = asyncio.create_task(left.heartbeat.beat())
        while left.heartbeat._known:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0)
        left.clock.advance(1_000)
        with left.under_way.receiving(left.clock.now()):  # it came since
            with pytest.raises(OvertakenError, match="begins anew"):
                await left.stores.fenced(left.heartbeat).write(lambda _: None)
            assert not beating.done()
            request.__exit__()
            await beating
        assert known(nodes)[left.heartbeat.node] == left.clock.now()
        await left.stores.fenced(left.heartbeat).write(lambda _: None)

    nodes.run(body)


def test_a_node_whose_time_is_over_goes_on_as_long_as_nobody_missed_it(nodes: Nodes) -> None:
    async def body() -> None:
        miss(nodes, nodes.left)
        await nodes.left.stores.fenced(nodes.left.heartbeat).write(lambda _: None)
        await nodes.left.heartbeat.beat()
        await nodes.right.heartbeat.beat()
        assert len(known(nodes)) == 2

    nodes.run(body)


def test_nobody_waits_for_a_node_that_was_stopped_within_a_commit(nodes: Nodes) -> None:
    async def body() -> None:
        miss(nodes, nodes.left)
        with nodes.left.stores._ledger.write() as connection:
            nodes.left.heartbeat.check(connection)
            await nodes.right.heartbeat.beat()
            assert len(known(nodes)) == 2
        await nodes.right.heartbeat.beat()
        assert len(known(nodes)) == 1

    nodes.run(body)


def test_it_beats_by_itself(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NODE_BEAT_SECONDS", 0.01)

    async def body() -> None:
        nodes.left.heartbeat.start()
        nodes.left.clock.advance(1_000)
        node, now = nodes.left.heartbeat.node, nodes.left.clock.now()
        while known(nodes)[node] < now:  # noqa: ASYNC110 - the ledger tells nobody
            await asyncio.sleep(0.01)

    nodes.run(body)
