import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from meterhouse.errors import SlowError, StoreError
from meterhouse.lanes import Interrupt
from meterhouse.ledger import engine
from meterhouse.ledger.engine import Ledger, open_ledger
from meterhouse.ledger.tables import accounts, journal_head

ACCOUNT = {"id": "acct_1", "platform": None, "name": None, "created": 1}


ENDLESS = sa.text(
    "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers"
    " WHERE n < 2000000000) SELECT count(*) FROM numbers"
)


def names(ledger: Ledger) -> list[str]:
    with ledger.read() as connection:
        return list(connection.execute(sa.select(accounts.c.id).order_by(accounts.c.seq)).scalars())


def advance(ledger: Ledger) -> None:
    with ledger.write() as connection:
        head: int = connection.execute(sa.select(journal_head.c.next_position)).scalar_one()
        connection.execute(sa.update(journal_head).values(next_position=head + 1))


def test_a_write_commits(ledger: Ledger) -> None:
    with ledger.write() as connection:
        connection.execute(sa.insert(accounts), ACCOUNT)
    assert names(ledger) == ["acct_1"]


def test_a_write_that_fails_leaves_nothing(ledger: Ledger) -> None:
    def fail() -> None:
        with ledger.write() as connection:
            connection.execute(sa.insert(accounts), ACCOUNT)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert names(ledger) == []


def test_a_broken_constraint_is_the_callers_business(ledger: Ledger) -> None:
    with pytest.raises(IntegrityError), ledger.write() as connection:
        connection.execute(sa.insert(accounts), [ACCOUNT, ACCOUNT])
    assert names(ledger) == []


def test_rows_that_refer_to_nothing_are_refused(ledger: Ledger) -> None:
    with pytest.raises(IntegrityError), ledger.write() as connection:
        connection.execute(sa.insert(accounts), ACCOUNT | {"platform": "acct_none"})


def test_a_reader_cannot_write(ledger: Ledger) -> None:
    with pytest.raises((StoreError, sa.exc.InternalError)), ledger.read() as connection:
        connection.execute(sa.insert(accounts), ACCOUNT)
    assert names(ledger) == []


def test_a_read_sees_one_snapshot_while_others_write(ledger: Ledger) -> None:
    with ledger.read() as connection:
        before = connection.execute(sa.select(journal_head.c.next_position)).scalar_one()
        advance(ledger)
        after = connection.execute(sa.select(journal_head.c.next_position)).scalar_one()
    assert (before, after) == (1, 1)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_writers_of_two_processes_take_turns(ledger: Ledger, url: str) -> None:
    """Each turn reads and then writes: a turn that is not alone would lose a step."""

    def work(mine: Ledger) -> None:
        for _ in range(25):
            advance(mine)

    with open_ledger(url) as other:
        threads = [threading.Thread(target=work, args=(mine,)) for mine in (ledger, other) * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with ledger.read() as connection:
        assert connection.execute(sa.select(journal_head.c.next_position)).scalar_one() == 101


def test_a_writer_that_waits_too_long_hears_a_store_error(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LEDGER_BUSY_SECONDS_MAX", 1)
    lock = sa.update(journal_head).values(next_position=5)
    with open_ledger(url) as first, open_ledger(url) as second:
        with first.write() as connection:
            connection.execute(lock)
            with pytest.raises(StoreError, match="does not answer"), second.write() as late:
                late.execute(lock)
        advance(second)  # and it works again


def test_what_was_committed_survives_the_end_of_the_process(url: str) -> None:
    program = (
        "import os, signal, sys, sqlalchemy as sa\n"
        "from meterhouse.ledger.engine import open_ledger\n"
        "from meterhouse.ledger.tables import journal_head\n"
        "ledger = open_ledger(sys.argv[1])\n"
        "for position in range(2, 50):\n"
        "    with ledger.write() as connection:\n"
        "        connection.execute(sa.update(journal_head).values(next_position=position))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, url], check=False)
    assert killed.returncode == -signal.SIGKILL
    with open_ledger(url) as ledger, ledger.read() as connection:
        assert connection.execute(sa.select(journal_head.c.next_position)).scalar_one() == 49


def test_processes_may_open_a_new_ledger_at_once(url: str) -> None:
    program = (
        "import sys\nfrom meterhouse.ledger.engine import open_ledger\n"
        "sys.stdin.read()\nopen_ledger(sys.argv[1]).close()\n"
    )
    command = [sys.executable, "-c", program, url]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait() for process in processes] == [0, 0, 0, 0]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_sqlite_writes_a_log_and_waits_for_the_disk(ledger: Ledger) -> None:
    expected = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}
    with ledger.write() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in expected
        }
    assert pragmas == expected


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_postgresql_waits_for_the_disk_whatever_its_settings_say(ledger: Ledger, url: str) -> None:
    with ledger.write() as connection:
        database = connection.exec_driver_sql("SELECT current_database()").scalar_one()
        connection.exec_driver_sql(f"ALTER DATABASE {database} SET synchronous_commit = off")
    with open_ledger(url) as again, again.write() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_connection_that_broke_is_replaced(ledger: Ledger) -> None:
    advance(ledger)
    with ledger.read() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    advance(ledger)
    with pytest.raises(StoreError, match="does not answer"), ledger.write() as connection:
        connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
    advance(ledger)


def test_a_file_that_is_no_database_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"not a database at all" * 1_000)
    with pytest.raises(StoreError, match=r"ledger\.db cannot be opened\..*not a database"):
        open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be opened"):
        open_ledger(f"sqlite:///{tmp_path / 'file' / 'ledger.db'}")


def test_a_ledger_that_cannot_be_kept_is_refused() -> None:
    with pytest.raises(StoreError, match="needs a file"):
        open_ledger("sqlite://")


def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(StoreError, match="sqlite:///<path>"):
        open_ledger("sqlite:ledger.db")


def test_a_server_that_is_not_there_is_told_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened") as raised:
        open_ledger(f"postgresql://me:hidden@/postgres?host={tmp_path}")
    assert "hidden" not in str(raised.value)


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    with open_ledger(f"sqlite:///{tmp_path / 'a' / 'b' / 'ledger.db'}"):
        assert (tmp_path / "a" / "b" / "ledger.db").exists()


def test_a_statement_that_takes_too_long_for_its_lane_is_ended(ledger: Ledger) -> None:
    with pytest.raises(SlowError), ledger.read("quick") as connection:
        connection.execute(ENDLESS)
    with ledger.read("quick") as connection:
        assert connection.execute(sa.select(1)).scalar_one() == 1


def test_a_question_is_ended_from_another_thread(ledger: Ledger) -> None:
    """Given one that runs, then only it is ended, and what would follow it under its interrupt."""
    interrupt, begun, ended = Interrupt(), threading.Event(), threading.Event()

    def ask() -> None:
        with ledger.read("slow", interrupt) as connection:
            begun.set()
            connection.execute(ENDLESS)

    def end() -> None:
        begun.wait()
        while not ended.is_set():  # it may come between two statements
            interrupt.come()

    ender = threading.Thread(target=end)
    ender.start()
    with pytest.raises(StoreError):
        ask()
    ended.set()
    ender.join()
    with ledger.read("slow") as connection:
        assert connection.execute(sa.select(1)).scalar_one() == 1
    with pytest.raises(StoreError, match="Nobody waits"):
        ask()


def test_readers_of_one_lane_do_not_wait_for_those_of_another(ledger: Ledger) -> None:
    with ledger.read("look_up") as first, ledger.read("work") as second:
        one, other = (line.execute(sa.select(1)).scalar_one() for line in (first, second))
    assert one == other == 1
