"""The keeper: has the leases that are this process's fair share of the work.

What a reader may rely on:

- A lease lives `LEASE_SECONDS` by the clock of the database and is renewed several times meanwhile.
  Of a process that has ended without a word another takes over within that time and a look.
- What is free, or over, is taken as far as it belongs to the share: of all partitions, and of all
  jobs, an equal part for each live worker. What is beyond it is given back, one at a time, once
  nothing of it is half-way.
- A process that was stopped for longer finds that others have what was its own. It forgets that,
  and goes on with what it can take anew.
- Of one lease one thing is done at a time: it is taken again only once what it was for has ended.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import ceil
from typing import NamedTuple, Protocol

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.background import Background, is_set_within
from meterhouse.errors import StoreError
from meterhouse.ledger import leases, nodes
from meterhouse.ledger.leases import Held
from meterhouse.metrics import Metrics
from meterhouse.processing.lease import Lease, clock
from meterhouse.stores import Stores

log = logging.getLogger("meterhouse.keeper")

_WORKERS = ("all", "worker")


class Holder(Protocol):
    """What leases are for: partitions, or jobs. It is called on the event loop."""

    @property
    def leases(self) -> Sequence[Lease]:
        """All that there are, whoever has them."""

    def gained(self, lease: Lease) -> None:
        """Begin what a lease is for."""

    async def lost(self, lease: Lease) -> None:
        """End it, now that nothing of it can be committed any more."""

    async def drained(self, lease: Lease) -> None:
        """End it with nothing half-way, so that another process can begin it."""


class View(NamedTuple):
    """What one look at the ledger has shown: who has what until when, and which workers live."""

    now: int
    held: Mapping[str, Held]
    workers: frozenset[str]


class Keeper(Background):
    """Renews, takes and gives back leases, from `start()` to `stop()`."""

    def __init__(
        self,
        stores: Stores,
        node: str,
        *,
        partitions: Holder,
        jobs: Holder,
        metrics: Metrics,
        tell: Callable[[], None] = lambda: None,
    ) -> None:
        """Act for the `node` of this id; `tell` is called when something was given back."""
        super().__init__()
        self._stores = stores
        self._node = node
        self._holders = (partitions, jobs)
        self._metrics = metrics
        self._tell = tell
        self._look = asyncio.Event()
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._taking: str | None = None
        self._leaving = False

    def wake(self) -> None:
        """Tell that something may be free."""
        self._look.set()

    async def stop(self) -> None:
        """Give everything back, with nothing half-way, and end."""
        self._leaving = True
        for holder in self._holders:
            for lease in _held(holder):
                self._give_back(holder, lease)
        while self._ending:  # leases are renewed meanwhile
            await asyncio.wait(self._ending.values())
        await super().stop()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as both:
            both.create_task(self._every(limits.LEASE_RENEW_SECONDS, asyncio.Event(), self._renew))
            both.create_task(self._every(limits.LEASE_LOOK_SECONDS, self._look, self._share))

    async def _every(
        self, seconds: float, at_once: asyncio.Event, work: Callable[[], Awaitable[None]]
    ) -> None:
        """Do something again and again, and at once when that is told."""
        while True:
            at_once.clear()
            try:
                await work()
            except StoreError as error:
                log.warning("leases cannot be looked after: %s", error)
            except Exception:
                log.exception("leases cannot be looked after")
            await is_set_within(at_once, seconds)

    async def _renew(self) -> None:
        """Renew what is ours; end what is not any more, let go what nobody here has."""
        since = clock()
        try:
            mine = await self._stores.tend(leases.renew, self._node, limits.LEASE_SECONDS)
        except StoreError:
            self._metrics.lease_renewal_failures.inc()
            raise
        for holder in self._holders:
            for lease in _held(holder):
                epoch = mine.pop(lease.name, None)
                if epoch is not None and epoch == lease.epoch:
                    lease.renew(epoch, since)
                else:
                    log.warning("%s was taken over by another process", lease.name)
                    lease.lose()
                    self._end(holder, lease, self._lost)
        for name in mine.keys() - self._ending.keys() - {self._taking}:
            await self._stores.tend(leases.release, name, self._node)

    async def _share(self) -> None:
        """Take, or give back, as far as the share of this process goes."""
        if self._leaving:
            return
        view = await self._stores.read(_view)
        workers = len(view.workers | {self._node})
        for holder in self._holders:
            share, mine = ceil(len(holder.leases) / workers), _held(holder)
            free = [one for one in holder.leases if self._is_free(one, view)]
            # In another order than others, who look at the same time.
            for lease in random.sample(free, len(free))[: max(0, share - len(mine))]:
                held = view.held.get(lease.name)
                anothers = held is not None and held.owner not in {leases.NOBODY, self._node}
                await self._take(holder, lease, anothers=anothers)
            leaving = any(one.name in self._ending for one in mine)
            if len(mine) > share and not leaving:
                self._give_back(holder, mine[-1])

    def _is_free(self, lease: Lease, view: View) -> bool:
        if lease.epoch is not None or lease.name in self._ending:
            return False
        held = view.held.get(lease.name)
        return held is None or held.until <= view.now or held.owner == self._node

    async def _take(self, holder: Holder, lease: Lease, *, anothers: bool) -> None:
        """Take a lease; `anothers` tells that it is over, and was another process's."""
        since, self._taking = clock(), lease.name
        try:
            epoch = await self._stores.tend(
                leases.take, lease.name, self._node, limits.LEASE_SECONDS
            )
        finally:
            self._taking = None
        if epoch is None:
            return
        lease.renew(epoch, since)
        if self._leaving:
            self._end(holder, lease, self._drained)
            return
        log.info("%s is ours from now on (epoch %d)", lease.name, epoch)
        self._metrics.lease_epoch.labels(lease.name).set(epoch)
        self._metrics.lease_takeovers.labels(lease.name).inc(anothers)
        holder.gained(lease)

    def _give_back(self, holder: Holder, lease: Lease) -> None:
        if lease.name not in self._ending:
            self._end(holder, lease, self._drained)

    def _end(
        self,
        holder: Holder,
        lease: Lease,
        how: Callable[[Holder, Lease], Awaitable[None]],
    ) -> None:
        before = self._ending.get(lease.name)

        async def end() -> None:
            try:
                if before is not None:
                    await asyncio.wait({before})
                await how(holder, lease)
            except Exception:
                log.exception("%s could not be ended", lease.name)
            finally:
                if self._ending.get(lease.name) is asyncio.current_task():
                    del self._ending[lease.name]
                self._look.set()

        self._ending[lease.name] = asyncio.create_task(end())

    async def _lost(self, holder: Holder, lease: Lease) -> None:
        self._metrics.lease_epoch.remove(lease.name)
        await holder.lost(lease)

    async def _drained(self, holder: Holder, lease: Lease) -> None:
        await holder.drained(lease)
        epoch = lease.epoch
        lease.lose()
        self._metrics.lease_epoch.remove(lease.name)
        if epoch is not None:
            await self._stores.tend(leases.release, lease.name, self._node)
            log.info("%s was given back", lease.name)
            self._tell()


def _held(holder: Holder) -> list[Lease]:
    return [one for one in holder.leases if one.epoch is not None]


def _view(connection: sa.Connection) -> View:
    now = leases.now(connection)
    since = now - limits.LEASE_SHARE_SECONDS * 1_000
    workers = [one.id for one in nodes.live(connection, _WORKERS) if one.published_at > since]
    return View(now, leases.held(connection), frozenset(workers))
