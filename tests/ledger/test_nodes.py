import pytest
import sqlalchemy as sa

from meterhouse.errors import OvertakenError
from meterhouse.ledger import leases, nodes
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.nodes import Node
from meterhouse.ledger.tables import nodes as table

ADA = Node("ada", "api", "left", 4711)
BOB = Node("bob", "worker", "right", 4712)


def test_nodes_are_there_until_they_leave(ledger: Ledger) -> None:
    with ledger.write() as connection:
        nodes.enter(connection, ADA, 10, oldest_under_way=7)
        nodes.enter(connection, BOB, 10, oldest_under_way=8)
        assert [one.id for one in nodes.live(connection)] == ["ada", "bob"]
        (ada,) = nodes.live(connection, ("all", "api"))
        assert ada[:4] == tuple(ADA)
        assert (ada.oldest_under_way, ada.published_at) == (7, ada.since)
        nodes.leave(connection, "ada")
        assert [one.id for one in nodes.live(connection)] == ["bob"]


def test_a_node_tells_of_its_requests_with_each_beat(ledger: Ledger) -> None:
    with ledger.write() as connection:
        nodes.enter(connection, ADA, 10, oldest_under_way=7)
        before = leases.now(connection)
        assert nodes.beat(connection, "ada", 10, oldest_under_way=9)
        (ada,) = nodes.live(connection)
        assert ada.oldest_under_way == 9
        assert before <= ada.published_at <= leases.now(connection)


def test_a_node_that_is_taken_for_dead_commits_nothing_more(ledger: Ledger) -> None:
    with ledger.write() as connection:
        nodes.enter(connection, ADA, 10, oldest_under_way=7)
        assert nodes.expire(connection) == 0
        nodes.check(connection, "ada")
        connection.execute(sa.update(table).values(until=leases.now(connection) - 1))
        nodes.check(connection, "ada")  # nobody has missed it
        assert nodes.expire(connection) == 1
        assert not nodes.beat(connection, "ada", 10, oldest_under_way=9)
        with pytest.raises(OvertakenError, match="taken for dead"):
            nodes.check(connection, "ada")
