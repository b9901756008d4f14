"""The heartbeat: this process among those that share a ledger.

Every `NODE_BEAT_SECONDS` it shows that it lives, and tells since when it has requests under way.
What a reader may rely on:

- It is a fence (`Stores.fenced`): nothing is written behind it while the others do not know this
  process, so what nodes have under way is known of all that is acknowledged later.
- A process that was taken for dead, because it stood still, refuses what it has under way before
  it begins anew. The others have told readers meanwhile that nothing so old was missing.
"""

import asyncio
import logging
import os
import secrets
import socket

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.background import Background
from meterhouse.errors import OvertakenError, StoreError
from meterhouse.ledger import nodes
from meterhouse.ledger.nodes import Node
from meterhouse.processing.under_way import UnderWay
from meterhouse.stores import Stores

log = logging.getLogger("meterhouse.heartbeat")


class Heartbeat(Background):
    """Keeps the row of this process; `enter` comes before anything is written behind the fence."""

    def __init__(self, stores: Stores, role: str, under_way: UnderWay) -> None:
        super().__init__()
        self._stores = stores
        self._under_way = under_way
        self._node = Node(secrets.token_hex(8), role, socket.gethostname(), os.getpid())
        self._known = False

    @property
    def node(self) -> str:
        """The id of this process."""
        return self._node.id

    def check(self, connection: sa.Connection) -> None:
        """Make sure that the others know this process until the transaction ends.

        Raises `OvertakenError` when they do not.
        """
        if not self._known:
            raise OvertakenError("This process was taken for dead, and begins anew.")
        nodes.check(connection, self.node)

    async def enter(self) -> None:
        """Be one of the nodes."""
        oldest = self._under_way.oldest()
        await self._stores.tend(nodes.enter, self._node, limits.NODE_SECONDS, oldest)
        self._known = True

    async def beat(self) -> None:
        """Show that this process lives; begin anew where it was taken for dead."""
        if self._known:
            if await self._stores.tend(_beat, self.node, self._under_way.oldest()):
                return
            self._known = False
            log.warning("This process was taken for dead, because it did not show that it lives.")
        await self._under_way.answered()
        await self.enter()

    async def stop(self) -> None:
        """Leave, after the last write."""
        await super().stop()
        if self._known:
            self._known = False
            try:
                await self._stores.tend(nodes.leave, self.node)
            except StoreError as error:
                log.warning("this process is among the nodes for a while yet: %s", error)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(limits.NODE_BEAT_SECONDS)
            try:
                await self.beat()
            except StoreError as error:
                log.debug("the others do not hear of this process: %s", error)
            except Exception:
                log.exception("a heartbeat failed")


def _beat(connection: sa.Connection, node: str, oldest_under_way: int) -> bool:
    known = nodes.beat(connection, node, limits.NODE_SECONDS, oldest_under_way)
    nodes.expire(connection)
    return known
