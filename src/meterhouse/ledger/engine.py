"""The ledger's door: one URL, its tables brought up to date when it is opened.

What a reader may rely on:

- A committed `write()` is on disk when it returns: SQLite with a write-ahead log and
  `synchronous=FULL`, PostgreSQL with `synchronous_commit` at least `local`.
- On SQLite there is one writer at a time: a `write()` takes the lock when it begins, so it never
  fails half-way because another process wrote first. On PostgreSQL rows are locked as they are
  written. Whoever waits for a lock waits `LEDGER_BUSY_SECONDS_MAX` at most.
- A `read()` sees one snapshot from its first statement to its last, and cannot write.
- A database that does not answer is a `StoreError`, whatever the driver calls it. A broken
  constraint stays `sqlalchemy.exc.IntegrityError`: it is the caller's business.
- Every method may be called from any thread.
"""

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy import event, exc, pool

from meterhouse.errors import StoreError
from meterhouse.ledger.migrations import migrate
from meterhouse.limits import (
    LEDGER_BUSY_SECONDS_MAX,
    LEDGER_CACHE_BYTES_MAX,
    LEDGER_READERS,
    LEDGER_STATEMENTS_CACHED_MAX,
    LEDGER_WAL_BYTES_MAX,
)


class Ledger:
    """An open ledger. `close()` it, or use it as a context manager."""

    def __init__(self, writer: sa.Engine, reader: sa.Engine) -> None:
        self._writer = writer
        self._reader = reader

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def place(self) -> str:
        """Where the ledger is, for people: its URL without the password."""
        return self._writer.url.render_as_string(hide_password=True)

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Open a transaction that may write; it commits at the end, or rolls back on an error.

        Raises `StoreError` when the database does not answer in time, is full or went away;
        then nothing of the transaction is known to be on disk.
        """
        with _answering(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a transaction that sees one snapshot and cannot write.

        Raises `StoreError` when the database does not answer in time or went away.
        """
        with _answering(), self._reader.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection. What was committed is on disk already."""
        self._reader.dispose()
        self._writer.dispose()


def open_ledger(url: str) -> Ledger:
    """Open the ledger at `url` and bring its tables up to date.

    `url` is `sqlite:///<path>` (the file and its folder are made) or
    `postgresql[+psycopg]://…`. Several processes may open one ledger at the same time.
    Raises `StoreError` when the database cannot be reached, is not a ledger, or was written by a
    newer Meterhouse.
    """
    with _explained(url), ExitStack() as opened:
        target = sa.make_url(url)
        connect = _sqlite if target.get_backend_name() == "sqlite" else _postgresql
        ledger = opened.enter_context(connect(target))
        with _alone(target), ledger.write() as connection:
            migrate(connection)
        opened.pop_all()
    return ledger


@contextmanager
def _explained(url: str) -> Iterator[None]:
    try:
        yield
    except exc.ArgumentError as error:
        raise StoreError(
            "The URL of the ledger cannot be read. Write it as sqlite:///<path> or "
            "postgresql://<user>:<password>@<host>/<database>."
        ) from error
    except ImportError as error:
        raise StoreError(
            f"PostgreSQL's driver is not installed ({error}). Install meterhouse[cluster]."
        ) from error
    except (exc.SQLAlchemyError, OSError, StoreError) as error:
        name = sa.make_url(url).render_as_string(hide_password=True)
        raise StoreError(f"The ledger at {name} cannot be opened. {_reason(error)}") from error


@contextmanager
def _alone(url: sa.URL) -> Iterator[None]:
    """Hold back other processes that open the same SQLite file.

    SQLite does not wait, but fails, when two connections turn a new file's log on at once.
    """
    if url.get_backend_name() != "sqlite":
        yield
        return
    with Path(f"{url.database}-lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sqlite(url: sa.URL) -> Ledger:
    if not url.database or url.database == ":memory:":
        raise StoreError("The ledger needs a file: write its URL as sqlite:///<path>.")
    Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    writer = _sqlite_engine(url, connections=1)
    reader = _sqlite_engine(url, connections=LEDGER_READERS)
    _on_connect(
        writer,
        f"PRAGMA busy_timeout={LEDGER_BUSY_SECONDS_MAX * 1_000}",
        "PRAGMA journal_mode=WAL",
        "PRAGMA synchronous=FULL",
        "PRAGMA foreign_keys=ON",
        f"PRAGMA journal_size_limit={LEDGER_WAL_BYTES_MAX}",
        f"PRAGMA cache_size=-{LEDGER_CACHE_BYTES_MAX // 1_024}",
    )
    _on_connect(
        reader,
        f"PRAGMA busy_timeout={LEDGER_BUSY_SECONDS_MAX * 1_000}",
        "PRAGMA query_only=ON",
    )
    # A transaction that begins as a reader cannot always become a writer, so it says which it is.
    _on_begin(writer, "BEGIN IMMEDIATE")
    _on_begin(reader, "BEGIN")
    return Ledger(writer, reader)


def _sqlite_engine(url: sa.URL, connections: int) -> sa.Engine:
    return sa.create_engine(
        url,
        poolclass=pool.QueuePool,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=LEDGER_BUSY_SECONDS_MAX,
        # The driver must not begin transactions by itself: `_on_begin` does.
        connect_args={
            "isolation_level": None,
            "check_same_thread": False,
            "cached_statements": LEDGER_STATEMENTS_CACHED_MAX,
        },
        hide_parameters=True,  # what goes into the log tells nothing of a sender's data
    )


def _postgresql(url: sa.URL) -> Ledger:
    writer = sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=LEDGER_READERS + 1,
        max_overflow=0,
        pool_timeout=LEDGER_BUSY_SECONDS_MAX,
        pool_pre_ping=True,
        hide_parameters=True,  # as above
        connect_args={"connect_timeout": LEDGER_BUSY_SECONDS_MAX},
    )
    _on_connect(
        writer,
        f"SET lock_timeout = '{LEDGER_BUSY_SECONDS_MAX}s'",
        # A server or a role may be set up to answer before it has written.
        "SELECT set_config('synchronous_commit', 'on', false)"
        " WHERE current_setting('synchronous_commit') = 'off'",
    )
    reader = writer.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return Ledger(writer, reader)


def _on_connect(engine: sa.Engine, *statements: str) -> None:
    def prepare(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()
        connection.commit()

    event.listen(engine, "connect", prepare)


def _on_begin(engine: sa.Engine, statement: str) -> None:
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(statement)

    event.listen(engine, "begin", begin)


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
        raise StoreError(f"The ledger does not answer: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return str(error.orig) if isinstance(error, exc.DBAPIError) else str(error)
