import fcntl
import os
from pathlib import Path
from threading import Timer

import pytest

from meterhouse import limits
from meterhouse.errors import StoreError
from meterhouse.folder import lock_folder


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
