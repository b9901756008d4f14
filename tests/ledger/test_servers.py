"""Several servers on one ledger, as real processes: one of them processes it."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from meterhouse.ledger.engine import open_ledger
from meterhouse.ledger.owner import Owner
from tests import server as servers
from tests.clickhouse import Double
from tests.postgresql import PostgreSQL
from tests.server import TEST_KEY, Server, start

SETTINGS = {"api_keys": TEST_KEY}
END_SECONDS_MAX = 60


@contextmanager
def started(data_dir: Path, **settings: str) -> Iterator[Server]:
    """Start a server, and kill it when the block ends."""
    server = start(data_dir, SETTINGS | settings)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.communicate()


def begin(command: str, data_dir: Path, database_url: str) -> "subprocess.Popen[str]":
    options = ["--data-dir", str(data_dir), "--database-url", database_url]
    return subprocess.Popen(
        [sys.executable, "-m", "meterhouse", command, *options],
        stderr=subprocess.PIPE,
        text=True,
        env={name: text for name, text in os.environ.items() if "METERHOUSE" not in name}
        | {"METERHOUSE_PORT": "0"},
    )


def create_customer(server: Server) -> int:
    answer = httpx.post(f"{server.url}/v1/customers", auth=(TEST_KEY, ""), timeout=30)
    return answer.status_code


def test_a_ledger_has_one_server_whatever_leads_to_it(tmp_path: Path) -> None:
    """Given a server, when others come with a folder of their own, each is told where that one is.

    `verify` finishes what a crash left behind, so it is refused as well.
    """
    data = tmp_path / "data"
    with started(data) as server:
        ledger = data / "ledger.db"
        coded = "".join(f"%{byte:02x}" for byte in os.fsencode(ledger))
        others = {
            "serve": begin("serve", tmp_path / "second", f"sqlite:///{coded}"),
            "verify": begin("verify", tmp_path / "third", f"sqlite:///{ledger}"),
        }
        for command, other in others.items():
            _, told = other.communicate(timeout=END_SECONDS_MAX)
            assert other.returncode == (2 if command == "verify" else 1), told
            assert "Another Meterhouse processes this ledger: that of the data folder" in told
            assert f"{data} on host " in told
            assert f", process {server.process.pid}, since " in told
        assert create_customer(server) == 200
        assert not server.errors()


def test_a_start_right_after_a_kill_succeeds_and_who_was_overtaken_ends(tmp_path: Path) -> None:
    """Given a lock that does not hold, when another takes over, then the server writes no more."""
    with started(tmp_path) as server:
        server.process.send_signal(signal.SIGKILL)
        with started(tmp_path) as again:
            assert create_customer(again) == 200
            with sqlite3.connect(tmp_path / "ledger.db", isolation_level=None) as ledger:
                ledger.execute("UPDATE owner SET epoch = epoch + 1")
                customers = ledger.execute("SELECT count(*) FROM customers").fetchall()
                assert again.process.wait(END_SECONDS_MAX) == 1
                assert ledger.execute("SELECT count(*) FROM customers").fetchall() == customers
            ledger.close()
            assert "another Meterhouse has taken the ledger over" in "".join(again.errors())


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_ledger_on_postgresql_has_one_server(url: str, tmp_path: Path) -> None:
    """Given a server that loses its connection, then it goes on, or another does; never both."""
    admin = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))

    def cut() -> None:
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        with admin.begin() as connection:
            connection.exec_driver_sql(
                f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE {others}"  # noqa: S608
            )

    with started(tmp_path / "first", database_url=url) as server:
        cut()
        assert create_customer(server) == 200
        other = begin("serve", tmp_path / "second", url)
        _, told = other.communicate(timeout=END_SECONDS_MAX)
        assert other.returncode == 1
        assert f"{tmp_path / 'first'} on host " in told
        assert f", process {server.process.pid}, since " in told
        server.process.send_signal(signal.SIGSTOP)
        cut()
        with open_ledger(url, Owner("elsewhere", 1, "/srv/second", 0)):
            server.process.send_signal(signal.SIGCONT)
            assert server.process.wait(END_SECONDS_MAX) == 1
        assert "another Meterhouse has taken the ledger over" in "".join(server.errors())
    admin.dispose()


@pytest.mark.parametrize("stores", ["embedded", "servers"])
def test_a_standby_takes_over_after_kill_9(
    tmp_path: Path, request: pytest.FixtureRequest, stores: str
) -> None:
    """Given a server and a standby, when the first is killed, then the other has all it took."""
    first, second, settings = tmp_path / "first", tmp_path / "first", dict(SETTINGS)
    if stores == "servers":
        postgresql: PostgreSQL = request.getfixturevalue("postgresql_server")
        clickhouse: Double = request.getfixturevalue("clickhouse_server")
        second = tmp_path / "second"
        settings["database_url"] = postgresql.empty()
        settings["clickhouse_url"] = clickhouse.empty()
    log = tmp_path / "standby.txt"
    with started(first, **settings) as server:
        assert create_customer(server) == 200
        process = servers.begin(second, settings | {"standby": "on"}, log)
        try:
            wait_for(lambda: "standing by: " in log.read_text())
            assert create_customer(server) == 200
            server.process.kill()
            standby = servers.answering(process, second, log)
            listed = httpx.get(f"{standby.url}/v1/customers", auth=(TEST_KEY, ""), timeout=30)
            assert len(listed.json()["data"]) == 2
            assert not standby.errors()
        finally:
            process.kill()
            process.communicate()


def test_a_standby_can_be_stopped(tmp_path: Path) -> None:
    log = tmp_path / "standby.txt"
    with started(tmp_path / "data"):
        process = servers.begin(tmp_path / "data", SETTINGS | {"standby": "on"}, log)
        try:
            wait_for(lambda: "standing by: " in log.read_text())
            # One that comes in the middle of a finalizer is lost by Python: it is pressed again.
            wait_for(lambda: interrupted(process))
        finally:
            process.kill()
            process.communicate()
        assert "Traceback" not in log.read_text()


def interrupted(process: subprocess.Popen[str]) -> bool:
    """Press Ctrl-C and wait for a moment; tell whether that has ended a process."""
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(10)
    return process.poll() is not None


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + END_SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
