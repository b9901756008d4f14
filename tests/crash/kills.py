"""Kills of a server: at the points of the pipeline, and from outside."""

import asyncio
import time
from collections.abc import Sequence
from itertools import cycle, islice
from random import Random

from tests.crash.points import POINTS, Point
from tests.crash.server import Server

LOAD_SECONDS_MAX = 0.25  # between the start of the server and a kill from outside
STARTING = 0.2  # of the kills from outside come while the server starts
TRAP_SECONDS_MAX = 120


class Kills:
    """Kills a server again and again; `seed` decides when."""

    def __init__(self, server: Server, seed: int) -> None:
        self.server = server
        self.start_seconds: list[float] = []
        self._random = Random(seed)

    async def kill(self, kills: int, points: Sequence[Point] = POINTS) -> None:
        """Kill the server `kills` times; it runs at the end.

        They come at each of the points, in their order, then as often from outside, and so on.
        """
        rounds = cycle([*points, *[None] * len(points)])
        await self.server.kill()
        for point in islice(rounds, kills - 1):
            if point is None:
                await self._kill_from_outside()
            else:
                await self._kill_at(point)
        await self.server.start()

    async def _kill_from_outside(self) -> None:
        began = time.perf_counter()
        await self.server.spawn()
        if self.start_seconds and self._random.random() < STARTING:
            await asyncio.sleep(self._random.uniform(0, self.start_seconds[-1]))
        else:
            await self.server.ready()
            self.start_seconds.append(time.perf_counter() - began)
            await asyncio.sleep(self._random.uniform(0, LOAD_SECONDS_MAX))
        await self.server.kill()

    async def _kill_at(self, point: Point) -> None:
        number = self._random.randint(1, point.calls)
        await self.server.spawn(point.call, point.moment, str(number))
        try:
            async with asyncio.timeout(TRAP_SECONDS_MAX):
                await self.server.ended()
        except TimeoutError as error:
            raise AssertionError(f"nothing came to call {number} {point}") from error
