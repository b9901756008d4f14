"""Entitlements that were asked for of late, in memory.

What a reader may rely on:

- One that is young is given at once; one that is older, too, and found anew behind the answer; one
  that nobody has asked for in a while is waited for. Each tells how old it is.
- Those that are wanted at a time are found together, once, however many ask.
- What could not be found is not kept: whoever asks hears why.
"""

import asyncio
import logging
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from meterhouse import limits
from meterhouse.background import is_set_within
from meterhouse.billing.entitlement import Entitlement
from meterhouse.clock import Clock
from meterhouse.errors import MeterhouseError, Refusal
from meterhouse.invoicing.entitlement import Pair, entitlements
from meterhouse.invoicing.turn import Terms
from meterhouse.metering.model import Scope
from meterhouse.processing.freshness import Freshness
from meterhouse.stores import Stores

log = logging.getLogger("meterhouse.entitlements")

Key = tuple[Scope, Pair]


class Found(NamedTuple):
    """An entitlement, and when, by the clock of the event loop, it was begun to be found."""

    entitlement: Entitlement
    at: float


class Entitlements:
    """Those of this process.

    `stopping` is set when it stops; `listeners` is how many hear of changes.
    """

    def __init__(self, stores: Stores, freshness: Freshness, clock: Clock, terms: Terms) -> None:
        self.stopping = asyncio.Event()
        self.listeners = 0
        self._stores = stores
        self._freshness = freshness
        self._clock = clock
        self._terms = terms
        self._found: OrderedDict[Key, Found] = OrderedDict()
        self._wanted: dict[Key, asyncio.Future[Found]] = {}
        self._waited = asyncio.Event()  # somebody waits for what is wanted
        self._task: asyncio.Task[None] | None = None

    async def get(self, scope: Scope, pair: Pair) -> Found:
        """Return what is known, if it is young enough to be given, or what is found now."""
        key = scope, pair
        found = self._found.get(key)
        if found is None:
            return await self.find(scope, pair)
        self._found.move_to_end(key)
        age = asyncio.get_running_loop().time() - found.at
        if age > limits.ENTITLEMENT_AGE_SECONDS_MAX:
            return await self.find(scope, pair)
        if age > limits.ENTITLEMENT_FRESH_SECONDS:
            self._want(key)
        return found

    async def find(self, scope: Scope, pair: Pair) -> Found:
        """Find it from now on, with all that is stored by now."""
        wanted = self._want((scope, pair))
        self._waited.set()
        return await asyncio.shield(wanted)

    async def stop(self) -> None:
        """End the streams, and what is being found."""
        self.stopping.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def _want(self, key: Key) -> asyncio.Future[Found]:
        if key not in self._wanted:
            future = self._wanted[key] = asyncio.get_running_loop().create_future()
            future.add_done_callback(_heard)
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._work())
        return self._wanted[key]

    async def _work(self) -> None:
        """Find what is wanted, some at a time, until nothing is.

        What nobody waits for gathers for a moment, for many together take little more than one.
        """
        while self._wanted:
            await is_set_within(self._waited, limits.ENTITLEMENT_GATHER_MILLISECONDS / 1000)
            self._waited.clear()
            wanted, self._wanted = self._wanted, {}
            by_scope: defaultdict[Scope, list[Pair]] = defaultdict(list)
            for scope, pair in wanted:
                by_scope[scope].append(pair)
            for scope, pairs in by_scope.items():
                for start in range(0, len(pairs), limits.ENTITLEMENTS_AT_ONCE_ITEMS_MAX):
                    some = pairs[start : start + limits.ENTITLEMENTS_AT_ONCE_ITEMS_MAX]
                    await self._find_some(scope, some, wanted)

    async def _find_some(
        self, scope: Scope, pairs: Sequence[Pair], wanted: dict[Key, asyncio.Future[Found]]
    ) -> None:
        at = asyncio.get_running_loop().time()
        try:
            _, complete_until = await self._freshness.reach(strong=False)
            now = self._clock.now()
            found = await entitlements(self._stores, scope, pairs, self._terms, now, complete_until)
        except Exception as error:
            if not isinstance(error, MeterhouseError):
                log.exception("entitlements could not be found")
            for pair in pairs:
                wanted[scope, pair].set_exception(error)
            return
        for pair, one in zip(pairs, found, strict=True):
            key = scope, pair
            if isinstance(one, Refusal):
                self._found.pop(key, None)
                wanted[key].set_exception(one)
            else:
                wanted[key].set_result(self._keep(key, Found(one, at)))

    def _keep(self, key: Key, found: Found) -> Found:
        self._found[key] = found
        self._found.move_to_end(key)
        while len(self._found) > limits.ENTITLEMENTS_KEPT_ITEMS_MAX:
            self._found.popitem(last=False)
        return found


def _heard(wanted: asyncio.Future[Found]) -> None:
    """Take note of a failure that perhaps nobody waits for."""
    with suppress(asyncio.CancelledError):
        wanted.exception()
