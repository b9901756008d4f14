"""The data folder: its lock, which one server has, and the file that tells where that listens.

Nobody but the user that a server runs as may look into it. It holds what signs sessions and what
customers have used.
"""

import fcntl
import json
import logging
import os
import socket
import stat
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO

from meterhouse import limits
from meterhouse.config import shown
from meterhouse.errors import InUseError, StoreError

log = logging.getLogger("meterhouse.folder")

SERVER_FILE = "server.json"
_LOCK_FILE = "lock"
_OTHERS = 0o077

# What a server and the commands make in the folder. It may hold other things, which are not ours.
_OURS = (
    "backup.lock",
    "exports",
    "ledger.db*",
    _LOCK_FILE,
    "processes",
    "restoring",
    SERVER_FILE,
    "snapshot",
    "usage",
)


def be_private() -> None:
    """Let nobody else read or write the files that this process makes from now on."""
    os.umask(_OTHERS)


def close_to_others(place: Path, held: Iterable[Path]) -> None:
    """Take a place, and what it holds, away from other users; tell in the log what was open.

    A folder among `held` is closed with everything in it, unless it is closed itself already.
    """
    opened = [path for path in (place, *held) if _is_open(path)]
    if not opened:
        return
    try:
        for one in opened:
            for path in (one, *(() if one == place else one.rglob("*"))):
                if _is_open(path):
                    path.chmod(path.lstat().st_mode & ~_OTHERS)
    except PermissionError:
        log.warning("%s is open to other users, and belongs to somebody else", shown(place))
    else:
        log.warning("%s was open to other users, and is closed to them now", shown(place))


def _is_open(path: Path) -> bool:
    """Tell whether others may do something with a file or folder.

    A link is as open as what it leads to; a folder with the sticky bit, as /tmp, is so on purpose.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    return bool(mode & _OTHERS) and not stat.S_ISLNK(mode) and not mode & stat.S_ISVTX


def lock_folder(data_dir: Path) -> IO[str]:
    """Lock the data folder, and make it where it is missing.

    The folder stays locked while a process has the file open. Raises `StoreError` when it cannot be
    used, `InUseError` when another Meterhouse has it.
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
        raise InUseError(
            f"The data folder {shown(data_dir)} is in use by another Meterhouse"
            f"{whose and f' ({whose})'}. Stop that one, or choose another folder with --data-dir."
        )
    close_to_others(data_dir, [path for name in _OURS for path in data_dir.glob(name)])
    with suppress(OSError):  # the disk may be full
        file.truncate(0)
        file.write(f"process {os.getpid()} on host {socket.gethostname()}\n")
        file.flush()
    return file


def write_server_file(data_dir: Path, url: str, token: str) -> None:
    """Write where a server listens, and the operator's token, for the command line."""
    handle = os.open(data_dir / SERVER_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump({"pid": os.getpid(), "url": url, "token": token}, file)


def locked_in_time(descriptor: int) -> bool:
    """Lock an open file for as long as it is open, unless somebody else goes on having its lock."""

    def lock() -> bool:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    return succeeds_in_time(lock)


def succeeds_in_time(lock: Callable[[], bool]) -> bool:
    """Try for a while: the processes of a server that was killed end one after the other."""
    deadline = time.monotonic() + limits.LOCK_SECONDS_MAX
    while time.monotonic() < deadline:
        if lock():
            return True
        time.sleep(0.02)
    return False
