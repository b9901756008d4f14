"""The composition root: builds everything from a Config and a Clock, and owns start and stop.

A process answers (`roles.answering`), works (`roles.working`), or does both, by its role; what all
have is in `roles.common`.

Start: open both stores, make accounts and keys, finish what a crash left behind.
Stop, the other way round: finish the requests in flight, drain what is pending, close both stores.
"""

import asyncio
from typing import IO

from meterhouse.clock import Clock
from meterhouse.config import Config
from meterhouse.dashboard.client import Asgi
from meterhouse.engine.start import EngineProcess
from meterhouse.folder import SERVER_FILE, lock_folder, write_server_file
from meterhouse.ingest.accept import Acceptor
from meterhouse.ledger.engine import Ledger
from meterhouse.logs import NoteRequest
from meterhouse.processing.progress import LocalProgress, SharedProgress
from meterhouse.processing.stillness import Stillness
from meterhouse.roles.answering import Answering, Work, accepting
from meterhouse.roles.common import Common
from meterhouse.roles.opening import open_stores
from meterhouse.roles.probes import Probes
from meterhouse.roles.working import Alone, Sharing, Working


class Meterhouse:
    """One running process: `asgi` answers requests between `start()` and `stop()`."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        note: NoteRequest,
        process: EngineProcess | None = None,
        ledger: Ledger | None = None,
        lock: IO[str] | None = None,
    ) -> None:
        """Open both stores; raises `StoreError` when one cannot be opened or is in use.

        `process` is one for the usage store and the judge. Without one they are in this process.
        `ledger` is one that has been opened as its owner, `lock` that of the data folder.
        """
        self.config = config
        if lock is None:
            lock = process.lock if process else lock_folder(config.data_dir)
        opened = open_stores(config, clock, lock, process, ledger)
        self.ledger = opened.ledger
        self.first_key = opened.first_key
        self.common = common = Common(config, clock, opened)
        acceptor = accepting(common, self._committed)
        self.working, self._work = (_sharing if common.shared else _alone)(common, acceptor)
        self.answering = (
            None if config.role == "worker" else Answering(common, acceptor, self._work, note)
        )
        self.asgi: Asgi = self.answering.asgi if self.answering else Probes(common, self._work)

    def _committed(self, _: int) -> None:
        self._work.progress.wake()

    async def start(self) -> None:
        """Finish what a crash left behind, then take events."""
        for part in (self.common, self.working, self.answering):
            if part is not None:
                await part.start()

    async def stop(self) -> None:
        """Drain what is pending and close both stores; the requests have ended before."""
        for part in (self.answering, self.working):
            if part is not None:
                await part.stop()
        (self.config.data_dir / SERVER_FILE).unlink(missing_ok=True)
        await self.common.stop()

    def write_server_file(self, url: str) -> None:
        """Write where the server listens, and the operator's token, for the command line."""
        if self.answering is not None:
            token = self.answering.services.operator_token
            write_server_file(self.config.data_dir, url, token)


def _alone(common: Common, acceptor: Acceptor) -> tuple[Working | None, Work]:
    """Work on a ledger that this process has to itself."""
    working = Alone(common, acceptor)
    progress = LocalProgress(common.stores, working.partitions)
    trouble, still = working.partitions.trouble, working.still
    return working, Work(progress, trouble, still, working.writing_months, lambda: 1)


def _sharing(common: Common, acceptor: Acceptor) -> tuple[Working | None, Work]:
    """Work on a ledger that several processes share, as far as the role goes."""
    progress = SharedProgress(common.stores, common.heartbeat, acceptor, common.sends("asked"))
    common.beside.append(progress)
    stillness = Stillness(common.stores, common.sends("pause"))
    working = None if common.config.role == "api" else Sharing(common, progress, stillness)
    return working, Work(
        progress,
        working.partitions.trouble if working else _no_trouble,
        stillness.still,
        working.writing_months if working else asyncio.Lock(),
        lambda: progress.api_nodes,
    )


def _no_trouble() -> str | None:
    """Say nothing: whoever only answers takes events, whether they are processed or not."""
    return None
