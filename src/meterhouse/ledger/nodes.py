"""Nodes: the processes that share a ledger, each known by a row as long as it shows that it lives.

What a reader may rely on:

- Who has no row commits nothing that is acknowledged (`check`), and a row stays while its node
  commits. So what the rows say of requests under way holds for all that is acknowledged later.
- A node whose row has gone must refuse what it has under way before it enters anew.
"""

from collections.abc import Collection
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse.errors import OvertakenError
from meterhouse.ledger import leases
from meterhouse.ledger.tables import nodes


class Node(NamedTuple):
    """A process that shares a ledger: its role, and where it runs."""

    id: str
    role: str
    host: str
    pid: int


class LiveNode(NamedTuple):
    """A node, since when it is here, and what it last told of its requests, by its own clock.

    `since` and `published_at` are instants of the database's clock; `oldest_under_way` is when the
    oldest request under way came, or when the node looked and there was none.
    """

    id: str
    role: str
    host: str
    pid: int
    since: int
    published_at: int
    oldest_under_way: int


_columns = tuple(nodes.c[name] for name in LiveNode._fields)
_lock = sa.select(nodes.c.id).where(nodes.c.id == sa.bindparam("node"))
_lock = _lock.with_for_update(read=True, key_share=True)


def enter(connection: sa.Connection, node: Node, seconds: float, oldest_under_way: int) -> None:
    """Be among the nodes for a while."""
    now = leases.now(connection)
    connection.execute(
        sa.insert(nodes).values(
            **node._asdict(),
            since=now,
            until=now + round(seconds * 1_000),
            published_at=now,
            oldest_under_way=oldest_under_way,
        )
    )


def beat(connection: sa.Connection, node_id: str, seconds: float, oldest_under_way: int) -> bool:
    """Be among the nodes for a while from now on; False when the row has gone."""
    now = leases.now(connection)
    return bool(
        connection.execute(
            sa.update(nodes)
            .where(nodes.c.id == node_id)
            .values(
                until=now + round(seconds * 1_000),
                published_at=now,
                oldest_under_way=oldest_under_way,
            )
        ).rowcount
    )


def check(connection: sa.Connection, node_id: str) -> None:
    """Make sure that a node is known until the transaction ends, or raise `OvertakenError`."""
    if connection.execute(_lock, {"node": node_id}).first() is None:
        raise OvertakenError("This process was taken for dead, and has to begin anew.")


def live(
    connection: sa.Connection, roles: Collection[str] = ("all", "api", "worker")
) -> list[LiveNode]:
    """Return the nodes of some roles, oldest first; one that has died stays until it expires."""
    query = sa.select(*_columns).where(nodes.c.role.in_(roles)).order_by(nodes.c.since, nodes.c.id)
    return [LiveNode(*row) for row in connection.execute(query)]


def end_all(connection: sa.Connection) -> None:
    """Forget every node; none of them may be alive."""
    connection.execute(sa.delete(nodes))


def expire(connection: sa.Connection) -> int:
    """Forget the nodes whose time is over; return how many went.

    One that commits at the moment stays, and nobody waits for it: it may have been stopped there.
    """
    over = sa.select(nodes.c.id).where(nodes.c.until < leases.now(connection))
    statement = sa.delete(nodes).where(nodes.c.id.in_(over.with_for_update(skip_locked=True)))
    return connection.execute(statement).rowcount


def leave(connection: sa.Connection, node_id: str) -> None:
    """Be no node any more."""
    connection.execute(sa.delete(nodes).where(nodes.c.id == node_id))
