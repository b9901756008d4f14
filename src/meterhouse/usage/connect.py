"""Where the usage store is, as its URL tells, and how to get there.

What a reader may rely on:

- `chdb://<path>` names a folder for the engine inside this process. `%` codes in it stand for
  characters, and every folder can be named.
- A folder serves one process at a time. Whoever is refused hears which one has it.
"""

import fcntl
import os
import re
from pathlib import Path
from typing import Any

from clickhouse_connect import get_client
from clickhouse_connect.driver.client import Client

from meterhouse.config import shown
from meterhouse.errors import StoreError
from meterhouse.folder import close_to_others
from meterhouse.limits import USAGE_CACHE_BYTES_MAX, USAGE_MEMORY_LOOK_MILLISECONDS
from meterhouse.usage.folder import path_of

ENGINE_OPTIONS = {
    "mark_cache_size": USAGE_CACHE_BYTES_MAX,
    "index_mark_cache_size": USAGE_CACHE_BYTES_MAX,
    "primary_index_cache_size": USAGE_CACHE_BYTES_MAX,
    # Twenty looks a second, as it comes, are a third of what an idle server costs.
    "memory_worker_period_ms": USAGE_MEMORY_LOOK_MILLISECONDS,
}
TLS_SCHEMES = ("clickhouses", "https")

_STATUS_FILE = "status"  # the engine locks it and writes its process id into it
_PID = re.compile(r"PID: (\d+)")


class Address:
    """The address of a usage store: a folder or a server. `close()` it behind its clients.

    `place` is the address without the password that a URL may hold.
    """

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        self._url = url
        self._tls = scheme in TLS_SCHEMES
        self._descriptor: int | None = None
        self.folder = path_of(url)
        if self.folder is None:
            self.place = rest.rpartition("@")[2].partition("?")[0]
            return
        self.place = shown(self.folder)
        if "?" in rest:
            raise StoreError(
                f"The usage store cannot be at {rest}: the URL holds a question mark. Write %3F "
                "for one that is part of the path."
            )

    def connect(self, settings: dict[str, Any]) -> Client:
        """Return a client; makes the folder where it is missing."""
        if self.folder is None:
            return get_client(
                dsn=self._url,
                secure=self._tls,
                autogenerate_session_id=False,  # a session refuses two statements at a time
                settings=settings,
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        close_to_others(self.folder, self.folder.iterdir())
        return get_client(
            interface="chdb",
            path=self._engine_path(self.folder),
            chdb_options=ENGINE_OPTIONS,
            settings=settings,
        )

    def close(self) -> None:
        """Let go of the folder."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def user(self) -> str | None:
        """Return which process' engine has the folder; None when nobody's has it."""
        if self.folder is None:
            return None
        try:
            with (self.folder / _STATUS_FILE).open("rb") as status:
                fcntl.flock(status, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            found = _PID.search((self.folder / _STATUS_FILE).read_text(errors="replace"))
            return f"process {found[1]}" if found else "another process"
        except OSError:
            return None
        return None

    def _engine_path(self, folder: Path) -> str:
        """Return a path that the engine takes for `folder`.

        It takes text, and what follows a question mark for its options. So a folder that has
        another name is opened here, and the engine goes in by the descriptor.
        """
        path = str(folder.absolute())
        if "?" not in path and path.isprintable():
            return path
        if self._descriptor is None:
            self._descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        return f"file:/proc/self/fd/{self._descriptor}"
