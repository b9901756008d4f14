"""Who owns a ledger; what servers make of it is tested in `test_servers`."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.errors import OvertakenError, StoreError
from meterhouse.ledger import engine, leases, nodes
from meterhouse.ledger.engine import Ledger, open_ledger
from meterhouse.ledger.nodes import Node
from meterhouse.ledger.owner import Owner
from meterhouse.ledger.tables import journal_head
from meterhouse.ledger.tables import owner as owners

ADA = Owner("left", 4711, "/srv/ada", 1_796_000_000_000)
BOB = Owner("right", 4712, "/srv/bob", 1_796_000_060_000)
ADAS = "that of the data folder /srv/ada on host left, process 4711, since 2026-11-30T00:53:20Z"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no process that may be ending, for there is none."""
    monkeypatch.setattr(limits, "LOCK_SECONDS_MAX", 0.05)


def advance(ledger: Ledger) -> None:
    with ledger.write() as connection:
        connection.execute(
            sa.update(journal_head).values(next_position=journal_head.c.next_position + 1)
        )


def position(ledger: Ledger) -> int:
    with ledger.read() as connection:
        reached: int = connection.execute(sa.select(journal_head.c.next_position)).scalar_one()
    return reached


def cut(ledger: Ledger) -> None:
    """Cut every other connection to the database of `ledger`, and wait until they have ended."""
    with ledger.read() as connection:
        others = (
            "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        connection.exec_driver_sql(f"SELECT pg_terminate_backend(pid, 10000) {others}")


def test_a_ledger_has_one_owner_at_a_time(url: str) -> None:
    """Given an owner, then the next is told who it is, and becomes it once that one has ended."""
    with open_ledger(url, ADA) as ledger:
        with pytest.raises(StoreError) as refused:
            open_ledger(url, BOB)
        assert f"Another Meterhouse processes this ledger: {ADAS}. Stop that one" in str(
            refused.value
        )
        advance(ledger)
    with open_ledger(url, BOB) as ledger:
        advance(ledger)
        with ledger.read() as connection:
            assert connection.execute(sa.select(owners)).all() == [(1, 2, *BOB)]


@contextmanager
def bound(folder: Path, place: Path) -> Iterator[bool]:
    """Show a folder in another place, too; yield whether this process may do that."""
    place.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    command = [mount or "true", "--bind", str(folder), str(place)]
    done = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield done and (place / "ledger.db").exists()
    finally:
        if done and umount:
            subprocess.run([umount, str(place)], check=False)


def test_who_is_alone_has_at_once_what_the_owner_before_had(url: str) -> None:
    """Given one that was killed, then its leases do not have to run out."""
    with open_ledger(url, ADA) as ledger, ledger.write() as connection:
        assert leases.take(connection, "deliver", "ada", 3_600) == 1
        nodes.enter(connection, Node("ada", "all", "left", 4711), 3_600, 0)
    with open_ledger(url, BOB) as ledger, ledger.write() as connection:
        assert leases.take(connection, "deliver", "bob", 3_600) == 2
        assert nodes.live(connection) == []


def test_whatever_path_leads_to_a_file_it_has_one_owner(tmp_path: Path) -> None:
    """Given an owner, when others come by every way that there is, then all of them are refused."""
    data, linked, place = tmp_path / "data", tmp_path / "my data", tmp_path / "bound"
    file = data / "ledger.db"
    linked.symlink_to(data)
    with open_ledger(f"sqlite:///{file}", ADA) as ledger, bound(data, place) as is_bound:
        (tmp_path / "link.db").symlink_to(file)
        (tmp_path / "hard.db").hardlink_to(file)
        ways = [
            str(file),
            os.path.relpath(file),
            f"{data}/../data/./ledger.db",
            "".join(f"%{byte:02x}" for byte in os.fsencode(file)),
            f"{tmp_path}/my%20data/ledger.db",
            f"{tmp_path}/my data/ledger.db?timeout=1",
            str(tmp_path / "link.db"),
            str(tmp_path / "hard.db"),
            *([str(place / "ledger.db")] if is_bound else []),
        ]
        for path in ways:
            with pytest.raises(StoreError) as refused:
                open_ledger(f"sqlite:///{path}", BOB)
            assert ADAS in str(refused.value), path
        advance(ledger)


def test_others_read_and_write_beside_the_owner(url: str) -> None:
    with open_ledger(url, ADA) as ledger, open_ledger(url) as other:
        advance(other)
        advance(ledger)
        assert position(other) == 3


def test_who_was_overtaken_writes_nothing_more(url: str) -> None:
    """Given a lock that did not hold, then the epoch does."""
    with open_ledger(url, ADA) as ledger, open_ledger(url) as other:
        ledger.look_after()
        with other.write() as connection:
            connection.execute(sa.update(owners).values(epoch=owners.c.epoch + 1))
        with pytest.raises(OvertakenError):
            advance(ledger)
        assert ledger.overtaken.is_set()
        with pytest.raises(OvertakenError):
            ledger.look_after()
        assert position(ledger) == 1


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_an_owner_whose_connection_broke_takes_its_lock_anew(url: str) -> None:
    with open_ledger(url, ADA) as ledger, open_ledger(url) as other:
        for take_it in (advance, Ledger.look_after):
            cut(other)
            take_it(ledger)
            with pytest.raises(StoreError, match="Another Meterhouse processes"):
                open_ledger(url, BOB)
        assert position(ledger) == 2


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_an_owner_whose_lock_another_took_writes_nothing_more(url: str) -> None:
    with open_ledger(url, ADA) as ledger, open_ledger(url) as other:
        cut(other)
        with open_ledger(url, BOB) as next_one:
            with pytest.raises(StoreError, match="that of the data folder /srv/bob on host right"):
                advance(ledger)
            assert not ledger.overtaken.is_set()
            with pytest.raises(OvertakenError):
                ledger.look_after()
            assert ledger.overtaken.is_set()
            advance(next_one)
        with pytest.raises(OvertakenError):
            advance(ledger)
        assert position(other) == 2


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_transaction_under_way_is_over_before_another_takes_over(url: str) -> None:
    """Given a lock that does not hold, as behind a pool of sessions, then the epoch waits."""

    def overtake(other: Ledger) -> None:
        with other.write() as connection:
            connection.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")
            connection.execute(sa.update(owners).values(epoch=owners.c.epoch + 1))

    with open_ledger(url, ADA) as ledger, open_ledger(url) as other:
        with ledger.write(), pytest.raises(StoreError, match="does not answer"):
            overtake(other)
        advance(ledger)
        overtake(other)
        with pytest.raises(OvertakenError):
            advance(ledger)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_ledgers_in_schemas_of_one_database_have_an_owner_each(url: str) -> None:
    with open_ledger(url, ADA) as first:
        with first.write() as connection:
            connection.exec_driver_sql('CREATE SCHEMA "An ""other"')
        path = {"options": '-csearch_path="An\\ ""other"'}
        second = sa.make_url(url).update_query_dict(path).render_as_string(hide_password=False)
        with open_ledger(second, BOB) as ledger:
            advance(ledger)
        assert position(first) == 1


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_those_who_share_a_ledger_and_who_wants_it_alone_keep_each_other_out(url: str) -> None:
    """Given an owner alone, then nobody shares; given some who share, then nobody is alone."""
    node = Node("n1", "worker", "left", 4711)
    with open_ledger(url, ADA) as ledger:
        with pytest.raises(StoreError, match="that of the data folder /srv/ada on host left"):
            open_ledger(url, BOB, alone=False)
        advance(ledger)
    with open_ledger(url, ADA, alone=False) as first, open_ledger(url, BOB, alone=False) as second:
        with first.write() as connection:
            nodes.enter(connection, node, 10, 0)
        for one in (first, second):
            advance(one)
            one.look_after()
        with pytest.raises(StoreError) as refused:
            open_ledger(url, ADA)
        told = "this ledger: the processes that share it (worker on host left, process 4711). Stop"
        assert told in str(refused.value)
        with first.write() as connection:
            connection.execute(sa.update(owners).values(epoch=owners.c.epoch + 1))
        for one in (first, second):
            with pytest.raises(OvertakenError):
                advance(one)
    with open_ledger(url, ADA) as ledger:
        advance(ledger)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_who_stopped_in_the_middle_of_a_commit_holds_nothing_up(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a transaction in which nothing more comes, then it is undone and its locks are free."""
    monkeypatch.setattr(engine, "LEDGER_IDLE_SECONDS_MAX", 0.1)
    epochs: list[int] = []

    def stand_still(ledger: Ledger, other: Ledger) -> None:
        with ledger.write() as connection:
            leases.check(connection, {"deliver": 1})
            while not epochs:
                with other.write() as taking:
                    epochs.extend(filter(None, [leases.take(taking, "deliver", "bob", 10)]))

    with open_ledger(url, ADA, alone=False) as first, open_ledger(url, BOB, alone=False) as second:
        with first.write() as connection:
            leases.take(connection, "deliver", "ada", -1)
        with pytest.raises(StoreError, match="does not answer"):
            stand_still(first, second)
        assert epochs == [2]
        advance(first)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_what_the_file_tells_needs_no_log(url: str, tmp_path: Path) -> None:
    """Given a file in use, when only the file is copied, then the copy tells who its owner was."""
    with open_ledger(url, ADA):
        copied = tmp_path / "copy.db"
        copied.write_bytes((tmp_path / "ledger.db").read_bytes())
    asked = sqlite3.connect(copied)
    assert asked.execute("SELECT data_dir FROM owner").fetchall() == [("/srv/ada",)]
    asked.close()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_file_with_two_names_is_refused(url: str, tmp_path: Path) -> None:
    """SQLite would look for what was written last beside the one name, or beside the other."""
    open_ledger(url).close()
    second = tmp_path / "second.db"
    second.hardlink_to(tmp_path / "ledger.db")
    for one in (url, f"sqlite:///{second}"):
        with pytest.raises(StoreError, match="a second name, a hard link"):
            open_ledger(one)
    second.unlink()
    open_ledger(url, ADA).close()


def test_an_owner_is_this_process(tmp_path: Path) -> None:
    here = Owner.here(tmp_path / "a\udcffb", 5)
    assert (here.pid, here.data_dir, here.since) == (os.getpid(), rf"{tmp_path}/a\xffb", 5)
