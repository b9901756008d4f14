"""Freshness: up to which instant everything that was received is in the usage store.

What a reader may rely on: every event and every cancellation that was received before the instant
and acknowledged is in the usage store.

An event counts as received when its request was read, and has its position only some time later.
So a look notes the instant of the oldest request that is under way, or the present, and *then*
asks for the last position given out: whatever was received before that instant has this position
or a smaller one. Once the position is stored, the instant holds.

A process before this one may have left more in the journal than is stored in a moment. Until then
the instant is that of the earliest receipt among it, once what was before it is stored.
"""

import asyncio
import logging
from collections import deque
from typing import NamedTuple

from meterhouse import limits
from meterhouse.background import Background
from meterhouse.clock import Clock
from meterhouse.ledger import journal
from meterhouse.processing.process import Processor
from meterhouse.stores import Stores

log = logging.getLogger("meterhouse.freshness")


class _Look(NamedTuple):
    position: int
    instant: int


class _Receiving:
    """A request that is under way, from when it was received until it is answered."""

    __slots__ = ("_all", "_instant")

    def __init__(self, every: dict["_Receiving", int], instant: int) -> None:
        self._all = every
        self._instant = instant

    def __enter__(self) -> None:
        self._all[self] = self._instant

    def __exit__(self, *_: object) -> None:
        del self._all[self]


class Freshness(Background):
    """Looks once in a while, when events are on their way, and whenever it is asked."""

    def __init__(self, stores: Stores, processor: Processor, clock: Clock) -> None:
        super().__init__()
        self._stores = stores
        self._processor = processor
        self._clock = clock
        self._under_way: dict[_Receiving, int] = {}
        self._looks: deque[_Look] = deque()
        self._looked_back = False
        self._instant = 0

    def receiving(self, instant: int) -> _Receiving:
        """Tell, for as long as a `with` block lasts, that what was received then is under way."""
        return _Receiving(self._under_way, instant)

    async def reach(self, *, strong: bool) -> tuple[bool, int]:
        """Return if all that was acknowledged before can be read, as was wished, and the instant.

        A `strong` reader waits for it, `CONSISTENCY_WAIT_SECONDS_MAX` at most.
        """
        look = await self._look()
        settled = strong and self._processor.stored_position >= look.position
        settled = settled or await self._processor.reach(strong=strong)
        return settled, self._passed()

    async def _run(self) -> None:
        while True:
            try:
                if not self._looked_back:
                    await self._look_back()
                await self._look()
            except Exception:
                log.exception("the last position could not be read")
            self._passed()
            await asyncio.sleep(limits.FRESHNESS_LOOK_MILLISECONDS / 1000)
            # Else a reader's own look is enough: nothing is on its way, or readers wait for it.
            await self._processor.busy.wait()

    async def _look_back(self) -> None:
        """Look at what was received before the start."""
        instant = self._oldest_under_way()
        oldest = await self._stores.read(journal.oldest)
        if oldest is not None:
            position, received_at = oldest
            self._looks.appendleft(_Look(position - 1, min(instant, received_at)))
        self._looked_back = True

    def _oldest_under_way(self) -> int:
        return min(self._under_way.values(), default=self._clock.now())

    async def _look(self) -> _Look:
        instant = self._oldest_under_way()
        look = _Look(await self._stores.read(journal.last_position), instant)
        if len(self._looks) >= limits.FRESHNESS_LOOKS_KEPT:
            self._looks.pop()
        self._looks.append(look)
        return look

    def _passed(self) -> int:
        """Forget the looks whose positions are stored; return the newest instant that holds."""
        now = self._clock.now()
        while self._looks and self._looks[0].position <= self._processor.stored_position:
            instant = self._looks.popleft().instant
            # What lies ahead was said by a clock that has been set back since.
            self._instant = instant if self._instant > now else max(self._instant, instant)
        return self._instant
