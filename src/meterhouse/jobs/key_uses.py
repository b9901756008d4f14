"""When keys were used last, as people are shown it.

A key that is looked up is noted in memory, and what was noted is written once a minute, in few and
short transactions. So no request waits for it; a kill takes up to a minute of it away.
"""

import asyncio
import logging

from meterhouse import limits
from meterhouse.background import Background
from meterhouse.errors import StoreError
from meterhouse.ledger import keys
from meterhouse.stores import Stores

log = logging.getLogger("meterhouse.keys")


class KeyUses(Background):
    """Gathers uses between `start()` and `stop()`."""

    def __init__(self, stores: Stores) -> None:
        super().__init__()
        self._stores = stores
        self._used: dict[str, int] = {}

    def note(self, key: str, now: int) -> None:
        """Note that the key with this id, which there is, is used."""
        self._used[key] = now

    async def write(self) -> None:
        """Write what was noted."""
        noted, self._used = list(self._used.items()), {}
        for at in range(0, len(noted), limits.API_KEY_USES_ROWS_MAX):
            part = dict(noted[at : at + limits.API_KEY_USES_ROWS_MAX])
            try:
                await self._stores.write(keys.used, part)
            except StoreError as error:
                self._used = dict(noted[at:]) | self._used
                log.warning("when keys were used last is written later: %s", error)
                return

    async def stop(self) -> None:
        """Write what was noted last."""
        await super().stop()
        await self.write()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(limits.API_KEY_USES_SECONDS)
            await self.write()
