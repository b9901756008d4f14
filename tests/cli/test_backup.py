import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from meterhouse.cli import restore as restoring
from meterhouse.folder import lock_folder
from tests.cli.samples import ENVIRONMENT, meterhouse


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder that no server runs on; its ledger has one more account."""
    folder = tmp_path_factory.mktemp("backup") / "a folder"
    assert meterhouse("accounts", "create", "--data-dir", folder).exit_code == 0
    return folder


@pytest.fixture(scope="module")
def archive(data: Path) -> Path:
    """Return a back-up of that folder."""
    made = data.parent / "made.tar.zst"
    result = meterhouse("backup", made, "--data-dir", data)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{made}\n"
    assert " files, " in result.stderr
    return made


def accounts(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "ledger.db")) as ledger:
        return [row[0] for row in ledger.execute("SELECT id FROM accounts ORDER BY seq")]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_a_back_up_of_stores_that_no_server_has(data: Path, archive: Path, tmp_path: Path) -> None:
    assert archive.stat().st_mode & 0o777 == 0o600
    assert "snapshot" not in names(data)
    assert names(data / "usage" / "shadow") == {"increment.txt"}

    target = tmp_path / "there" / "and here"
    result = meterhouse("restore", archive, "--data-dir", target)
    assert result.exit_code == 0, result.output
    assert f"meterhouse verify --data-dir {target}" in result.stderr
    assert f"meterhouse serve --data-dir {target}" in result.stderr
    assert names(target) == {"ledger.db", "lock", "usage"}
    assert accounts(target) == accounts(data)
    assert logged(target) == ["backup.restored", "backup.created", "account.created"]
    assert logged(data)[-1] == "account.created"
    assert "backup.restored" not in logged(data)
    verified = meterhouse("verify", "--data-dir", target)
    assert verified.stdout.endswith("The books balance.\n"), verified.output


def logged(folder: Path) -> list[str]:
    """Return what the audit log tells, the newest first."""
    listed = meterhouse("audit", "list", "--data-dir", folder).stdout.splitlines()
    return [line.split("\t")[1] for line in listed[1:]]


class Refused(NamedTuple):
    options: tuple[str, ...]
    sentence: str


BACKUPS = {
    "PostgreSQL": Refused(("--database-url", "postgresql://x/y"), "is a PostgreSQL database"),
    "ClickHouse": Refused(("--clickhouse-url", "clickhouse://x"), "is on a ClickHouse server"),
    "no ledger": Refused(("--data-dir", "/nowhere"), "There is no ledger at /nowhere/ledger.db"),
}


@pytest.mark.parametrize("one", BACKUPS.values(), ids=BACKUPS)
def test_what_cannot_be_backed_up(data: Path, tmp_path: Path, one: Refused) -> None:
    made = tmp_path / "made"
    result = meterhouse("backup", made, "--data-dir", data, *one.options)
    assert result.exit_code == 1
    assert one.sentence in result.stderr
    assert not made.exists()


def test_an_archive_that_is_there_already_stays(data: Path, tmp_path: Path) -> None:
    (tmp_path / "made").write_text("mine")
    result = meterhouse("backup", tmp_path / "made", "--data-dir", data)
    assert result.exit_code == 1
    assert f"There is a file at {tmp_path / 'made'} already" in result.stderr
    assert (tmp_path / "made").read_text() == "mine"
    result = meterhouse("backup", tmp_path / "missing" / "made", "--data-dir", data)
    assert f"There is no folder {tmp_path / 'missing'}." in result.stderr


def test_there_is_one_back_up_at_a_time(data: Path, tmp_path: Path) -> None:
    with (data / "backup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = meterhouse("backup", tmp_path / "made", "--data-dir", data)
    assert result.exit_code == 1
    assert "Another back-up of" in result.stderr


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    """Return a folder that is empty, and is so afterwards."""
    folder = tmp_path / "target"
    folder.mkdir()
    yield folder
    assert names(folder) <= {"lock"}


def test_a_damaged_archive_restores_nothing(archive: Path, target: Path) -> None:
    damaged = target.parent / "damaged"
    damaged.write_bytes(archive.read_bytes()[:-100])
    for folder in (target, target.parent / "new" / "folder"):
        result = meterhouse("restore", damaged, "--data-dir", folder)
        assert result.exit_code == 1
        assert f"{damaged} is damaged, and nothing was restored" in result.stderr
    assert names(target.parent) == {"target", "damaged"}


def test_a_disk_without_room_is_told_first(
    archive: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(restoring, "disk_usage", lambda _: Usage(100))
    result = meterhouse("restore", archive, "--data-dir", target)
    assert result.exit_code == 1
    assert "100 bytes are free" in result.stderr


@pytest.mark.parametrize("variable", ["METERHOUSE_DATABASE_URL", "METERHOUSE_CLICKHOUSE_URL"])
def test_stores_that_are_elsewhere_are_not_restored(
    archive: Path, target: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    scheme = "sqlite:////" if "DATABASE" in variable else "chdb:///"
    monkeypatch.setitem(ENVIRONMENT, variable, f"{scheme}elsewhere")
    result = meterhouse("restore", archive, "--data-dir", target)
    assert result.exit_code == 1
    assert "says that a store is elsewhere" in result.stderr


def test_a_folder_that_a_server_has_is_not_restored_to(archive: Path, target: Path) -> None:
    with lock_folder(target):
        result = meterhouse("restore", archive, "--data-dir", target)
    assert result.exit_code == 1
    assert "is in use by another Meterhouse" in result.stderr


def test_a_folder_that_is_not_empty_stays_as_it_is(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("mine")
    result = meterhouse("restore", archive, "--data-dir", tmp_path)
    assert result.exit_code == 1
    assert f"The folder {tmp_path} is not empty: it holds ledger.db." in result.stderr
    assert (tmp_path / "ledger.db").read_text() == "mine"
    assert names(tmp_path) == {"ledger.db", "lock"}


def test_what_an_interrupted_restore_left_is_no_obstacle(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "restoring").mkdir()
    (tmp_path / "restoring" / "ledger.db").write_text("half")
    result = meterhouse("restore", archive, "--data-dir", tmp_path)
    assert result.exit_code == 0, result.output
    assert names(tmp_path) == {"ledger.db", "lock", "usage"}
