"""Erase: what is kept of customers who are to be forgotten, step by step (`ledger.erasures`).

- What a customer's sender told of it goes in the transaction of its deletion. Events about it are
  erased here: as soon as they are `ERASURE_EVENT_MINUTES` old and owed to no destination, and after
  `ERASURE_OWED_DAYS` whatever they are. So who listens hears of the deletion, and of what came
  before it, as it was.
- Each step may be done again: a kill in the middle changes nothing about how it ends.
"""

import asyncio
import logging

import msgspec

from meterhouse import limits
from meterhouse.background import Worker, happens
from meterhouse.ledger import erasures, idempotency, notifications
from meterhouse.ledger.erasures import Erasure
from meterhouse.metering.window import MILLISECONDS
from meterhouse.pipeline.timekeeper import Timekeeper
from meterhouse.stores import Stores
from meterhouse.wire.deleted import deleted

_FRESH = limits.ERASURE_EVENT_MINUTES * MILLISECONDS["minute"]
_OWED = limits.ERASURE_OWED_DAYS * MILLISECONDS["day"]
_AGAIN = limits.ERASURE_AGAIN_SECONDS * 1000

log = logging.getLogger("meterhouse.erase")


class Eraser(Worker):
    """Takes one step of one erasure after the other; one that has to wait holds up no other."""

    def __init__(self, stores: Stores, timekeeper: Timekeeper) -> None:
        super().__init__()
        self._stores = stores
        self._timekeeper = timekeeper

    async def _run(self) -> None:
        while True:
            try:
                while erasure := await self._stores.read(erasures.due, self._timekeeper.now()):
                    await self._stores.write(erasures.save, await self._advanced(erasure))
            except Exception:
                log.exception("an erasure failed and will be tried again")
                await asyncio.sleep(limits.ERASURE_RETRY_SECONDS)
                continue
            if not self._work.is_set():
                self._idle.set()
            if await happens(self._work, limits.ERASURE_LOOK_SECONDS):
                self._work.clear()

    async def _advanced(self, erasure: Erasure) -> Erasure:
        """Return an erasure one step further, or put off."""
        if await self._erase_customer(erasure):
            return msgspec.structs.replace(erasure, step="complete")
        return msgspec.structs.replace(erasure, due_at=self._timekeeper.now() + _AGAIN)

    async def _erase_customer(self, erasure: Erasure) -> bool:
        """Erase what shows the customer and may go by now; tell whether that was all."""
        now, scope = self._timekeeper.now(), erasure.scope
        left = deleted(erasure.customer, "customer")
        chunk = limits.ERASURE_CHUNK_ROWS_MAX
        while chunk == limits.ERASURE_CHUNK_ROWS_MAX:
            chunk = await self._stores.write(
                notifications.erase,
                scope,
                left,
                limits.ERASURE_CHUNK_ROWS_MAX,
                created_before=None if erasure.at_once else now - _FRESH,
                owed=erasure.at_once or erasure.created < now - _OWED,
            )
        # An event that is sent again is an answer, too, for as long as it is whole.
        await self._stores.write(idempotency.erase_customer, scope, erasure.customer, left)
        return await self._stores.read(notifications.erased, scope, erasure.customer)
