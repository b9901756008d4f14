"""What the load generator can do: the same requests against the cheapest server there is."""

from collections.abc import AsyncIterator

from benchmarks import traffic
from benchmarks.bench import Bench, Contender, load_in_turn
from benchmarks.processes import KEY, Folder, bare
from benchmarks.result import Row, refusals, times


async def measure(bench: Bench) -> AsyncIterator[Row]:
    """Load an endpoint of plain ASGI that does nothing."""
    make = traffic.creates(KEY, "event_0", ["cus_NciAYcXfLnqBoz"], idempotency=True)
    with Folder() as folder, bare("asgi", folder) as server:
        bench.say("bare ASGI, connections: 64")
        (found,) = await load_in_turn(
            [Contender(server, make)], connections=64, seconds=bench.sizes.seconds
        )
        p50, p99 = times(found.sample)
        alone = found.sample.rate / max(found.sample.generator_cores, 0.01)
        yield Row(
            name="bare ASGI, connections: 64",
            rate=found.sample.rate,
            p50=p50,
            p99=p99,
            server_cores=found.server_cores,
            generator_cores=found.sample.generator_cores,
            memory_bytes=server.memory(),
            note=refusals(found.sample) or f"the generator's own ceiling: {alone:,.0f} a core",
        )
