"""Demand: what readers want of the processor of this process, and whether it is at work.

What a reader may rely on: whoever waits is told whenever something has moved, was let go, or stands
still.
"""

import asyncio
import math
import time
from collections.abc import Callable

from meterhouse import limits


class Demand:
    """What the readers of a process and its processor tell each other.

    `busy` is set while that is at work; `stirred` whenever it has moved, for the one who clears it.
    """

    def __init__(self) -> None:
        self.busy = asyncio.Event()
        self.stirred = asyncio.Event()
        self._moved = asyncio.Condition()
        self._asked = -math.inf  # when somebody asked last
        self._waiting = 0  # readers

    def ask(self) -> None:
        """Tell that somebody asks now."""
        self._asked = time.perf_counter()

    def asked(self) -> bool:
        """Tell whether somebody waits, or has asked just now: who has may do so again."""
        just_now = time.perf_counter() - limits.PROCESS_ASKED_MILLISECONDS / 1000
        return self._waiting > 0 or self._asked > just_now

    async def until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait until something holds that the processor brings about; False if time ran out."""
        self._waiting += 1
        try:
            async with asyncio.timeout(seconds), self._moved:
                await self._moved.wait_for(holds)
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return True

    async def moved(self) -> None:
        """Tell those who wait that they may look again."""
        self.stirred.set()
        async with self._moved:
            self._moved.notify_all()
