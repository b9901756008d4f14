"""Snapshot: both stores as they were at one moment, in two folders, for a back-up to read.

What a reader may rely on:

- The moment is one at which nothing is half-way between the stores: what is acknowledged is in the
  journal or judged, and what is judged is in the usage store. So it is one that a crash might have
  left behind, and a start from it finds every event once.
- Processing stands still only until the moment is held; events are acknowledged all the while.
- There is one snapshot at a time. It is there until it is dropped, or the server ends.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from shutil import rmtree
from typing import Any

import sqlalchemy as sa

from meterhouse.config import Config
from meterhouse.errors import StoreError
from meterhouse.stores import Stores
from meterhouse.usage import folder
from meterhouse.usage.snapshot import freeze, thaw

_FOLDER = "snapshot"  # in the data folder

log = logging.getLogger("meterhouse.snapshot")


def check_covered(config: Config) -> None:
    """Raise `StoreError` unless both stores are files of this machine."""
    if sa.make_url(config.database_url).get_backend_name() != "sqlite":
        raise StoreError(
            "A back-up covers a data folder, and the ledger is a PostgreSQL database. Stop the "
            "server, save the ledger with pg_dump and the usage store as docs/operations.md says, "
            "and start again."
        )
    if folder.path_of(config.clickhouse_url) is None:
        raise StoreError(
            "A back-up covers a data folder, and the usage store is on a ClickHouse server. Stop "
            "the server, save the usage store with ClickHouse's BACKUP DATABASE and the ledger as "
            "docs/operations.md says, and start again."
        )


class Snapshots:
    """Takes snapshots; `state` tells how far the newest is, and where."""

    def __init__(
        self, stores: Stores, still: Callable[[], AbstractAsyncContextManager[None]], config: Config
    ) -> None:
        """Take them of `stores`; within `still()` nothing changes that is in both."""
        self._stores = stores
        self._still = still
        self._config = config
        self._folder = config.data_dir / _FOLDER
        self._task: asyncio.Task[None] | None = None
        self._given_up = False
        self._state: dict[str, Any] = {}
        self._become("idle")

    def state(self) -> dict[str, Any]:
        """Return status, step, progress, the problem, and where the copies of the stores are."""
        return self._state

    async def start(self) -> None:
        """Begin a snapshot; one that there is goes."""
        await self.drop()
        self._become("running")
        self._task = asyncio.create_task(self._run())

    async def drop(self) -> None:
        """Let the snapshot go, if there is one."""
        if self._task is not None:
            self._given_up = True
            await asyncio.wait({self._task})
            self._given_up = False
            self._task = None
            await self.clear()
        self._become("idle")

    async def clear(self) -> None:
        """Let go what there is on disk, of a server that was killed, too."""
        await asyncio.to_thread(rmtree, self._folder, ignore_errors=True)
        with suppress(StoreError):  # a server has none, and one that does not answer keeps it
            await self._stores.usage(thaw)

    async def _run(self) -> None:
        try:
            check_covered(self._config)
            await self.clear()
            await self._take()
        except StoreError as error:
            self._become("failed", problem=str(error))
        except Exception:
            log.exception("a snapshot failed")
            self._become("failed", problem="An unexpected error occurred; the log tells more.")

    async def _take(self) -> None:
        self._state["step"] = "Finishing what is half-way"
        async with self._still():
            view = await self._stores.snapshot()
            # Nothing that is judged gets in now, so the later of the two is of the same moment.
            usage = await self._stores.usage(freeze)
        self._state["step"] = "Copying the ledger"
        ledger = self._folder / "ledger.db"
        self._folder.mkdir(mode=0o700)
        await asyncio.to_thread(view.copy_to, ledger, self._copied)
        self._become("ready", ledger=str(ledger), usage=usage)

    def _copied(self, done: int, total: int) -> None:
        if self._given_up:
            raise StoreError("The snapshot was given up.")
        self._state |= {"done": done, "total": total}

    def _become(self, status: str, *, problem: str = "", ledger: str = "", usage: str = "") -> None:
        self._state = {
            "status": status,
            "step": "",
            "done": 0,
            "total": 0,
            "problem": problem,
            "ledger": ledger,
            "usage": usage,
        }
