"""Leases: who does alone what several processes could do, and until when.

What a reader may rely on:

- A lease has one owner at a time. Its epoch grows whenever the owner changes.
- Only the clock of the database counts (`now`). Who does not renew a lease in time may lose it.
- A transaction that begins with `check` commits before anybody else takes the lease, or not at all.
  Renewing waits for nobody's commits.
"""

from collections.abc import Mapping
from contextlib import closing
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse.clock import SystemClock
from meterhouse.errors import OvertakenError, StoreError
from meterhouse.ledger.dialect import insert_missing
from meterhouse.ledger.tables import leases


class Held(NamedTuple):
    """A lease that is somebody's: the owner's epoch, and until when by the database's clock."""

    owner: str
    epoch: int
    until: int


NOBODY = ""

_now = sa.select(
    sa.cast(sa.func.floor(sa.extract("epoch", sa.func.clock_timestamp()) * 1_000), sa.BigInteger)
)
_of_name = leases.c.name == sa.bindparam("wanted")
_find = sa.select(leases.c.owner, leases.c.epoch, leases.c.until).where(_of_name)
_EPOCHS = "SELECT name, epoch FROM leases WHERE name IN ({})"


def now(connection: sa.Connection) -> int:
    """Return what the clock of the database shows, in ms; on SQLite that is this machine's."""
    if connection.dialect.name == "sqlite":
        return SystemClock().now()
    reached: int = connection.execute(_now).scalar_one()
    return reached


def take(connection: sa.Connection, name: str, owner: str, seconds: float) -> int | None:
    """Take a lease for a while, if it is free, over or the owner's; return its epoch.

    None tells that somebody else has it, or commits by its right at this moment: nobody waits for
    one whose process may have been stopped in the middle of that.
    """
    if _anothers(connection, _find, name, owner):
        return None
    _make(connection, name)
    locked = _find.with_for_update(skip_locked=True)
    if _anothers(connection, locked, name, owner) is not False:
        return None
    mine = leases.c.owner == owner
    statement = (
        sa.update(leases)
        .where(_of_name)
        .values(
            owner=owner,
            epoch=leases.c.epoch + sa.case((mine, 0), else_=1),
            until=_after(connection, seconds),
        )
        .returning(leases.c.epoch)
    )
    epoch: int = connection.execute(statement, {"wanted": name}).scalar_one()
    return epoch


def renew(connection: sa.Connection, owner: str, seconds: float) -> dict[str, int]:
    """Have all that is an owner's for a while from now on; return the epochs by name."""
    statement = (
        sa.update(leases)
        .where(leases.c.owner == owner)
        .values(until=_after(connection, seconds))
        .returning(leases.c.name, leases.c.epoch)
    )
    return {row.name: row.epoch for row in connection.execute(statement)}


def release(connection: sa.Connection, name: str, owner: str) -> None:
    """Let somebody else take a lease, if it is this owner's still."""
    connection.execute(
        sa.update(leases)
        .where(leases.c.name == name, leases.c.owner == owner)
        .values(owner=NOBODY, until=0)
    )


def end_all(connection: sa.Connection) -> None:
    """Let everything be free; nobody who has something may be alive."""
    connection.execute(sa.update(leases).values(owner=NOBODY, until=0))


def held(connection: sa.Connection) -> dict[str, Held]:
    """Return the leases that are somebody's, by name; the time of some may be over."""
    query = sa.select(leases).where(leases.c.owner != NOBODY)
    return {row.name: Held(row.owner, row.epoch, row.until) for row in connection.execute(query)}


def check(connection: sa.Connection, epochs: Mapping[str, int | None]) -> None:
    """Make sure that leases stay in their epochs, by name, until the transaction ends.

    Raises `OvertakenError` when one is in another.
    """
    for name in sorted(epochs.keys() - lasting(connection, epochs)):
        raise OvertakenError(f"Another process has taken over what '{name}' names.")


def lasting(connection: sa.Connection, epochs: Mapping[str, int | None]) -> set[str]:
    """Return the leases that are in these epochs, by name, and stay so until the transaction ends.

    The driver is asked itself: each transaction of an owner begins like this, and SQLAlchemy would
    take several times as long.
    """
    sqlite = connection.dialect.name == "sqlite"
    names = ", ".join(("?" if sqlite else "%s") for _ in epochs)
    statement = _EPOCHS.format(names) + ("" if sqlite else " FOR KEY SHARE")
    try:
        with closing(connection.connection.cursor()) as cursor:
            cursor.execute(statement, tuple(epochs))
            found = dict(cursor.fetchall())
    except connection.dialect.loaded_dbapi.Error as error:
        raise StoreError(f"The ledger does not answer: {error}") from error
    return {
        name for name, epoch in epochs.items() if epoch is not None and epoch == found.get(name)
    }


def _anothers(
    connection: sa.Connection, query: sa.Select[tuple[str, int, int]], name: str, owner: str
) -> bool | None:
    """Tell whether somebody else has a lease whose time is not over; None where there is none."""
    row = connection.execute(query, {"wanted": name}).one_or_none()
    if row is None:
        return None
    return row.owner not in (owner, NOBODY) and row.until > now(connection)


def _make(connection: sa.Connection, name: str) -> None:
    """Make a lease that nobody has, unless there is one of the name."""
    row = {"name": name, "owner": NOBODY, "epoch": 0, "until": 0}
    connection.execute(insert_missing(connection.dialect.name, leases), row)


def _after(connection: sa.Connection, seconds: float) -> int:
    return now(connection) + round(seconds * 1_000)
