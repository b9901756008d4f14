"""Invoice: time goes on for whoever is billed, by the machine's clock and by test clocks.

What a reader may rely on:

- A clock that was sent on its way has arrived when all that was acknowledged before is counted and
  all that was due until then is done, one thing after the other.
- Wherever it is killed, it goes on from there: what is done is on disk, and is not done again.
"""

import asyncio
import logging

import msgspec
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.background import Worker, is_set_within
from meterhouse.clock import Clock
from meterhouse.errors import OvertakenError
from meterhouse.ledger import accounts, test_clocks
from meterhouse.ledger.announce import Cause, announce
from meterhouse.processing.stillness import Settle
from meterhouse.render.test_clock import render_test_clock
from meterhouse.stores import Stores

log = logging.getLogger("meterhouse.invoice")


class Invoicer(Worker):
    """Does what is due, and looks once in a while for what has become so."""

    def __init__(self, stores: Stores, settle: Settle, clock: Clock) -> None:
        super().__init__()
        self._stores = stores
        self._settle = settle
        self._clock = clock

    async def _run(self) -> None:
        while True:
            self._work.clear()
            try:
                await self._advance_clocks()
            except OvertakenError:
                return
            except Exception:
                log.exception("what is due could not be billed and will be tried again")
                await asyncio.sleep(limits.INVOICE_RETRY_SECONDS)
                continue
            await is_set_within(self._work, limits.INVOICE_LOOK_SECONDS)

    async def _advance_clocks(self) -> None:
        for scope, clock_id in await self._stores.read(test_clocks.advancing):
            await self._all_is_counted()
            await self._stores.write(_arrive, scope, clock_id, self._clock.now())

    async def _all_is_counted(self) -> None:
        """Wait until what was acknowledged is stored, however long that takes."""
        while not await self._settle(limits.CONSISTENCY_WAIT_SECONDS_MAX):
            log.info("invoices wait until what was acknowledged is stored")


def _arrive(connection: sa.Connection, scope_id: int, clock_id: str, now: int) -> None:
    """Let a clock stand where it was sent."""
    clock = test_clocks.find_test_clock(connection, scope_id, clock_id, lock=True)
    if clock is None or clock.target is None:
        return
    arrived = msgspec.structs.replace(clock, frozen_time=clock.target, target=None)
    test_clocks.update_test_clock(connection, arrived)
    announce(
        connection,
        Cause(accounts.scopes_by_id(connection)[scope_id], now),
        "test_helpers.test_clock.ready",
        f"/v1/test_helpers/test_clocks/{clock.id}",
        render_test_clock(arrived),
    )
