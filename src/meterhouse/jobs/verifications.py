"""Verifications of several processes: whichever is asked tells of the one that runs.

Where one process has the ledger, that is its own. Else the process that was asked first verifies,
and tells the others by the ledger how far it is.
"""

import asyncio
import logging
import secrets
from typing import Any

from meterhouse import limits
from meterhouse.errors import StoreError
from meterhouse.jobs.verify import Verification
from meterhouse.ledger import verification as told
from meterhouse.stores import Stores

log = logging.getLogger("meterhouse.verify")

_BEGUN = {"status": "running", "step": "", "done": 0, "total": 0, "lines": [], "problems": []}
_ENDED = "The process that verified has ended."


class Verifications:
    """What this process knows of verifications, and the one that it may run."""

    def __init__(self, verification: Verification, stores: Stores) -> None:
        self._verification = verification
        self._stores = stores
        self._name = secrets.token_hex(8)
        self._telling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin, unless a verification is running somewhere."""
        if not self._stores.shared:
            self._verification.start()
        elif await self._stores.write(told.begin, self._name, _BEGUN, limits.VERIFY_TOLD_SECONDS):
            self._verification.start()
            self._telling = asyncio.create_task(self._tell())

    async def state(self) -> dict[str, Any]:
        """Return what `Verification.state` says where the newest one runs."""
        state = self._verification.state()
        if not self._stores.shared:
            return state
        known, lives = await self._stores.read(told.read)
        if known is None or lives:
            return known or state
        return {**known, "status": "failed", "problems": [*known["problems"], _ENDED]}

    async def stop(self) -> None:
        """End what runs here; others hear that it has ended."""
        await self._verification.stop()
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.wait({self._telling})

    async def _tell(self) -> None:
        """Say how far it is until it has ended, and what it has found."""
        running = True
        while running:
            await asyncio.sleep(limits.VERIFY_POLL_MILLISECONDS / 1000)
            state = self._verification.state()
            try:
                await self._stores.write(told.tell, self._name, state, limits.VERIFY_TOLD_SECONDS)
            except StoreError as error:
                log.warning("how far a verification is will be told later: %s", error)
            else:
                running = state["status"] == "running"
