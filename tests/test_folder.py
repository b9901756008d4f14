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


def open_to_others(*places: Path) -> list[Path]:
    """Return what others may read or write of places and of what they hold; links apart."""
    found = [path for place in places for path in (place, *place.rglob("*"))]
    return [path for path in found if path.lstat().st_mode & 0o077 and not path.is_symlink()]


def test_nobody_else_looks_into_the_folder_whatever_the_umask(tmp_path: Path) -> None:
    """Given open places, when a server has run, then what it has made and found there is closed."""
    data_dir, ledger, usage = (tmp_path / name for name in ("data", "elsewhere.db", "usage"))
    settings = {"database_url": f"sqlite:///{ledger}", "clickhouse_url": f"chdb://{usage}"}
    umask = os.umask(0)
    try:
        (data_dir / "exports").mkdir(parents=True)
        (data_dir / "exports" / "left.csv").touch()
        (data_dir / "of somebody else").touch()
        usage.mkdir()
        ledger.touch()
        with serving(data_dir, **settings) as server:
            answer = httpx.post(f"{server.url}/v1/customers", auth=(TEST_KEY, ""), trust_env=False)
            assert answer.status_code == 200
            others = {data_dir / "of somebody else", server.log_file}
            beside = list(tmp_path.glob(f"{ledger.name}*"))
            assert len(beside) > 1
            assert {*open_to_others(data_dir, usage, *beside)} == others
        for place in (data_dir, ledger, usage):
            assert f"{place} was open to other users" in server.log()
        with serving(data_dir, **settings) as server:
            pass
        assert {*open_to_others(data_dir, usage)} == others
        assert "open to other users" not in server.log()
    finally:
        os.umask(umask)


def test_what_lies_open_in_a_folder_that_is_closed_is_closed_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever gets a copy of a file gets its mode."""
    tmp_path.chmod(0o700)
    os.umask(0o022)  # whoever locks a folder changes it again
    for name in ("ledger.db", "ledger.db-wal", "usage/store/1.bin", "unrelated"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch(0o644)
    (tmp_path / "exports").symlink_to(tmp_path / "unrelated")
    lock_folder(tmp_path).close()
    assert open_to_others(tmp_path) == [tmp_path / "unrelated"]
    assert caplog.messages == [f"{tmp_path} was open to other users, and is closed to them now"]
    lock_folder(tmp_path).close()
    assert len(caplog.messages) == 1


def test_a_folder_that_is_everybody_s_on_purpose_stays_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    lock_folder(tmp_path).close()
    assert tmp_path.stat().st_mode & 0o7777 == 0o1777
