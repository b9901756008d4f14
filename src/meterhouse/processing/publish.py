"""Publish: how far the partitions of this process are, where several share the ledger.

About once a second, and whenever a reader anywhere asks or a batch is stored, the owner of a
partition tells up to which instant of the database's clock all that was committed is stored, and
how much waits.

What a reader may rely on: an instant is that before a view of the ledger in which the partition had
nothing left, or only what has been stored since; and it is told only by who has been the owner from
that view on. So it holds for everything that was committed before it, by whomever.
"""

import asyncio
import logging
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.background import Background, is_set_within
from meterhouse.errors import StoreError
from meterhouse.ledger import journal, leases, partitions
from meterhouse.processing.lease import Epochs
from meterhouse.processing.partitions import Partitions
from meterhouse.stores import Stores

log = logging.getLogger("meterhouse.publish")


class _Told(NamedTuple):
    """What is told of a partition, by who has it."""

    fence: Epochs
    number: int
    as_of: int
    backlog_events: int


class Publisher(Background):
    """Looks at the journal, has the processors do what waits there, and tells how far they are."""

    def __init__(self, stores: Stores, partitions: Partitions) -> None:
        super().__init__()
        self._stores = stores
        self._partitions = partitions
        self._asked = False
        self._told: dict[int, _Told] = {}

    def ask(self) -> None:
        """Tell that a reader waits, here or elsewhere."""
        self._asked = True
        self._partitions.demand.stirred.set()

    async def _run(self) -> None:
        stirred = self._partitions.demand.stirred
        looked = 0.0
        loop = asyncio.get_running_loop()
        while True:
            stirred.clear()
            try:
                if self._asked or loop.time() - looked >= limits.PUBLISH_LOOK_SECONDS:
                    looked = loop.time()
                    await self._look()
                await self._publish()
            except StoreError as error:
                log.warning("nothing can be told of the partitions: %s", error)
            except Exception:
                log.exception("nothing can be told of the partitions")
            left = looked + limits.PUBLISH_LOOK_SECONDS - loop.time()
            await is_set_within(stirred, max(left, 0))

    async def _look(self) -> None:
        """Look at what waits in the journal; what a reader waits for is hurried."""
        asked, self._asked = self._asked, False
        if self._partitions.owned:
            instant, waiting = await self._stores.read(_view)
            await self._partitions.look(instant, waiting, asked=asked)

    async def _publish(self) -> None:
        """Tell what is new."""
        new = [
            _Told(one.fence, one.number, one.as_of, one.backlog_events)
            for one in self._partitions.owned
            if one.fence is not None
        ]
        new = [one for one in new if one != self._told.get(one.number)]
        if new:
            await self._stores.write(_publish, new)
            self._told |= {one.number: one for one in new}


def _view(connection: sa.Connection) -> tuple[int, dict[int, int]]:
    return partitions.instant(connection), journal.waiting(connection)


def _publish(connection: sa.Connection, new: list[_Told]) -> None:
    """Tell it without waiting for the disk: what a crash loses is told again."""
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
    epochs = {name: epoch for one in new for name, epoch in one.fence.of.items()}
    ours = leases.lasting(connection, epochs)  # of what is not any more, the keeper finds it out
    told = [
        (one.number, one.as_of, one.backlog_events) for one in new if one.fence.of.keys() <= ours
    ]
    if told:
        partitions.publish(connection, told)
