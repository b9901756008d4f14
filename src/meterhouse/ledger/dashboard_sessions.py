"""Who is signed in to the dashboard: one session for each browser.

- A browser holds a token, the ledger its digest: who reads the ledger cannot sign in by it.
- A session ends by being deleted: when somebody signs out, with its user, by another password, or
  when its time is over. What its user may do is no part of it, and is read with it.
- One without a user was let in by a link (`meterhouse serve --open-dashboard`).
"""

from collections.abc import Collection
from typing import Any

import msgspec
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.ledger.tables import dashboard_sessions, users
from meterhouse.ledger.users import Role
from meterhouse.wire.ids import new_id

_SEEN = limits.DASHBOARD_SESSION_SEEN_SECONDS * 1_000


class DashboardSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session; what its user is, and may do, is None where a link has let somebody in.

    `address` is where the browser was when it signed in, empty where only the Unix socket is known.
    """

    id: str
    user: str | None
    role: Role | None
    accounts: list[str] | None
    livemode: bool | None
    address: str
    browser: str
    created: int
    last_seen: int
    expires_at: int


_table = dashboard_sessions
_OWN = ("id", "address", "browser", "created", "last_seen", "expires_at")
_sessions = sa.select(
    *(_table.c[name] for name in _OWN),
    _table.c.user_name.label("user"),
    users.c.role,
    users.c.accounts,
    users.c.livemode,
).outerjoin_from(_table, users)
_found = _sessions.where(_table.c.digest == sa.bindparam("wanted"))
_expired = (
    sa.select(_table.c.seq)
    .where(_table.c.expires_at < sa.bindparam("now"))
    .order_by(_table.c.expires_at)
    .limit(sa.bindparam("rows"))
)
_expire = sa.delete(_table).where(_table.c.seq.in_(_expired))


def create(
    connection: sa.Connection,
    digest: bytes,
    user: tuple[str, str] | None,
    *,
    address: str,
    browser: str,
    now: int,
    expires_at: int,
) -> str | None:
    """Sign a browser in as `user`: a name, and the hash of the password that was checked.

    Return the id of the session; None when the user has been deleted, or has another password by
    now. Beyond as many sessions as a user may have, those go that were seen longest ago.
    """
    name = user[0] if user else None
    if user and not _still(connection, *user):
        return None
    session = new_id("dses")
    row = {
        "id": session,
        "digest": digest,
        "user_name": name,
        "address": address,
        "browser": browser,
        "created": now,
        "last_seen": now,
        "expires_at": expires_at,
    }
    connection.execute(sa.insert(_table), row)
    newest = sa.select(_table.c.seq).where(_of(name))
    newest = newest.order_by(_table.c.last_seen.desc(), _table.c.seq.desc())
    beyond = connection.execute(newest.offset(limits.DASHBOARD_SESSION_ITEMS_MAX)).scalars().all()
    connection.execute(sa.delete(_table).where(_table.c.seq.in_(beyond)))
    return session


def find(connection: sa.Connection, digest: bytes) -> DashboardSession | None:
    """Return the session whose token has this digest, whether or not its time is over."""
    row = connection.execute(_found, {"wanted": digest}).mappings().one_or_none()
    return _session(row) if row else None


def saw(connection: sa.Connection, session_id: str, now: int) -> None:
    """Note that a session was seen; nothing happens if that was noted just before."""
    connection.execute(
        sa.update(_table)
        .where(_table.c.id == session_id, _table.c.last_seen <= now - _SEEN)
        .values(last_seen=now)
    )


def list_sessions(connection: sa.Connection, now: int) -> list[DashboardSession]:
    """Return everybody's sessions whose time is not over, the one that was seen last first."""
    return _list(connection, sa.true(), now)


def sessions_of(connection: sa.Connection, user: str | None, now: int) -> list[DashboardSession]:
    """Return the sessions of a user, or those of links, the one that was seen last first."""
    return _list(connection, _of(user), now)


def still_held(connection: sa.Connection, ids: Collection[str], now: int) -> set[str]:
    """Return which of these sessions have not ended."""
    query = sa.select(_table.c.id).where(_table.c.id.in_(ids), _table.c.expires_at >= now)
    return set(connection.execute(query).scalars())


def end(connection: sa.Connection, user: str | None, session_id: str) -> bool:
    """End a session of a user, or of a link; False when there is no such one."""
    own = sa.delete(_table).where(_of(user), _table.c.id == session_id)
    return connection.execute(own).rowcount > 0


def end_by_digest(connection: sa.Connection, digest: bytes) -> tuple[str, str | None] | None:
    """End the session whose token has this digest; return its id and user, if there is one."""
    gone = sa.delete(_table).where(_table.c.digest == digest)
    row = connection.execute(gone.returning(_table.c.id, _table.c.user_name)).one_or_none()
    return None if row is None else (row.id, row.user_name)


def end_all(connection: sa.Connection, user: str | None) -> list[str]:
    """End all sessions of a user, or all of links; return their ids."""
    gone = sa.delete(_table).where(_of(user)).returning(_table.c.id)
    return list(connection.execute(gone).scalars())


def end_everybodys(connection: sa.Connection) -> int:
    """End every session there is; return how many there were."""
    return connection.execute(sa.delete(_table)).rowcount


def expire(connection: sa.Connection, now: int, rows_max: int) -> int:
    """Delete up to `rows_max` of the sessions whose time is over; return how many went."""
    return connection.execute(_expire, {"now": now, "rows": rows_max}).rowcount


def _still(connection: sa.Connection, name: str, password_hash: str) -> bool:
    """Tell whether a user has this password, who then keeps it until the transaction ends."""
    query = sa.select(users.c.password_hash).where(users.c.name == name).with_for_update()
    return connection.execute(query).scalar_one_or_none() == password_hash


def _of(user: str | None) -> sa.ColumnElement[bool]:
    return _table.c.user_name.is_(None) if user is None else _table.c.user_name == user


def _list(
    connection: sa.Connection, whose: sa.ColumnElement[bool], now: int
) -> list[DashboardSession]:
    query = _sessions.where(whose, _table.c.expires_at >= now).order_by(
        _table.c.last_seen.desc(), _table.c.seq.desc()
    )
    return [_session(row) for row in connection.execute(query).mappings()]


def _session(row: sa.RowMapping) -> DashboardSession:
    values: dict[str, Any] = dict(row)
    return DashboardSession(**values)
