"""The data folder: its lock, which one server has, and the file that tells where that listens.

Nobody but the user that a server runs as may look into it. It holds what signs sessions and what
customers have used.
"""

import fcntl
import logging
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from meterhouse import limits
from meterhouse.config import shown
from meterhouse.errors import StoreError

log = logging.getLogger("meterhouse.folder")

DOOR_FILE = "server.json"
_LOCK_FILE = "lock"
_OTHERS = 0o077


def be_private() -> None:
    """Let nobody else read or write the files that this process makes from now on."""
    os.umask(_OTHERS)


def close_to_others(path: Path) -> bool:
    """Take a file or folder away from other users; return whether it was open to them.

    One that belongs to somebody else stays as it is.
    """
    mode = path.stat().st_mode & 0o777
    if not mode & _OTHERS:
        return False
    with suppress(PermissionError):
        path.chmod(mode & ~_OTHERS)
    return True


def lock_folder(data_dir: Path) -> IO[str]:
    """Lock the data folder, and make it where it is missing.

    The folder stays locked while a process has the file open. Raises `StoreError` when it cannot be
    used or another Meterhouse has it.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        file = (data_dir / _LOCK_FILE).open("a+")
    except OSError as error:
        raise StoreError(
            f"The data folder {shown(data_dir)} cannot be used: {error.strerror}."
        ) from error
    if not locked_in_time(file.fileno()):
        file.seek(0)
        whose = file.read(limits.LOCK_FILE_CHARS_MAX).strip()
        file.close()
        raise StoreError(
            f"The data folder {shown(data_dir)} is in use by another Meterhouse"
            f"{whose and f' ({whose})'}. Stop that one, or choose another folder with --data-dir."
        )
    _close_folder(data_dir)
    with suppress(OSError):  # the disk may be full
        file.truncate(0)
        file.write(f"process {os.getpid()} on host {socket.gethostname()}\n")
        file.flush()
    return file


def _close_folder(data_dir: Path) -> None:
    """Close a folder that is open to others, and all that it holds: copies of it keep the modes."""
    if not close_to_others(data_dir):
        return
    for folder, folders, files in os.walk(data_dir):
        for path in (Path(folder, name) for name in (*folders, *files)):
            if not path.is_symlink():
                close_to_others(path)
    log.warning(
        "the data folder %s was open to other users of this machine, and is closed to them now",
        shown(data_dir),
    )


def locked_in_time(descriptor: int) -> bool:
    """Lock an open file for as long as it is open, unless somebody else goes on having its lock."""

    def lock() -> bool:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    return happens_in_time(lock)


def happens_in_time(lock: Callable[[], bool]) -> bool:
    """Try for a while: the processes of a server that was killed end one after the other."""
    deadline = time.monotonic() + limits.LOCK_SECONDS_MAX
    while time.monotonic() < deadline:
        if lock():
            return True
        time.sleep(0.02)
    return False
