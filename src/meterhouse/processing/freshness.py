"""Freshness: up to which instant everything that was received is in the usage store.

What a reader may rely on: every event and every cancellation that was received before the instant
and acknowledged is in the usage store.

An event counts as received when its request was read, and is committed only some time later. So a
look notes the instant of the oldest request that is under way, or the present, and *then* asks
what was committed so far (`processing.progress`): whatever was received before that instant is
part of it. Once that is stored, the instant holds. Where several nodes accept, the oldest request
that any of them has under way counts.

Processes before this one may have left more in the journal than is stored in a moment. Until then
the instant is that of the earliest receipt among it, once what was before it is stored.
"""

import asyncio
import logging
from collections import deque
from typing import NamedTuple

from meterhouse import limits
from meterhouse.background import Background
from meterhouse.clock import Clock
from meterhouse.processing.progress import Look, Watched
from meterhouse.processing.under_way import Receiving, UnderWay

log = logging.getLogger("meterhouse.freshness")


class _Look(NamedTuple):
    mark: int
    instant: int


class Freshness(Background):
    """Looks once in a while, when events are on their way, and whenever it is asked."""

    def __init__(self, progress: Watched, under_way: UnderWay, clock: Clock) -> None:
        super().__init__()
        self._progress = progress
        self._under_way = under_way
        self._clock = clock
        self._looks: deque[_Look] = deque()
        self._looked_back = False
        self._instant = 0

    def receiving(self, instant: int) -> Receiving:
        """Tell, for as long as a `with` block lasts, that what was received then is under way."""
        return self._under_way.receiving(instant)

    async def reach(self, *, strong: bool) -> tuple[bool, int]:
        """Return if all that was acknowledged before can be read, as was wished, and the instant.

        A `strong` reader waits for it, `CONSISTENCY_WAIT_SECONDS_MAX` at most.
        """
        look = await self._look()
        settled = strong and self._progress.passed >= look.mark
        settled = settled or await self._progress.reach(strong=strong)
        return settled, self._passed()

    async def _run(self) -> None:
        while True:
            try:
                if not self._looked_back:
                    await self._look_back()
                await self._look()
            except Exception:
                log.exception("what was committed so far could not be read")
            self._passed()
            await asyncio.sleep(limits.FRESHNESS_LOOK_MILLISECONDS / 1000)
            # Else a reader's own look is enough: nothing is on its way, or readers wait for it.
            await self._progress.busy.wait()

    async def _look_back(self) -> None:
        """Look at what was received before the start."""
        instant = self._under_way.oldest()
        look = await self._progress.look_back()
        if look is not None:
            self._looks.appendleft(_noted(look, instant))
        self._looked_back = True

    async def _look(self) -> _Look:
        instant = self._under_way.oldest()
        look = _noted(await self._progress.look(), instant)
        if len(self._looks) >= limits.FRESHNESS_LOOKS_KEPT:
            self._looks.pop()
        self._looks.append(look)
        return look

    def _passed(self) -> int:
        """Forget the looks at what is stored now; return the newest instant that holds."""
        now = self._clock.now()
        while self._looks and self._looks[0].mark <= self._progress.passed:
            instant = self._looks.popleft().instant
            # What lies ahead was said by a clock that has been set back since.
            self._instant = instant if self._instant > now else max(self._instant, instant)
        return self._instant


def _noted(look: Look, instant: int) -> _Look:
    """Return a look of a process that had nothing under way that came before an instant."""
    return _Look(look.mark, instant if look.oldest is None else min(instant, look.oldest))
