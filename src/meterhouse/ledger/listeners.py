"""Listening Stripe CLIs, and how far each has heard: so that one goes on after a restart.

A row is there from the beginning of a session until the CLI has stayed away for too long.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from meterhouse.ledger import accounts
from meterhouse.ledger.tables import listeners
from meterhouse.metering.model import Scope
from meterhouse.wire.stripecli import Feature, LogFilters


class Listening(NamedTuple):
    """A session of a CLI on `device`: what it wants to hear.

    It lasts as long as `key` is good, the id of the one that began it; None for the operator. It
    has heard everything up to the notification numbered `since`, as far as it wants it.
    """

    id: str
    scope: Scope
    key: str | None
    device: str
    features: frozenset[Feature]
    filters: LogFilters
    since: int


_move = (
    sa.update(listeners)
    .where(listeners.c.id == sa.bindparam("listener"))
    .values(since=sa.bindparam("heard"))
)


def put(connection: sa.Connection, one: Listening) -> None:
    """Keep a session that begins."""
    row: dict[str, Any] = one._asdict() | {
        "scope": one.scope.id,
        "features": sorted(one.features),
        "filters": msgspec.to_builtins(one.filters),
    }
    connection.execute(sa.insert(listeners), row)


def read(connection: sa.Connection) -> list[Listening]:
    """Return every session that is kept."""
    rows = connection.execute(sa.select(listeners)).mappings().all()
    scopes = accounts.scopes_by_id(connection) if rows else {}
    return [
        Listening(
            row["id"],
            scopes[row["scope"]],
            row["key"],
            row["device"],
            frozenset(row["features"]),
            msgspec.convert(row["filters"], LogFilters),
            row["since"],
        )
        for row in rows
    ]


def move(connection: sa.Connection, heard: Collection[tuple[str, int]]) -> None:
    """Keep how far sessions, named by their ids, have heard."""
    for listener, number in heard:
        connection.execute(_move, {"listener": listener, "heard": number})


def forget(connection: sa.Connection, ids: Collection[str]) -> None:
    """Delete sessions that have ended."""
    connection.execute(sa.delete(listeners).where(listeners.c.id.in_(ids)))


def forget_all(connection: sa.Connection) -> int:
    """Delete every session; return how many there were."""
    return connection.execute(sa.delete(listeners)).rowcount
