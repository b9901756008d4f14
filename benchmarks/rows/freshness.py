"""From the acknowledgement of an event to a summary that counts it, in live mode."""

import asyncio
import time
from collections.abc import AsyncIterator

from benchmarks.bench import Bench, House
from benchmarks.load import load, percentile
from benchmarks.probe import Probe
from benchmarks.result import Row

_CUSTOMERS = 1_000
_RATE = 2_000  # creates a second of other customers meanwhile
_CONNECTIONS = 16


async def measure(bench: Bench) -> AsyncIterator[Row]:
    """Probe with eventual and with strong reads, while it is quiet and under load."""
    with House() as house:
        bench.say("freshness: customers")
        await house.furnish(meters=1, customers=_CUSTOMERS)
        for strong in (False, True):
            bench.say("freshness, quiet")
            yield await _probe(bench, house, strong=strong, meanwhile="quiet")
        for strong in (False, True):
            bench.say(f"freshness, {_RATE:,} creates a second")
            others = asyncio.create_task(
                load(
                    house.server.url,
                    house.creates(idempotency=True),
                    connections=_CONNECTIONS,
                    seconds=bench.sizes.seconds,
                    rate=_RATE,
                )
            )
            row = await _probe(bench, house, strong=strong, meanwhile=f"{_RATE:,} creates a second")
            await others
            yield row


async def _probe(bench: Bench, house: House, *, strong: bool, meanwhile: str) -> Row:
    probe = await Probe.make(house)
    end = time.perf_counter() + bench.sizes.seconds
    found: list[float] = []
    while time.perf_counter() < end:
        found.append(await probe.seconds(strong=strong) * 1000)
    probe.close()
    return Row(
        name=f"acknowledged to visible, {'strong' if strong else 'eventual'}, {meanwhile}",
        p50=percentile(found, 0.5),
        p99=percentile(found, 0.99),
        memory_bytes=house.server.memory(),
        note=f"{len(found):,} events probed",
    )
