"""Erase: what is kept of customers who are to be forgotten, step by step (`ledger.erasures`).

- What a customer's sender told of it goes in the transaction of its deletion. Events about it are
  erased here: as soon as they are `ERASURE_EVENT_MINUTES` old and owed to no destination, and after
  `ERASURE_OWED_DAYS` whatever they are. So who listens hears of the deletion, and of what came
  before it, as it was.
- Values under keys of payloads go from the events that were acknowledged before an erasure, and
  from answers to them. Slots that tell them apart are made anew from these events, as for other
  dimensions of the meter (`jobs.rebuild`): the same keys, in their next version.
- Each step may be done again: a kill in the middle changes nothing about how it ends.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.background import Worker, is_set_within
from meterhouse.errors import OvertakenError
from meterhouse.ledger import (
    accounts,
    dimensions,
    erasures,
    idempotency,
    journal,
    meters,
    notifications,
)
from meterhouse.ledger.dimensions import DimensionChange
from meterhouse.ledger.erasures import Erasure, Step
from meterhouse.metering.model import Meter
from meterhouse.metering.search import DEFAULT_CUSTOMER_KEY
from meterhouse.metering.window import MILLISECONDS
from meterhouse.processing.stillness import Settle, Still
from meterhouse.processing.timekeeper import Timekeeper
from meterhouse.stores import Stores
from meterhouse.usage import erase
from meterhouse.usage.erase import Target
from meterhouse.wire.deleted import deleted

_FRESH = limits.ERASURE_EVENT_MINUTES * MILLISECONDS["minute"]
_OWED = limits.ERASURE_OWED_DAYS * MILLISECONDS["day"]
_LOOK = limits.ERASURE_LOOK_SECONDS * 1000

log = logging.getLogger("meterhouse.erase")


class Eraser(Worker):
    """Takes one step of one erasure after the other; one that has to wait holds up no other.

    `rebuild()` is called when there is something to rebuild.
    """

    def __init__(
        self,
        stores: Stores,
        settle: Settle,
        still: Still,
        rebuild: Callable[[], None],
        timekeeper: Timekeeper,
    ) -> None:
        super().__init__()
        self._stores = stores
        self._settle = settle
        self._still = still
        self._rebuild = rebuild
        self._timekeeper = timekeeper
        self._replaced: dict[str, set[str]] = {}  # by erasure, whose files it waits for
        self._steps: dict[Step, Callable[[Erasure], Awaitable[Erasure]]] = {
            "customer": self._customer,
            "events": self._events,
            "slots": self._slots,
            "files": self._files,
        }

    async def _run(self) -> None:
        while True:
            self._work.clear()
            try:
                while erasure := await self._stores.read(erasures.due, self._timekeeper.now()):
                    await self._stores.write(erasures.save, await self._advanced(erasure))
            except OvertakenError:
                return
            except Exception:
                log.exception("an erasure failed and will be tried again")
                await asyncio.sleep(limits.ERASURE_RETRY_SECONDS)
                self._work.set()
            await is_set_within(self._work, limits.ERASURE_LOOK_SECONDS)

    async def _advanced(self, erasure: Erasure) -> Erasure:
        """Return an erasure one step further, or put off."""
        try:
            return await self._steps[erasure.step](erasure)
        except OvertakenError:
            raise
        except Exception:
            log.exception("the erasure %s failed and will be tried again", erasure.id)
            return self._later(erasure, _LOOK)

    def _later(self, erasure: Erasure, milliseconds: int) -> Erasure:
        return msgspec.structs.replace(erasure, due_at=self._timekeeper.now() + milliseconds)

    async def _customer(self, erasure: Erasure) -> Erasure:
        """Erase what shows the customer and may go by now."""
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
        if not await self._stores.read(notifications.erased, scope, erasure.customer):
            return self._later(erasure, _FRESH)
        if erasure.payload_keys:
            return msgspec.structs.replace(erasure, step="events")
        return msgspec.structs.replace(erasure, step="files" if erasure.at_once else "complete")

    async def _events(self, erasure: Erasure) -> Erasure:
        """Erase values from the events that were acknowledged before, and from answers to them.

        Most of it beside everything else. Then what came meanwhile, or was copied: by a resend, or
        by a cancellation, which repeats its event. A resend that would bring values back has seen
        by then that they are being erased, or is in the journal.
        """
        target = await self._stores.read(_target, erasure)
        found = await self._stores.usage(erase.begin, target)
        erasure = msgspec.structs.replace(erasure, events=max(found, erasure.events))
        await self._stores.write(erasures.save, erasure)
        await self._changed()
        await self._stores.write(journal.watermark)
        if not await self._settle(limits.CONSISTENCY_WAIT_SECONDS_MAX):
            return self._later(erasure, _LOOK)
        async with self._still():
            found = await self._stores.usage(erase.begin, target)
            await self._changed()
        await self._answers(erasure)
        return msgspec.structs.replace(
            erasure,
            step="slots",
            events=erasure.events + found,
            events_erased_at=self._timekeeper.now(),
        )

    async def _answers(self, erasure: Erasure) -> None:
        """Erase values from what is kept for idempotency."""
        after: int | None = 0
        while after is not None:
            after, changes = await self._stores.read(
                idempotency.payloads_with,
                erasure.scope,
                erasure.customer,
                erasure.payload_keys,
                (after, limits.ERASURE_CHUNK_ROWS_MAX),
            )
            if changes:
                await self._stores.write(idempotency.change, changes)

    async def _slots(self, erasure: Erasure) -> Erasure:
        """Have slots made anew that tell the values apart, and wait until the former are gone.

        A change to the same dimensions forgets which combinations were seen, too; a meter without
        slots has nothing else.
        """
        waits = False
        for meter in await self._stores.read(_telling, erasure):
            last = await self._stores.read(dimensions.newest, meter.id)
            waits |= last is not None and not last.cleared
            running = last is not None and last.status == "running"
            if running or (last is not None and last.created >= (erasure.events_erased_at or 0)):
                continue
            tells = not meter.slotted or await self._stores.usage(
                erase.slots_tell, meter, erasure.customer, erasure.payload_keys
            )
            if tells:
                await self._stores.write(_rebuild, meter, self._timekeeper.now())
                self._rebuild()
                waits = True
        if waits:
            return self._later(erasure, _LOOK)
        await self._stores.usage(erase.drop_deleted)
        await self._changed()
        return msgspec.structs.replace(erasure, step="files")

    async def _files(self, erasure: Erasure) -> Erasure:
        """Erase what quotes the customer; then wait until no file has what was erased."""
        if erasure.id not in self._replaced:
            scopes = await self._stores.read(accounts.scopes_by_id)
            quotes = await self._stores.usage(
                erase.forget_requests, scopes[erasure.scope], erasure.customer
            )
            await self._changed()
            rewritten = await self._stores.rewrite_ledger()
            erasure = msgspec.structs.replace(erasure, rewritten=rewritten)
            changed = quotes or erasure.events
            self._replaced[erasure.id] = await self._replaced_now() if changed else set()
        if self._replaced[erasure.id]:
            self._replaced[erasure.id] &= await self._replaced_now()
        if self._replaced[erasure.id]:
            return self._later(erasure, _LOOK)
        del self._replaced[erasure.id]
        return msgspec.structs.replace(erasure, step="complete")

    async def _replaced_now(self) -> set[str]:
        return await self._stores.usage(erase.replaced)

    async def _changed(self) -> None:
        """Wait until the usage store has changed what it was asked to."""
        left = 1
        while left:
            left = await self._stores.usage(erase.left)
            await asyncio.sleep(limits.ERASURE_POLL_MILLISECONDS / 1000 if left else 0)


def _target(connection: sa.Connection, erasure: Erasure) -> Target:
    keys = meters.customer_keys(connection, erasure.scope)
    return Target(
        scope=accounts.scopes_by_id(connection)[erasure.scope],
        customer=erasure.customer,
        keys=erasure.payload_keys,
        customer_keys=(DEFAULT_CUSTOMER_KEY, *keys),
    )


def _telling(connection: sa.Connection, erasure: Erasure) -> list[Meter]:
    """Return the meters that have some of the keys as dimensions."""
    keys = set(erasure.payload_keys)
    mine = meters.of_scope(connection, erasure.scope)
    return [meter for meter in mine if not keys.isdisjoint(meter.dimension_keys or ())]


def _rebuild(connection: sa.Connection, meter: Meter, now: int) -> None:
    """Begin a change to the dimensions that a meter has, unless another has begun."""
    last = dimensions.newest(connection, meter.id)
    if last is None or last.status != "running":
        change = DimensionChange(
            scope=meter.scope,
            meter=meter.id,
            version=meter.dimension_version + 1,
            keys=meter.dimension_keys,
            created=now,
        )
        dimensions.begin(connection, change)
