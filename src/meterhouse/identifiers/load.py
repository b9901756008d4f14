"""Load: after a start, tell the filter of identifiers what the usage store has.

Fifty million take some ten seconds, during which requests are answered: as long as the filter does
not know, the usage store is asked about every identifier.
"""

import asyncio
import logging
import time

import numpy as np

from meterhouse import limits
from meterhouse.background import Background
from meterhouse.clock import Clock
from meterhouse.identifiers.filter import Filter
from meterhouse.identifiers.index import Identifiers
from meterhouse.metrics import Metrics
from meterhouse.stores import Stores
from meterhouse.usage.store import UsageStore

log = logging.getLogger("meterhouse.load")


class Loader(Background):
    """Loads once; a failure is tried again."""

    def __init__(
        self, stores: Stores, identifiers: Identifiers, clock: Clock, metrics: Metrics
    ) -> None:
        super().__init__()
        self._stores = stores
        self._identifiers = identifiers
        self._clock = clock
        self._metrics = metrics

    async def load(self) -> int:
        """Read what the usage store has, let the filter know, and return how many there are."""
        since = self._identifiers.first_day_kept(self._clock.now())
        stored, total = Filter(), 0
        for day, rows in await self._stores.usage(UsageStore.claim_days, since):
            pieces = rows // limits.FILTER_LOAD_DIGESTS + 1
            for piece in range(pieces):
                found = await self._stores.usage(UsageStore.claimed_on, day, piece, pieces)
                await asyncio.to_thread(_add, stored, found, day)
            total += rows
        await asyncio.to_thread(stored.prepare)  # lest the first batch has to
        self._identifiers.know(stored)
        self._metrics.identifiers_known.set(1)
        return total

    async def _run(self) -> None:
        started = time.perf_counter()
        while True:
            try:
                total = await self.load()
            except Exception:
                log.exception("the stored identifiers could not be loaded; another try follows")
                await asyncio.sleep(limits.FILTER_LOAD_RETRY_SECONDS)
            else:
                log.info("loaded %d identifiers in %.1f s", total, time.perf_counter() - started)
                return


def _add(stored: Filter, digests: bytes, day: int) -> None:
    """Add digests a few at a time, for nobody else can run meanwhile."""
    firsts = np.frombuffer(digests, "<u8")
    for at in range(0, len(firsts), limits.FILTER_ADD_DIGESTS):
        stored.add(firsts[at : at + limits.FILTER_ADD_DIGESTS], day)
