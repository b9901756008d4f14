"""From the start of the process until it is ready."""

from collections.abc import AsyncIterator
from statistics import median

from benchmarks.bench import Bench, House
from benchmarks.load import load
from benchmarks.result import Row

_STARTS = 3
_CUSTOMERS = 1_000
_CONNECTIONS = 64


async def measure(bench: Bench) -> AsyncIterator[Row]:
    """Start on an empty folder, and on one with data."""
    empty: list[float] = []
    for number in range(_STARTS):
        bench.say(f"start-up on an empty folder, {number + 1} of {_STARTS}")
        with House() as house:
            empty.append(house.server.start_seconds)
            idle = house.server.memory()
    yield _row("start-up, empty folder", empty, idle, "")
    with House() as house:
        bench.say("start-up: events")
        await house.furnish(meters=1, customers=_CUSTOMERS)
        sample = await load(
            house.server.url,
            house.creates(idempotency=True),
            connections=_CONNECTIONS,
            seconds=bench.sizes.seconds,
        )
        again: list[float] = []
        for number in range(_STARTS):
            bench.say(f"start-up on a folder with data, {number + 1} of {_STARTS}")
            house.restart()
            again.append(house.server.start_seconds)
        events = f"; {len(sample.latencies):,} events"
        yield _row("start-up, folder with data", again, house.server.memory(), events)


def _row(name: str, seconds: list[float], memory_bytes: int, more: str) -> Row:
    return Row(
        name=name,
        p50=median(seconds) * 1000,
        p99=max(seconds) * 1000,
        memory_bytes=memory_bytes,
        note=f"p99 is the slowest of {len(seconds)}{more}",
    )
