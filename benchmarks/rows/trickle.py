"""What a server costs that has little to do: nothing at all, one event a second, and ten.

Nobody asks meanwhile, so events wait in the journal for some seconds. A measurement should be as
long as several of these waits.
"""

import asyncio
from collections.abc import AsyncIterator

from benchmarks.bench import Bench, House
from benchmarks.load import load
from benchmarks.result import Row, refusals, times

_CUSTOMERS = 500
_RATES = (1, 10)  # events a second
_WARM_UP_SECONDS = 5.0
_IDLE_CORES = 0.01


async def measure(bench: Bench) -> AsyncIterator[Row]:
    """Create events by the clock over one connection, for `trickle_seconds` each."""
    with House() as house:
        bench.say("trickle: customers")
        await house.furnish(meters=1, customers=_CUSTOMERS, dimensions=("region", "model"))
        for rate in _RATES:
            yield await _trickle(bench, house, rate)
        yield await _idle(bench, house)


async def _trickle(bench: Bench, house: House, rate: int) -> Row:
    name = f"trickle, {rate} a second"
    bench.say(name)
    make = house.creates(idempotency=True)
    await load(house.server.url, make, connections=1, seconds=_WARM_UP_SECONDS, rate=rate)
    used = house.server.processor_seconds()
    sample = await load(
        house.server.url, make, connections=1, seconds=bench.sizes.trickle_seconds, rate=rate
    )
    used = house.server.processor_seconds() - used
    p50, p99 = times(sample)
    return Row(
        name=name,
        rate=sample.rate,
        unit="events",
        p50=p50,
        p99=p99,
        server_cores=used / sample.seconds,
        generator_cores=sample.generator_cores,
        memory_bytes=house.server.memory(),
        note=refusals(sample),
    )


async def _idle(bench: Bench, house: House) -> Row:
    bench.say("trickle, idle")
    await asyncio.sleep(_WARM_UP_SECONDS)
    used = house.server.processor_seconds()
    await asyncio.sleep(bench.sizes.trickle_seconds)
    cores = (house.server.processor_seconds() - used) / bench.sizes.trickle_seconds
    return Row(
        name="idle",
        server_cores=cores,
        memory_bytes=house.server.memory(),
        bar=f"at most {_IDLE_CORES} of a core",
        met=cores <= _IDLE_CORES,
    )
