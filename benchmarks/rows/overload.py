"""More than the server can process: it turns requests away, counts them, and recovers by itself.

The journal may lag by few events here, so that seconds are enough to fill it.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

from benchmarks.bench import Bench, House
from benchmarks.load import Sample, load
from benchmarks.memory import Memory
from benchmarks.probe import Probe
from benchmarks.processes import Server, meterhouse
from benchmarks.result import Row, times

_CONNECTIONS = 64
_JOURNAL_EVENTS = 20_000
_MEMORY_BYTES = 1_073_741_824
_MODEST_RATE = 1_000  # events a second, afterwards
_RETRY_HEADER = b"stripe-should-retry: true"


async def measure(bench: Bench) -> AsyncIterator[Row]:
    """Stream as fast as it goes, then modestly."""
    sizes = bench.sizes
    with House(_narrow) as house:
        bench.say("overload: customers")
        await house.furnish_for_stream(sizes)
        make, memory, probe = house.streams(sizes), Memory(), await Probe.make(house)
        bench.say(f"overload: {_CONNECTIONS} connections, journal of {_JOURNAL_EVENTS:,} events")
        async with asyncio.TaskGroup() as group:
            loading = group.create_task(
                load(house.server.url, make, connections=_CONNECTIONS, seconds=sizes.seconds)
            )
            group.create_task(memory.watch(house.server, sizes.seconds))
        sample, ended = loading.result(), time.perf_counter()
        counted = house.server.metric("meterhouse_overloads_total", queue="journal")
        await probe.seconds()
        recovered = time.perf_counter() - ended
        house.check_books(len(sample.latencies) * sizes.events + probe.events)
        probe.close()
        yield _overload_row(sizes.events, sample, memory, counted)
        after = await load(
            house.server.url,
            make,
            connections=sizes.connections,
            seconds=sizes.seconds / 2,
            rate=_MODEST_RATE / sizes.events,
        )
        yield _after_row(sizes.events, after, recovered)


def _narrow(folder: Path) -> Server:
    return meterhouse(
        folder, "benchmarks.narrow", {"BENCHMARK_JOURNAL_EVENTS": str(_JOURNAL_EVENTS)}
    )


def _overload_row(events: int, sample: Sample, memory: Memory, counted: float) -> Row:
    p50, p99 = times(sample)
    refused = sample.refused[429]
    first = sample.first_refusal
    return Row(
        name="more than it can process",
        rate=sample.rate * events,
        unit="events",
        p50=p50,
        p99=p99,
        generator_cores=sample.generator_cores,
        memory_bytes=memory.peak,
        bar="429 that may be retried, each counted, at most 1 GB",
        met=set(sample.refused) == {429}
        and first is not None
        and _RETRY_HEADER in first.head.lower()
        and counted == refused
        and memory.peak <= _MEMORY_BYTES,
        note=", ".join(f"{count:,} answers {status}" for status, count in sample.refused.items())
        + f"; {counted:,.0f} counted by the server",
    )


def _after_row(events: int, sample: Sample, recovered: float) -> Row:
    p50, p99 = times(sample)
    return Row(
        name=f"afterwards, {_MODEST_RATE:,} events a second",
        rate=sample.rate * events,
        unit="events",
        p50=p50,
        p99=p99,
        bar="no refusal",
        met=not sample.refused,
        note=f"all that was acknowledged before was visible after {recovered * 1000:,.0f} ms",
    )
