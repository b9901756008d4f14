"""Stillness: nothing is half-way between the two stores, and nothing is begun, until it ends.

Where one process has the whole journal, its processor holds still (`alone`). Where several share a
ledger, whoever wants stillness (`Stillness`) and the owners of partitions (`Rest`) meet there:

- Who wants it takes a lease, and renews it as long as the work within goes on. A lease has one
  owner, so there is one stillness at a time.
- The owner of a partition looks for that lease, about once a second and when it is told. It ends
  what is half-way, and notes in the partition's row in which epoch of the lease it rests. When all
  rest, it is still. Who takes a partition over looks before the first step.
- It ends with the lease: when that is given back, or when its time is over by the clock of the
  database, because who wanted it has died. Then an owner makes its epoch another one before it
  goes on.

What a reader may rely on: a transaction that begins with `check` commits while it is still, or not
at all; and all that was done within has met still stores, unless an error is raised.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.background import Background, is_set_within
from meterhouse.errors import DisturbedError, OvertakenError, StoreError
from meterhouse.ledger import leases, partitions
from meterhouse.stores import Fence, Stores

log = logging.getLogger("meterhouse.still")

# Waits, for so many seconds at most, until what was acknowledged can be read; False if time is up.
Settle = Callable[[float], Awaitable[bool]]
Still = Callable[[], AbstractAsyncContextManager[Fence]]
Hold = Callable[[], AbstractAsyncContextManager[None]]

LEASE = "still"
_POLL = limits.STILL_POLL_MILLISECONDS / 1000


def alone(hold: Hold) -> Still:
    """Return how to be still where one process has the whole journal and `hold` stops it."""

    @asynccontextmanager
    async def still() -> AsyncIterator[Fence]:
        async with hold():
            yield _Open()

    return still


class _Open:
    """The fence of who cannot lose what it has."""

    def check(self, connection: sa.Connection) -> None:
        """Let through whatever it is."""


class _Epoch(NamedTuple):
    """The fence of a stillness: an epoch of the lease."""

    number: int

    def check(self, connection: sa.Connection) -> None:
        with suppress(OvertakenError):
            leases.check(connection, {LEASE: self.number})
            if LEASE in leases.held(connection):  # else it was given back
                return
        raise DisturbedError("Processing went on before this was finished.")


class Stillness:
    """Makes the owners of all partitions rest; `tell()` tells them that something has changed."""

    def __init__(self, stores: Stores, tell: Callable[[], None]) -> None:
        self._stores = stores
        self._tell = tell

    @asynccontextmanager
    async def still(self) -> AsyncIterator[Fence]:
        """Keep both stores as they are; raises `DisturbedError` if that is not so to the end."""
        me = secrets.token_hex(8)
        fence = _Epoch(await self._taken(me))
        renewing = asyncio.create_task(self._renew(me))
        try:
            self._tell()
            await self._all_rest(fence.number)
            yield fence
            await self._stores.write(fence.check)
        finally:
            renewing.cancel()
            await asyncio.wait({renewing})
            await self._let_go(me)

    async def _taken(self, me: str) -> int:
        """Wait until nobody else wants stillness; return the epoch that begins."""
        while True:
            epoch = await self._stores.write(leases.take, LEASE, me, limits.STILL_SECONDS)
            if epoch is not None:
                return epoch
            await asyncio.sleep(_POLL)

    async def _renew(self, me: str) -> None:
        while True:
            await asyncio.sleep(limits.STILL_RENEW_SECONDS)
            try:
                await self._stores.write(leases.renew, me, limits.STILL_SECONDS)
            except StoreError as error:
                log.warning("that processing has to stand still is told again: %s", error)

    async def _all_rest(self, epoch: int) -> None:
        left: list[int] = []
        try:
            async with asyncio.timeout(limits.STILL_WAIT_SECONDS_MAX):
                while left := await self._stores.read(partitions.without_rest, epoch):  # noqa: ASYNC110 - the ledger tells nobody
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            raise DisturbedError(
                f"{len(left)} partitions do not stand still: they have no worker, or one that "
                "cannot store what it has judged."
            ) from None

    async def _let_go(self, me: str) -> None:
        try:
            await self._stores.write(leases.release, LEASE, me)
        except StoreError as error:
            log.warning("processing goes on in %d s: %s", limits.STILL_SECONDS, error)
        self._tell()


class Pauses(Background):
    """What the owners of this process know of a stillness that somebody wants."""

    def __init__(self, stores: Stores) -> None:
        super().__init__()
        self._stores = stores
        self._told = asyncio.Event()
        self._looking = asyncio.Lock()
        self._changed = asyncio.Condition()
        self.epoch: int | None = None  # of the lease; None when nobody wants it

    def tell(self) -> None:
        """Tell that something may have changed."""
        self._told.set()

    async def look(self) -> None:
        """Look anew, and end what is over its time."""
        async with self._looking:
            wanted = await self._stores.read(_wanted)
            epoch = wanted.epoch if wanted else None
            if wanted and wanted.over and await self._stores.write(_end):
                epoch = None
            async with self._changed:
                self.epoch = epoch
                self._changed.notify_all()

    async def after(self, epoch: int | None) -> int | None:
        """Wait while that is the epoch, or nobody wants stillness; return what it is then."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.epoch != epoch)
            return self.epoch

    async def _run(self) -> None:
        while True:
            self._told.clear()
            try:
                await self.look()
            except StoreError as error:
                log.debug("whether processing has to stand still is not known: %s", error)
            except Exception:
                log.exception("whether processing has to stand still could not be read")
            seconds = limits.STILL_LOOK_SECONDS if self.epoch is None else _POLL
            await is_set_within(self._told, seconds)


class Rest(Background):
    """Lets the processor of one partition hold still as long as somebody wants stillness.

    `stores` are fenced by the lease of the partition.
    """

    def __init__(self, stores: Stores, pauses: Pauses, partition: int, hold: Hold) -> None:
        super().__init__()
        self._stores = stores
        self._pauses = pauses
        self._partition = partition
        self._hold = hold
        self._holds = asyncio.Event()

    async def admits(self) -> bool:
        """Tell whether the partition may be worked at: its processor holds still if it has to.

        This comes after the lease was gained and the task was started.
        """
        await self._pauses.look()
        return self._pauses.epoch is None or self._holds.is_set()

    async def _run(self) -> None:
        while True:
            try:
                epoch = await self._pauses.after(None)
                async with self._hold():
                    self._holds.set()
                    while epoch is not None:
                        await self._stores.write(partitions.rest, self._partition, epoch)
                        epoch = await self._pauses.after(epoch)
            except OvertakenError:
                return
            except Exception:
                log.exception("partition %d does not come to rest; it tries again", self._partition)
                await asyncio.sleep(limits.STILL_LOOK_SECONDS)
            finally:
                self._holds.clear()


class _Wanted(NamedTuple):
    """The epoch of a stillness, and whether its time is over."""

    epoch: int
    over: bool


def _wanted(connection: sa.Connection) -> _Wanted | None:
    found = leases.held(connection).get(LEASE)
    return _Wanted(found.epoch, found.until <= leases.now(connection)) if found else None


def _end(connection: sa.Connection) -> bool:
    """End a stillness whose time is over; False when somebody has just begun another one.

    A transaction that was begun within it ends first, and no other can follow.
    """
    me = secrets.token_hex(8)
    if leases.take(connection, LEASE, me, 0) is None:
        return False
    leases.release(connection, LEASE, me)
    return True
