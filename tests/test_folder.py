import fcntl
import os
from pathlib import Path
from threading import Timer

import httpx
import pytest

from meterhouse import limits
from meterhouse.errors import StoreError
from meterhouse.folder import lock_folder
from tests.server import TEST_KEY, serving


def test_a_start_waits_for_what_is_left_of_a_killed_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its processes end one after the other, so the lock may be held a little longer."""
    with (tmp_path / "lock").open("a") as left:
        fcntl.flock(left, fcntl.LOCK_EX)
        Timer(0.1, left.close).start()
        with lock_folder(tmp_path):
            assert left.closed
    monkeypatch.setattr(limits, "LOCK_SECONDS_MAX", 0.05)
    with (
        lock_folder(tmp_path),
        pytest.raises(
            StoreError,
            match=rf"another Meterhouse \(process {os.getpid()} on host .+\)\. Stop that one",
        ),
    ):
        lock_folder(tmp_path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file/data cannot be used: Not a directory"):
        lock_folder(tmp_path / "file" / "data")


def open_to_others(folder: Path) -> list[Path]:
    """Return what others may read or write of a folder, itself included."""
    return [path for path in (folder, *folder.rglob("*")) if path.lstat().st_mode & 0o077]


def without_links(paths: list[Path]) -> list[Path]:
    return [path for path in paths if not path.is_symlink()]


def test_nobody_else_looks_into_the_folder_whatever_the_umask(tmp_path: Path) -> None:
    """Given a folder and a ledger elsewhere that are open, when a server has run, then none is."""
    data_dir, ledger = tmp_path / "data", tmp_path / "elsewhere.db"
    umask = os.umask(0)
    try:
        (data_dir / "exports").mkdir(parents=True)
        (data_dir / "exports" / "left.csv").touch()
        ledger.touch()
        with serving(data_dir, database_url=f"sqlite:///{ledger}") as server:
            answer = httpx.post(f"{server.url}/v1/customers", auth=(TEST_KEY, ""), trust_env=False)
            assert answer.status_code == 200
            beside = [path for path in tmp_path.iterdir() if path.name.startswith(ledger.name)]
            assert len(beside) > 1
            assert [path for path in beside if open_to_others(path)] == []
            assert without_links(open_to_others(data_dir)) == []
        assert "was open to other users" in server.log()
        with serving(data_dir, database_url=f"sqlite:///{ledger}") as server:
            pass
        assert without_links(open_to_others(data_dir)) == []
        assert "was open to other users" not in server.log()
    finally:
        os.umask(umask)
