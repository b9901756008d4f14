"""Listening Stripe CLIs, and how far each has heard: so that one goes on after a restart.

A row is there from the beginning of a session until the CLI has stayed away for too long. It names
the server that serves the session, of several on one ledger: the one that the CLI has reached last.
No other changes the row but to become that one, or to have something told again.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.ledger import accounts, notifications
from meterhouse.ledger.tables import listeners
from meterhouse.metering.model import Scope
from meterhouse.wire.notification import Notification
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


class Again(NamedTuple):
    """A notification of a scope to be told again; `account` is that of its connected account."""

    scope: int
    notification: str
    account: str | None


class Taken(NamedTuple):
    """A session that a server serves from now on; `mine` tells that it has done so before."""

    session: Listening
    mine: bool


_own = listeners.c.server == sa.bindparam("own")
_move = (
    sa.update(listeners)
    .where(listeners.c.id == sa.bindparam("listener"), _own)
    .values(since=sa.bindparam("heard"))
)
_expired = (
    sa.select(listeners.c.id)
    .where(listeners.c.until < sa.bindparam("now"))
    .limit(sa.bindparam("rows"))
)


def put(connection: sa.Connection, one: Listening, server: str, until: int) -> None:
    """Keep a session that begins, and that a server keeps until an instant at least."""
    row: dict[str, Any] = one._asdict() | {
        "scope": one.scope.id,
        "features": sorted(one.features),
        "filters": msgspec.to_builtins(one.filters),
        "server": server,
        "until": until,
        "again": [],
    }
    connection.execute(sa.insert(listeners), row)


def take_all(connection: sa.Connection, server: str) -> list[Listening]:
    """Have a server serve every session that is kept; return them."""
    connection.execute(sa.update(listeners).values(server=server))
    rows = connection.execute(sa.select(listeners)).mappings().all()
    scopes = accounts.scopes_by_id(connection) if rows else {}
    return [_session(row, scopes) for row in rows]


def take(
    connection: sa.Connection, listener: str, account: str, server: str, until: int
) -> Taken | None:
    """Have a server serve a session; None when the account has no such one."""
    one = listeners.c.id == listener
    query = sa.select(listeners).where(one).with_for_update()
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    session = _session(row, accounts.scopes_by_id(connection))
    if session.scope.account != account:
        return None
    connection.execute(sa.update(listeners).where(one).values(server=server, until=until))
    return Taken(session, row["server"] == server)


def served(connection: sa.Connection, server: str) -> dict[str, bool]:
    """Return the ids of the sessions of a server, and whether something is to be told again."""
    query = sa.select(listeners.c.id, listeners.c.again).where(_own)
    return {row.id: bool(row.again) for row in connection.execute(query, {"own": server})}


def keep(connection: sa.Connection, server: str, until: int) -> None:
    """Let the sessions of a server last until an instant."""
    connection.execute(sa.update(listeners).where(_own).values(until=until), {"own": server})


def keep_all(connection: sa.Connection, until: int) -> None:
    """Let all sessions last until an instant at least: who served them may have been away."""
    connection.execute(sa.update(listeners).where(listeners.c.until < until).values(until=until))


def tell_again(connection: sa.Connection, scope: int, again: Again) -> None:
    """Have a notification told again to who listens to a scope, as far as there is room for it."""
    query = sa.select(listeners.c.id, listeners.c.again).where(listeners.c.scope == scope)
    for row in connection.execute(query.order_by(listeners.c.id).with_for_update()).all():
        waiting = [*row.again, again][-limits.CLI_WAITING_FRAMES_MAX :]
        one = sa.update(listeners).where(listeners.c.id == row.id)
        connection.execute(one.values(again=waiting))


def take_again(
    connection: sa.Connection, server: str
) -> list[tuple[str, Again, Notification | None]]:
    """Take what is to be told again from a server's sessions; return it with their ids.

    A notification that is no longer kept is None.
    """
    query = sa.select(listeners.c.id, listeners.c.again).where(_own).order_by(listeners.c.id)
    rows = connection.execute(query.with_for_update(), {"own": server}).all()
    connection.execute(sa.update(listeners).where(_own).values(again=[]), {"own": server})
    every = [(row.id, Again(*one)) for row in rows for one in row.again]
    return [
        (listener, again, notifications.find(connection, again.scope, again.notification))
        for listener, again in every
    ]


def move(connection: sa.Connection, server: str, heard: Collection[tuple[str, int]]) -> None:
    """Keep how far sessions of a server, named by their ids, have heard."""
    for listener, number in heard:
        connection.execute(_move, {"listener": listener, "heard": number, "own": server})


def forget(connection: sa.Connection, server: str, ids: Collection[str]) -> None:
    """Delete sessions of a server that have ended."""
    connection.execute(sa.delete(listeners).where(listeners.c.id.in_(ids), _own), {"own": server})


def forget_all(connection: sa.Connection) -> int:
    """Delete every session; return how many there were."""
    return connection.execute(sa.delete(listeners)).rowcount


def expire(connection: sa.Connection, now: int, rows_max: int) -> int:
    """Delete up to `rows_max` sessions that nobody keeps any more; return how many went."""
    expired = sa.delete(listeners).where(listeners.c.id.in_(_expired))
    return connection.execute(expired, {"now": now, "rows": rows_max}).rowcount


def _session(row: sa.RowMapping, scopes: Mapping[int, Scope]) -> Listening:
    return Listening(
        row["id"],
        scopes[row["scope"]],
        row["key"],
        row["device"],
        frozenset(row["features"]),
        msgspec.convert(row["filters"], LogFilters),
        row["since"],
    )
