"""Entitlements that were asked for of late, in memory.

What a reader may rely on:

- One that is young is given at once; one that is older, too, and found anew behind the answer; one
  that nobody has asked for in a while is waited for. Each tells how old it is.
- However many ask, it is found once at a time.
- What could not be found is not kept: the next who asks hears why.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from meterhouse import limits
from meterhouse.billing.entitlement import Entitlement
from meterhouse.errors import MeterhouseError, Refusal

log = logging.getLogger("meterhouse.entitlements")

Find = Callable[[], Awaitable[Entitlement]]


class Key(NamedTuple):
    """Whose entitlement, to what."""

    scope: int
    customer: str
    meter: str


class Found(NamedTuple):
    """An entitlement, and the instant, by the clock of the event loop, at which it was begun."""

    entitlement: Entitlement
    at: float


class Entitlements:
    """Those of this process.

    `stopping` is set when it stops; `listeners` is how many hear of changes.
    """

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.listeners = 0
        self._found: OrderedDict[Key, Found] = OrderedDict()
        self._finding: dict[Key, asyncio.Task[Found]] = {}

    async def get(self, key: Key, find: Find) -> Found:
        """Return what is known, if it is young enough to be given, or what is found now."""
        found = self._found.get(key)
        if found is None:
            return await self.find(key, find)
        self._found.move_to_end(key)
        age = asyncio.get_running_loop().time() - found.at
        if age > limits.ENTITLEMENT_AGE_SECONDS_MAX:
            return await self.find(key, find)
        if age > limits.ENTITLEMENT_FRESH_SECONDS and key not in self._finding:
            self._begin(key, find)
        return found

    async def find(self, key: Key, find: Find) -> Found:
        """Find it now, together with whoever has begun to."""
        task = self._finding.get(key) or self._begin(key, find)
        return await asyncio.shield(task)

    async def find_anew(self, key: Key, find: Find) -> Found:
        """Find it with all that is stored by now."""
        begun = self._finding.get(key)
        if begun is not None:
            await asyncio.wait({begun})
        return await self.find(key, find)

    async def stop(self) -> None:
        """End the streams, and what is being found."""
        self.stopping.set()
        tasks = set(self._finding.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _begin(self, key: Key, find: Find) -> asyncio.Task[Found]:
        task = asyncio.create_task(self._keep(key, find))
        self._finding[key] = task
        task.add_done_callback(lambda done: self._end(key, done))
        return task

    async def _keep(self, key: Key, find: Find) -> Found:
        at = asyncio.get_running_loop().time()
        found = Found(await find(), at)
        self._found[key] = found
        self._found.move_to_end(key)
        while len(self._found) > limits.ENTITLEMENTS_KEPT_ITEMS_MAX:
            self._found.popitem(last=False)
        return found

    def _end(self, key: Key, done: asyncio.Task[Found]) -> None:
        """Forget what could not be found any more; a store may only be out of reach for a while."""
        del self._finding[key]
        error = None if done.cancelled() else done.exception()
        if isinstance(error, Refusal):
            self._found.pop(key, None)
        elif error is not None and not isinstance(error, MeterhouseError):
            log.error("an entitlement could not be found", exc_info=error)
