"""Who owns a ledger: the one Meterhouse that processes it, or the processes that share it.

What a reader may rely on:

- An owner is alone, or it shares a ledger on PostgreSQL with others who do so, too. Who shares it
  and who wants it alone keep each other out.
- A lock tells the owner from everybody else, and ends with its process, however that ends: on
  PostgreSQL an advisory lock of the session that the owner writes in, on SQLite a lock on the
  database's file itself, which is the same file whatever path or link leads to it.
- A row of the ledger tells who the owner is. Its epoch grows whenever somebody takes the ledger
  over, and the owner looks at it in each of its transactions. So even where a lock did not hold,
  as on a file system that knows none, who was overtaken writes nothing more.
- Who is not the owner may read, and write what the owner takes from the ledger: keys, accounts,
  users.
"""

import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event

from meterhouse.config import shown
from meterhouse.errors import InUseError, StoreError
from meterhouse.folder import close_to_others, locked_in_time, succeeds_in_time
from meterhouse.ledger.locks import Lock, key_of
from meterhouse.ledger.tables import owner as owners

_TRY_LOCK = f"SELECT pg_try_advisory_lock{key_of(Lock.OWNER)}"
_TRY_SHARE = f"SELECT pg_try_advisory_lock_shared{key_of(Lock.OWNER)}"
_EPOCH = "SELECT epoch FROM owner"
_FOUND = "SELECT host, pid, data_dir, since FROM owner WHERE epoch > 0"
_SHARING = "SELECT role, host, pid FROM nodes ORDER BY since, id"


class Owner(NamedTuple):
    """A Meterhouse that processes a ledger: where it runs, its data folder, and since when."""

    host: str
    pid: int
    data_dir: str
    since: int

    @classmethod
    def here(cls, data_dir: Path, now: int) -> Self:
        """Return the owner that this process is."""
        return cls(socket.gethostname(), os.getpid(), shown(data_dir), now)

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return (
            f"that of the data folder {self.data_dir} on host {self.host}, process {self.pid}, "
            f"since {since}"
        )


@contextmanager
def file_locked(path: Path) -> Iterator[None]:
    """Keep the lock of the SQLite database at `path`, which is made where it is missing.

    No connection of this process to the database may be open before or after, for SQLite loses its
    own locks when any descriptor of the file is closed. Raises `InUseError` that tells who has the
    lock.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        # SQLite gives the mode of the file to those that it makes beside it.
        close_to_others(path, (Path(f"{path}-wal"), Path(f"{path}-shm")))
        if not locked_in_time(descriptor):
            raise _refusal(_found_in_file(path))
        yield
    finally:
        os.close(descriptor)


def lock_sessions(writer: sa.Engine, reader: sa.Engine, *, alone: bool) -> None:
    """Let no session of `writer` on PostgreSQL begin without the lock, `alone` or beside others.

    A session that is lost takes the lock with it, and the next one takes it anew. Connecting raises
    `InUseError` that tells who has the lock.
    """

    def lock(connection: Any, _: object) -> None:
        with ExitStack() as without:
            without.callback(connection.close)
            statement = _TRY_LOCK if alone else _TRY_SHARE
            if not succeeds_in_time(lambda: bool(connection.execute(statement).fetchone()[0])):
                raise _refusal(_found(reader))
            connection.commit()
            without.pop_all()

    event.listen(writer, "connect", lock)


def take_over(connection: sa.Connection, owner: Owner) -> int:
    """Become the owner; return the epoch that begins."""
    statement = sa.update(owners).values(epoch=owners.c.epoch + 1, **owner._asdict())
    epoch: int = connection.execute(statement.returning(owners.c.epoch)).scalar_one()
    return epoch


def join(connection: sa.Connection, now: int) -> int:
    """Become one of those who share a ledger; return their epoch, which the first one begins."""
    nobody = Owner("", 0, "", now)
    one_is_alone = sa.or_(owners.c.epoch == 0, owners.c.host != nobody.host)
    begin = sa.update(owners).where(one_is_alone)
    connection.execute(begin.values(epoch=owners.c.epoch + 1, **nobody._asdict()))
    epoch: int = connection.execute(sa.select(owners.c.epoch)).scalar_one()
    return epoch


def epoch_of(connection: sa.Connection, *, keep: bool) -> int | None:
    """Return the epoch; with `keep` it stays until the transaction ends, which must be a writer's.

    On SQLite it does so anyway, for there is one writer at a time. The driver is asked itself: each
    transaction of the owner begins like this, and SQLAlchemy would take several times as long.
    """
    locking = " FOR SHARE" if keep and connection.dialect.name == "postgresql" else ""
    try:
        with closing(connection.connection.cursor()) as cursor:
            cursor.execute(_EPOCH + locking)
            row = cursor.fetchone()
    except connection.dialect.loaded_dbapi.Error as error:
        raise StoreError(f"The ledger does not answer: {error}") from error
    return int(row[0]) if row else None


def write_down(writer: sa.Engine) -> None:
    """Bring what SQLite has in its log into the file, where `_found_in_file` looks."""
    with suppress(sqlite3.Error), closing(writer.raw_connection()) as connection:
        connection.cursor().execute("PRAGMA wal_checkpoint(FULL)")


def _found(reader: sa.Engine) -> object:
    """Return who has the lock, in words that can be shown; None where nothing tells."""
    with suppress(sa.exc.SQLAlchemyError), reader.begin() as connection:
        row = connection.exec_driver_sql(_FOUND).first()
        if row and row.host:
            return Owner(*row)
        sharing = connection.exec_driver_sql(_SHARING).all()
        if sharing:
            nodes = "; ".join(
                f"{one.role} on host {one.host}, process {one.pid}" for one in sharing
            )
            return f"the processes that share it ({nodes})"
    return None


def _found_in_file(path: Path) -> Owner | None:
    """Return who the file alone says that it is.

    SQLite keeps its log beside the name that a database was opened by, and `path` may be another.
    """
    url = f"file:{quote(os.fsencode(path.absolute()))}?mode=ro&immutable=1"
    with suppress(sqlite3.Error), closing(sqlite3.connect(url, uri=True)) as database:
        row = database.execute(_FOUND).fetchone()
        return Owner(*row) if row else None
    return None


def _refusal(owner: object) -> InUseError:
    whose = f": {owner}" if owner else ""
    return InUseError(
        f"Another Meterhouse processes this ledger{whose}. Stop that one, or choose another ledger "
        "with --database-url or --data-dir."
    )
