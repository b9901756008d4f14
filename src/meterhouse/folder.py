"""The data folder: its lock, which one server has, and the file that tells where that listens."""

import fcntl
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from meterhouse import limits
from meterhouse.errors import StoreError

DOOR_FILE = "server.json"
_LOCK_FILE = "lock"


def lock_folder(data_dir: Path) -> IO[str]:
    """Lock the data folder, and make it where it is missing.

    The folder stays locked while a process has the file open. Raises `StoreError` when it cannot be
    used or another Meterhouse has it.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        file = (data_dir / _LOCK_FILE).open("a")
    except OSError as error:
        raise StoreError(f"The data folder {data_dir} cannot be used: {error.strerror}.") from error
    if not _locked(file):
        file.close()
        raise StoreError(
            f"The data folder {data_dir} is in use by another Meterhouse. Stop that one, or choose "
            "another folder with --data-dir."
        )
    return file


def _locked(file: IO[str]) -> bool:
    """Try for a while: the processes of a server that was killed end one after the other."""
    deadline = time.monotonic() + limits.DATA_DIR_LOCK_SECONDS_MAX
    while time.monotonic() < deadline:
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.02)
    return False
