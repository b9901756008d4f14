"""A ledger that is open: one URL, its tables brought up to date when it is opened.

What a reader may rely on:

- A committed `write()` is on disk when it returns: SQLite with a write-ahead log and
  `synchronous=FULL`, PostgreSQL with `synchronous_commit` at least `local`.
- On SQLite there is one writer at a time: a `write()` takes the lock when it begins, so it never
  fails half-way because another process wrote first. On PostgreSQL rows are locked as they are
  written. Whoever waits for a lock waits `LEDGER_BUSY_SECONDS_MAX` at most.
- A `read()` sees one snapshot from its first statement to its last, and cannot write. It waits for
  nobody but those of its own lane, and none of its statements takes longer than the lane lets it.
- A database that does not answer is a `StoreError`, whatever the driver calls it. A broken
  constraint stays `sqlalchemy.exc.IntegrityError`: it is the caller's business.
- Whoever opens a ledger as its owner is the only one who does, or one of those who share it, and
  writes over one connection, which has the lock that makes it so; `ledger.owner` tells how. Others
  may open it beside them.
- What an owner's transaction has locked is free again within `LEDGER_WRITE_SECONDS_MAX` on
  PostgreSQL, even if its process was stopped in the middle.
- Every method may be called from any thread.
"""

import fcntl
import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple, Self

import msgspec
import sqlalchemy as sa
from sqlalchemy import event, exc, pool

from meterhouse import lanes
from meterhouse.config import shown
from meterhouse.errors import InUseError, OvertakenError, SlowError, StoreError
from meterhouse.lanes import Interrupt, Lane, LaneName
from meterhouse.ledger import leases, nodes
from meterhouse.ledger.dialect import as_json
from meterhouse.ledger.migrations import migrate
from meterhouse.ledger.owner import (
    Owner,
    epoch_of,
    file_locked,
    join,
    lock_sessions,
    take_over,
    write_down,
)
from meterhouse.ledger.snapshot import LedgerSnapshot
from meterhouse.limits import (
    LEDGER_BUSY_SECONDS_MAX,
    LEDGER_CACHE_BYTES_MAX,
    LEDGER_IDLE_SECONDS_MAX,
    LEDGER_LOOK_INSTRUCTIONS,
    LEDGER_PROBE_ATTEMPTS_MAX,
    LEDGER_PROBE_SECONDS,
    LEDGER_REWRITE_BYTES_MAX,
    LEDGER_SILENT_SECONDS,
    LEDGER_STATEMENTS_CACHED_MAX,
    LEDGER_TENDER_CONNECTIONS,
    LEDGER_WAL_BYTES_MAX,
    LEDGER_WRITE_SECONDS_MAX,
    WORK_STATEMENT_SECONDS_MAX,
)

_MERGE_TERMS = "INSERT INTO customer_terms (customer_terms) VALUES ('optimize')"
_QUERY_CANCELED = "57014"  # https://www.postgresql.org/docs/current/errcodes-appendix.html


class _Engines(NamedTuple):
    """The ways into a database: one for a writer at a time, one for the readers of each lane.

    Who shows that a process lives must not wait for a writer, so it goes by another way, `tender`.
    """

    writer: sa.Engine
    tender: sa.Engine
    readers: Mapping[LaneName, sa.Engine]


