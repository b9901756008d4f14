"""What goes wrong under load: nodes killed and paused, PostgreSQL restarted, answers lost.

Every choice follows from one seed. Faults overlap, but at least one node of each kind is always
left alone. Stores that are somebody else's are left alone, too.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Coroutine
from random import Random
from typing import NamedTuple

from tests.clickhouse import Double
from tests.cluster.fleet import Fleet
from tests.crash.server import Server
from tests.postgresql import PostgreSQL

GAP_SECONDS_MAX = 0.8  # between the beginnings of two faults
OVERLAPPING_MAX = 3
DOWN_SECONDS_MAX = 1.0  # of a node that was killed, before it is started again
PAUSE_SECONDS_MAX = 1.5
OVER_A_LEASE_SECONDS_MAX = 3  # that a node may be paused beyond the end of its leases
LEASE_SECONDS = 10
RESTARTS_EVERY = 25  # faults, of which one is a restart of PostgreSQL

# How often each fault comes among others.
OF_A_NODE = {"kill": 5, "kill while it starts": 1, "pause": 5, "pause beyond its leases": 1}
OF_ANSWERS = {"drop": 3, "refuse": 3, "503": 3, "slow": 1}


class Servers(NamedTuple):
    """Of the stores, where they are ours and may fail."""

    postgresql: PostgreSQL
    double: Double


class Chaos:
    """Lets faults happen to a fleet, and to the servers of its stores where they are given."""

    def __init__(self, fleet: Fleet, seed: int, servers: Servers | None = None) -> None:
        self._fleet = fleet
        self._servers = servers
        self._random = Random(seed)
        self._left_alone = asyncio.Condition()
        self._busy: set[str] = set()
        self.happened: Counter[str] = Counter()

    async def run(self, faults: int, seconds: float = math.inf) -> None:
        """Let so many faults happen, or as many as begin in time; all nodes run at the end."""
        clock = asyncio.get_running_loop()
        end = clock.time() + seconds
        room = asyncio.Semaphore(OVERLAPPING_MAX)
        async with asyncio.TaskGroup() as tasks:
            for number in range(faults):
                await room.acquire()
                if clock.time() > end:
                    break
                fault = self._choose(number)
                tasks.create_task(fault()).add_done_callback(lambda _: room.release())
                await asyncio.sleep(self._random.uniform(0, GAP_SECONDS_MAX))

    def _choose(self, number: int) -> Callable[[], Coroutine[None, None, None]]:
        servers = self._servers
        if servers and number % RESTARTS_EVERY == RESTARTS_EVERY // 2:
            self.happened["PostgreSQL restarted"] += 1
            return lambda: asyncio.to_thread(servers.postgresql.restart)
        weights = OF_A_NODE | (OF_ANSWERS if servers else {})
        [kind] = self._random.choices(list(weights), list(weights.values()))
        if servers and kind in OF_ANSWERS:
            times = self._random.randint(1, 3)
            self.happened[kind] += 1
            return lambda: asyncio.to_thread(servers.double.fail, kind, times)
        name = self._random.choice(list(self._fleet.nodes))
        seconds = self._random.random()
        self.happened[f"{kind} {name.partition('-')[0]}"] += 1
        return lambda: self._to_node(kind, name, seconds)

    async def _to_node(self, kind: str, name: str, share: float) -> None:
        """Do it to a node once another one of its kind would be left."""
        role = name.partition("-")[0]
        others = {one for one in self._fleet.nodes if one.startswith(role)} - {name}
        async with self._left_alone:
            await self._left_alone.wait_for(
                lambda: name not in self._busy and (not others or others - self._busy)
            )
            self._busy.add(name)
        try:
            await _FAULTS[kind](self._fleet.nodes[name], share)
        finally:
            async with self._left_alone:
                self._busy.discard(name)
                self._left_alone.notify_all()


async def _kill(node: Server, share: float) -> None:
    await node.kill()
    await asyncio.sleep(DOWN_SECONDS_MAX * share)
    await node.insist()


async def _kill_while_it_starts(node: Server, share: float) -> None:
    await node.kill()
    await node.spawn()
    await asyncio.sleep(2 * share)
    await node.kill()
    await node.insist()


async def _pause(node: Server, share: float) -> None:
    await _pause_for(node, PAUSE_SECONDS_MAX * share)


async def _pause_beyond_its_leases(node: Server, share: float) -> None:
    await _pause_for(node, LEASE_SECONDS + OVER_A_LEASE_SECONDS_MAX * share)


async def _pause_for(node: Server, seconds: float) -> None:
    node.pause()
    try:
        await asyncio.sleep(seconds)
    finally:
        node.resume()


_FAULTS = {
    "kill": _kill,
    "kill while it starts": _kill_while_it_starts,
    "pause": _pause,
    "pause beyond its leases": _pause_beyond_its_leases,
}
