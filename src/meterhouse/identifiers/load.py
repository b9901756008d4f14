"""Load: tell the filters of identifiers what the usage store has.

That is after a start, and whenever a partition has come. Fifty million identifiers take some ten
seconds, during which requests are answered: as long as a filter does not know, the usage store is
asked about every identifier of its partition.
"""

import asyncio
import logging
import time
from collections.abc import Mapping

import numpy as np

from meterhouse import limits
from meterhouse.background import Worker, is_set_within
from meterhouse.clock import Clock
from meterhouse.identifiers.filter import Digests, Filter
from meterhouse.identifiers.index import Identifiers
from meterhouse.metrics import Metrics
from meterhouse.stores import Stores
from meterhouse.usage.store import UsageStore

log = logging.getLogger("meterhouse.load")


class Loader(Worker):
    """Loads what is not loaded yet whenever it is woken; a failure is tried again.

    It also lets the filters forget what no longer holds.
    """

    def __init__(
        self, stores: Stores, identifiers: Identifiers, clock: Clock, metrics: Metrics
    ) -> None:
        super().__init__()
        self._stores = stores
        self._identifiers = identifiers
        self._clock = clock
        self._metrics = metrics

    async def load(self) -> int:
        """Read what the usage store has, let the filters know, and return how many there are.

        Partitions that have come at the same time are read together.
        """
        shares = self._identifiers.unloaded()
        partitions = self._identifiers.partitions
        since = self._identifiers.first_day_kept(self._clock.now())
        stored, total = {number: Filter(partitions) for number in shares}, 0
        await self._stores.usage(UsageStore.sync)
        for day, rows in await self._stores.usage(UsageStore.claim_days, since):
            pieces = rows // limits.FILTER_LOAD_DIGESTS + 1
            for piece in range(pieces):
                found = await self._stores.usage(
                    UsageStore.claimed_on, day, piece, pieces, partitions, list(shares)
                )
                firsts = np.frombuffer(found, "<u8")
                await asyncio.to_thread(_add, stored, partitions, firsts, day)
                total += len(firsts)
        for number, share in shares.items():
            await asyncio.to_thread(stored[number].prepare)  # lest the first batch has to
            self._identifiers.know(share, stored[number])
        return total

    async def _run(self) -> None:
        while True:
            try:
                while self._identifiers.unloaded():
                    self._metrics.identifiers_known.set(0)
                    started = time.perf_counter()
                    total = await self.load()
                    took = time.perf_counter() - started
                    log.info("loaded %d identifiers in %.1f s", total, took)
            except Exception:
                log.exception("the stored identifiers could not be loaded; another try follows")
                await asyncio.sleep(limits.FILTER_LOAD_RETRY_SECONDS)
                continue
            self._work.clear()
            self._metrics.identifiers_known.set(1)
            if not await is_set_within(self._work, limits.RETAIN_INTERVAL_SECONDS):
                self._identifiers.drop(self._clock.now())


def _add(stored: Mapping[int, Filter], partitions: int, firsts: Digests, day: int) -> None:
    """Add digests a few at a time, for nobody else can run meanwhile."""
    for at in range(0, len(firsts), limits.FILTER_ADD_DIGESTS):
        some = firsts[at : at + limits.FILTER_ADD_DIGESTS]
        for number, one in stored.items():
            mine = some if partitions == 1 else some[some % np.uint64(partitions) == number]
            one.add(mine, day)
