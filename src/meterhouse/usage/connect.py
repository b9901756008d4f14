"""Where the usage store is, as its URL tells, and how to get there.

What a reader may rely on:

- `chdb://<path>` names a folder for the engine inside this process. `%` codes in it stand for
  characters, and every folder can be named. Any other URL names servers (`usage.servers`).
- A folder serves one process at a time. Whoever is refused hears which one has it.
"""

import fcntl
import os
import re
from pathlib import Path
from typing import Any, Protocol

from clickhouse_connect import get_client
from clickhouse_connect.driver.client import Client

from meterhouse.config import shown
from meterhouse.errors import StoreError
from meterhouse.folder import close_to_others
from meterhouse.limits import USAGE_CACHE_BYTES_MAX, USAGE_MEMORY_LOOK_MILLISECONDS
from meterhouse.usage.folder import path_of
from meterhouse.usage.servers import Servers, read_url

ENGINE_OPTIONS = {
    "mark_cache_size": USAGE_CACHE_BYTES_MAX,
    "index_mark_cache_size": USAGE_CACHE_BYTES_MAX,
    "primary_index_cache_size": USAGE_CACHE_BYTES_MAX,
    # Twenty looks a second, as it comes, are a third of what an idle server costs.
    "memory_worker_period_ms": USAGE_MEMORY_LOOK_MILLISECONDS,
}

_STATUS_FILE = "status"  # the engine locks it and writes its process id into it
_PID = re.compile(r"PID: (\d+)")


class Address(Protocol):
    """What has the same rows wherever it is asked: a folder or servers.

    `place` is where it is, for people; `folder` is None for servers. `close()` it behind its
    clients.
    """

    place: str

    @property
    def folder(self) -> Path | None:
        """The folder of the engine inside this process."""

    @property
    def several(self) -> bool:
        """Whether there is another server when one fails."""

    def connect(self, settings: dict[str, Any]) -> tuple[Client, int]:
        """Return a client, and a number that tells when it has `moved`."""

    def moved(self, epoch: int) -> bool:
        """Tell whether a client should be closed, because another server is to be asked."""

    def leave(self, epoch: int, error: BaseException) -> None:
        """Note what went wrong at a client, which may be for another server to mend."""

    def user(self) -> str | None:
        """Return which process' engine has the folder; None when nobody's has it."""

    def close(self) -> None:
        """Let go of what was opened beside the clients."""


class Folder:
    """The address of a folder, whose engine is inside this process."""

    def __init__(self, path: Path, url: str) -> None:
        self.place = shown(path)
        self._descriptor: int | None = None
        self._path = path
        if "?" in url:
            raise StoreError(
                f"The usage store cannot be at {url.partition('://')[2]}: the URL holds a question "
                "mark. Write %3F for one that is part of the path."
            )

    @property
    def folder(self) -> Path:
        """The folder itself."""
        return self._path

    @property
    def several(self) -> bool:
        """There is but one engine."""
        return False

    def connect(self, settings: dict[str, Any]) -> tuple[Client, int]:
        """Return a client; makes the folder where it is missing."""
        self._path.mkdir(parents=True, exist_ok=True)
        close_to_others(self._path, self._path.iterdir())
        client = get_client(
            interface="chdb",
            path=self._engine_path(),
            chdb_options=ENGINE_OPTIONS,
            settings=settings,
        )
        return client, 0

    def moved(self, epoch: int) -> bool:
        """There is but one engine."""
        return epoch != 0

    def leave(self, epoch: int, error: BaseException) -> None:
        """There is no other engine."""

    def close(self) -> None:
        """Let go of the folder."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def user(self) -> str | None:
        """Return which process' engine has the folder; None when nobody's has it."""
        status_file = self._path / _STATUS_FILE
        try:
            with status_file.open("rb") as status:
                fcntl.flock(status, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            found = _PID.search(status_file.read_text(errors="replace"))
            return f"process {found[1]}" if found else "another process"
        except OSError:
            return None
        return None

    def _engine_path(self) -> str:
        """Return a path that the engine takes for the folder.

        It takes text, and what follows a question mark for its options. So a folder that has
        another name is opened here, and the engine goes in by the descriptor.
        """
        path = str(self._path.absolute())
        if "?" not in path and path.isprintable():
            return path
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_PATH | os.O_DIRECTORY)
        return f"file:/proc/self/fd/{self._descriptor}"


def address_of(url: str) -> Address:
    """Return the address that a URL names; raises `StoreError` when it names none."""
    path = path_of(url)
    return Servers(*read_url(url)) if path is None else Folder(path, url)
