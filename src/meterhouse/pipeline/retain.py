"""Retain: what is over its time leaves the ledger, a little at a time.

Identifiers go after the deduplication window, idempotency records when they expire, notifications
and resends after their days. Each transaction deletes few rows, so that no acknowledgement waits
long behind it. Rejected events leave the usage store by that store's own TTL.
"""

import asyncio
import logging

from meterhouse import limits
from meterhouse.clock import Clock
from meterhouse.ledger import idempotency, notifications, resends
from meterhouse.metering.window import MILLISECONDS
from meterhouse.pipeline.identifiers import Identifiers
from meterhouse.stores import Stores
from meterhouse.usage.store import UsageStore

_NOTIFICATIONS = limits.NOTIFICATIONS_DAYS * MILLISECONDS["day"]
_RESENDS = limits.RESENDS_DAYS * MILLISECONDS["day"]

log = logging.getLogger("meterhouse.retain")


class Retention:
    """Sweeps the ledger every `RETAIN_INTERVAL_SECONDS`."""

    def __init__(self, stores: Stores, identifiers: Identifiers, clock: Clock) -> None:
        self._stores = stores
        self._identifiers = identifiers
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Sweep from now on."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop sweeping."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def sweep(self) -> int:
        """Delete everything that is over its time; return how many rows went."""
        now = self._clock.now()
        self._identifiers.drop(now)
        await self._stores.usage(UsageStore.drop_claims, self._identifiers.first_day_kept(now))
        gone = 0
        for expire, before in (
            (idempotency.expire, now),
            (notifications.expire, now - _NOTIFICATIONS),
            (resends.expire, now - _RESENDS),
        ):
            chunk = limits.RETAIN_CHUNK_ROWS_MAX
            while chunk == limits.RETAIN_CHUNK_ROWS_MAX:
                chunk = await self._stores.write(expire, before, limits.RETAIN_CHUNK_ROWS_MAX)
                gone += chunk
        return gone

    async def _run(self) -> None:
        while True:
            try:
                gone = await self.sweep()
            except Exception:
                log.exception("a sweep failed and will be tried again")
            else:
                log.debug("a sweep deleted %d rows", gone)
            await asyncio.sleep(limits.RETAIN_INTERVAL_SECONDS)