class Ledger:
    """An open ledger. `close()` it, or use it as a context manager.

    `overtaken` is set once its owner has learnt that it is not the owner any more.
    """

    def __init__(
        self, engines: _Engines, opened: ExitStack, epoch: int | None, *, alone: bool
    ) -> None:
        self.overtaken = Event()
        self._writer, self._tender, self._readers = engines
        self._opened = opened
        self._epoch = epoch
        self._alone = alone
        self._closed = False
        if epoch is not None:
            event.listen(self._writer, "begin", self._check_epoch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def place(self) -> str:
        """Where the ledger is, for people: its file, or its URL without the password."""
        return _place(self._writer.url)

    @property
    def shared(self) -> bool:
        """Whether several processes may work on it at the same time."""
        return self._writer.dialect.name != "sqlite"

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Open a transaction that may write; it commits at the end, or rolls back on an error.

        Raises `StoreError` when the database does not answer in time, is full or went away;
        then nothing of the transaction is known to be on disk.
        """
        with _answering(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def tend(self) -> Iterator[sa.Connection]:
        """Open a transaction that shows that a process lives; it waits for no `write` where it can.

        It has no lock of an owner. On SQLite it is a `write` like all others.
        """
        with _answering(), self._tender.begin() as connection:
            yield connection

    def hear(self, channel: str, seconds: float) -> Iterator[str]:
        """Yield what is told on a channel of PostgreSQL, and '' after so many seconds of silence.

        It begins with such a '', once it listens. Raises `StoreError` when the connection is lost.
        """
        with _answering(), self._tender.connect() as found:
            connection = found.execution_options(isolation_level="AUTOCOMMIT")
            driver: Any = connection.connection.driver_connection
            connection.detach()
            connection.exec_driver_sql(f"LISTEN {channel}")
            yield ""
            while True:
                try:
                    told = [one.payload for one in driver.notifies(timeout=seconds, stop_after=1)]
                except connection.dialect.loaded_dbapi.Error as error:
                    raise StoreError(f"The ledger does not answer: {error}") from error
                yield from told or [""]

    @contextmanager
    def read(
        self, lane: LaneName = "work", interrupt: Interrupt | None = None
    ) -> Iterator[sa.Connection]:
        """Open a transaction that sees one snapshot and cannot write; `interrupt` ends it early.

        Raises `SlowError` when a statement takes longer than it may, and `StoreError` when the
        database does not answer or went away.
        """
        with _answering(), self._readers[lane].begin() as connection:
            if interrupt is None:
                yield connection
                return
            with interrupt.stops(_stop(connection)):
                yield connection

    def look_after(self) -> None:
        """Make sure that this is the owner still, and take its lock anew where it was lost.

        Raises `OvertakenError` when somebody else is the owner.
        """
        if self._closed:
            return
        with self.read() as connection:
            self._check_epoch(connection, keep=False)
        with self.write():
            pass

    def snapshot(self) -> LedgerSnapshot:
        """Hold the ledger as it is now, to be copied; raises `StoreError` unless it is a file."""
        return LedgerSnapshot(self._writer.url)

    def rewrite(self) -> bool:
        """Write the ledger's file anew, without what was deleted; nobody else writes meanwhile.

        SQLite overwrites what it deletes, but not where that had been before it was moved within
        its pages; and FTS5 only notes what is deleted until it merges its parts. Returns False, and
        does nothing, where the ledger is no file, or has more than `LEDGER_REWRITE_BYTES_MAX`,
        which would take long.
        """
        url = self._writer.url
        if url.get_backend_name() != "sqlite" or not url.database:
            return False
        if Path(url.database).stat().st_size > LEDGER_REWRITE_BYTES_MAX:
            return False
        try:
            with closing(
                sqlite3.connect(url.database, LEDGER_BUSY_SECONDS_MAX, isolation_level=None)
            ) as connection:
                connection.execute(_MERGE_TERMS)
                connection.execute("VACUUM")
                [busy, *_] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            raise StoreError(f"The ledger cannot be written anew: {error}") from error
        if busy:
            raise StoreError("The ledger's log cannot be emptied: somebody reads an older state.")
        return True

    def close(self) -> None:
        """Close every connection. What was committed is on disk already."""
        self._closed = True
        self._opened.close()

    def _check_epoch(self, connection: sa.Connection, *, keep: bool = True) -> None:
        # Many who share a ledger would wear out a row that each of their transactions locked.
        if epoch_of(connection, keep=keep and self._alone) != self._epoch:
            self.overtaken.set()
            raise OvertakenError("Another Meterhouse has taken this ledger over.")


def open_ledger(url: str, owner: Owner | None = None, *, alone: bool = True) -> Ledger:
    """Open the ledger at `url` and bring its tables up to date; as its `owner`, if that is told.

    An owner is `alone`, or one of several that share a ledger on PostgreSQL.
    `url` is `sqlite:///<path>` (the file and its folder are made) or
    `postgresql[+psycopg]://…`. Several processes may open one ledger at the same time, one of them
    as its owner. Raises `StoreError` when the database cannot be reached, is not a ledger, was
    written by a newer Meterhouse; `InUseError` when it has another owner.
    """
    with _explained(url), ExitStack() as opened:
        target = sa.make_url(url)
        if target.get_backend_name() == "sqlite":
            engines = _sqlite(target, opened, owned=owner is not None)
        else:
            engines = _postgresql(target, opened, owned=owner is not None, alone=alone)
        with _alone(target), _answering(), engines.writer.begin() as connection:
            unbound(connection)
            migrate(connection)
            epoch = _own(connection, owner, alone=alone) if owner else None
        if owner and target.get_backend_name() == "sqlite":
            write_down(engines.writer)
        return Ledger(engines, opened.pop_all(), epoch, alone=alone)


def _own(connection: sa.Connection, owner: Owner, *, alone: bool) -> int:
    """Become an owner. Who is alone has what others had: its lock tells that they have ended."""
    if not alone:
        return join(connection, owner.since)
    leases.end_all(connection)
    nodes.end_all(connection)
    return take_over(connection, owner)


def unbound(connection: sa.Connection) -> None:
    """Let a transaction, as one that changes tables, take as long as it takes."""
    if connection.dialect.name == "sqlite":
        connection.info["deadline"] = math.inf
    else:
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")


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
        kind = InUseError if isinstance(error, InUseError) else StoreError
        raise kind(
            f"The ledger at {_place(sa.make_url(url))} cannot be opened. {_reason(error)}"
        ) from error


def _place(url: sa.URL) -> str:
    if url.get_backend_name() == "sqlite":
        return shown(Path(url.database or ""))
    return url.render_as_string(hide_password=True)


@contextmanager
def _alone(url: sa.URL) -> Iterator[None]:
    """Hold back other processes that open the same SQLite file.

    SQLite does not wait, but fails, when two connections turn a new file's log on at once.
    """
    if url.get_backend_name() != "sqlite":
        yield
        return
    with Path(f"{Path(url.database or '').resolve()}-lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sqlite(url: sa.URL, opened: ExitStack, *, owned: bool) -> _Engines:
    name = url.database
    if not name or name == ":memory:" or name.startswith("file:"):
        raise StoreError("The ledger needs a file: write its URL as sqlite:///<path>.")
    path = Path(name).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    if owned:
        opened.enter_context(file_locked(path))
    if path.exists() and path.stat().st_nlink > 1:
        raise StoreError(
            "Its file has a second name, a hard link. SQLite keeps what was written last beside "
            "the name that a file was opened by, so by the other one it is missing. Remove the "
            "second name, or copy the file."
        )
    writer = _sqlite_engine(url, connections=1)
    opened.callback(writer.dispose)
    _on_connect(
        writer,
        f"PRAGMA busy_timeout={LEDGER_BUSY_SECONDS_MAX * 1_000}",
        "PRAGMA journal_mode=WAL",
        "PRAGMA synchronous=FULL",
        "PRAGMA foreign_keys=ON",
        "PRAGMA secure_delete=ON",  # what is deleted is overwritten, however SQLite was built
        f"PRAGMA journal_size_limit={LEDGER_WAL_BYTES_MAX}",
        f"PRAGMA cache_size=-{LEDGER_CACHE_BYTES_MAX // 1_024}",
    )
    # A transaction that begins as a reader cannot always become a writer, so it says which it is.
    _on_begin(writer, "BEGIN IMMEDIATE")
    _bound_statements(writer, WORK_STATEMENT_SECONDS_MAX)
    readers = {name: _sqlite_reader(url, lane) for name, lane in lanes.LEDGER.items()}
    for reader in readers.values():
        opened.callback(reader.dispose)
    return _Engines(writer, writer, readers)


def _sqlite_reader(url: sa.URL, lane: Lane) -> sa.Engine:
    reader = _sqlite_engine(url, lane.readers)
    _on_connect(
        reader,
        f"PRAGMA busy_timeout={LEDGER_BUSY_SECONDS_MAX * 1_000}",
        "PRAGMA query_only=ON",
    )
    _on_begin(reader, "BEGIN")
    _bound_statements(reader, lane.seconds_max)
    return reader


def _bound_statements(engine: sa.Engine, seconds_max: float) -> None:
    """End what SQLite still works on so long after a transaction began.

    A short statement never comes to a look at the time.
    """

    def prepare(connection: Any, record: Any) -> None:
        info = record.info
        info["deadline"] = math.inf
        connection.set_progress_handler(
            lambda: time.monotonic() > info["deadline"], LEDGER_LOOK_INSTRUCTIONS
        )

    def begin(connection: sa.Connection) -> None:
        connection.info["deadline"] = time.monotonic() + seconds_max

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)


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
        json_serializer=as_json,  # the standard library takes several times as long
        json_deserializer=msgspec.json.decode,
    )


def _postgresql(url: sa.URL, opened: ExitStack, *, owned: bool, alone: bool) -> _Engines:
    readers = {name: _postgresql_reader(url, lane) for name, lane in lanes.LEDGER.items()}
    writer = _postgresql_writer(url, connections=1, owned=owned)
    tender = _postgresql_writer(url, LEDGER_TENDER_CONNECTIONS, owned=owned)
    for engine in (writer, tender, *readers.values()):
        opened.callback(engine.dispose)
    if owned:
        lock_sessions(writer, readers["work"], alone=alone)
    return _Engines(writer, tender, readers)


def _postgresql_writer(url: sa.URL, connections: int, *, owned: bool) -> sa.Engine:
    writer = _postgresql_engine(url, connections)
    seconds = LEDGER_WRITE_SECONDS_MAX if owned else WORK_STATEMENT_SECONDS_MAX
    idle = LEDGER_IDLE_SECONDS_MAX if owned else 0
    _on_connect(
        writer,
        f"SET lock_timeout = '{LEDGER_BUSY_SECONDS_MAX}s'",
        f"SET statement_timeout = '{seconds}s'",
        f"SET idle_in_transaction_session_timeout = '{idle}s'",
        # A server or a role may be set up to answer before it has written.
        "SELECT set_config('synchronous_commit', 'on', false)"
        " WHERE current_setting('synchronous_commit') = 'off'",
        # Of a machine that is gone the server would not know for hours, and keep the owner's lock.
        f"SET tcp_keepalives_idle = {LEDGER_SILENT_SECONDS}",
        f"SET tcp_keepalives_interval = {LEDGER_PROBE_SECONDS}",
        f"SET tcp_keepalives_count = {LEDGER_PROBE_ATTEMPTS_MAX}",
    )
    return writer


def _postgresql_reader(url: sa.URL, lane: Lane) -> sa.Engine:
    reader = _postgresql_engine(url, lane.readers)
    _on_connect(reader, f"SET statement_timeout = '{lane.seconds_max * 1_000:.0f}ms'")
    return reader.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _postgresql_engine(url: sa.URL, connections: int) -> sa.Engine:
    return sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=LEDGER_BUSY_SECONDS_MAX,
        pool_pre_ping=True,
        hide_parameters=True,  # as above
        json_serializer=as_json,
        json_deserializer=msgspec.json.decode,
        connect_args={"connect_timeout": LEDGER_BUSY_SECONDS_MAX},
    )


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


def _stop(connection: sa.Connection) -> Callable[[], None]:
    """Return what ends the statement that a connection runs, from another thread."""
    driver: Any = connection.connection.driver_connection
    stop: Callable[[], None]
    stop = driver.interrupt if connection.dialect.name == "sqlite" else driver.cancel_safe
    return stop


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    # PostgreSQL's word for a transaction in which nothing came for too long is an InternalError.
    except (exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.TimeoutError) as error:
        if _ended(error):
            raise SlowError("The ledger was asked for more than it may take time for.") from error
        raise StoreError(f"The ledger does not answer: {_reason(error)}") from error


def _ended(error: Exception) -> bool:
    """Tell whether a statement was ended because it took too long, or because nobody waited."""
    driver = error.orig if isinstance(error, exc.DBAPIError) else None
    names = (getattr(driver, "sqlite_errorname", None), getattr(driver, "sqlstate", None))
    return names[0] == "SQLITE_INTERRUPT" or names[1] == _QUERY_CANCELED


def _reason(error: Exception) -> str:
    return str(error.orig) if isinstance(error, exc.DBAPIError) else str(error)
