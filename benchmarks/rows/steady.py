"""10,000 streamed events a second for some time: how soon, how much memory, how much disk.

Requests are sent by the clock, whether answers are early or late. Probe events go with them.
"""

import asyncio
from collections.abc import AsyncIterator

import msgspec

from benchmarks.bench import Bench, House, Sizes
from benchmarks.load import Sample, load, percentile
from benchmarks.memory import Memory
from benchmarks.probe import Probe
from benchmarks.processes import run
from benchmarks.result import MEGABYTE, Row, refusals, times

_RATE = 10_000  # events a second
_NAME = f"{_RATE:,} events a second"
_ACKNOWLEDGED_P99 = 10.0
_VISIBLE_P99 = 500.0
_MEMORY_BYTES = 1_073_741_824
_FLAT = 0.05  # of the memory, that it may grow by in the second half
_FLAT_SECONDS = 300.0  # the least length that can tell
_DISK_BYTES = 60
_LOGS = "request_logs"  # what the probes' questions left, not the events


async def measure(bench: Bench) -> AsyncIterator[Row]:
    """Stream for `steady_seconds`, then look at what is left on disk and start again."""
    sizes = bench.sizes
    with House() as house:
        bench.say("steady: customers")
        await house.furnish_for_stream(sizes)
        house.restart()
        ledger_before = house.ledger_bytes()
        bench.say(f"steady: {_NAME} for {sizes.steady_seconds:,.0f} s")
        events, rows = await _stream(house, sizes)
        for row in rows:
            yield row
        bench.say("steady: start-up and disk")
        house.restart()
        yield Row(
            name="start-up afterwards",
            p50=house.server.start_seconds * 1000,
            memory_bytes=house.server.memory(),
            note=f"{events:,} events",
        )
        house.server.stop()
        told = await run("benchmarks.merged", house.folder, b"", lambda _: None)
        yield _disk_row(events, msgspec.json.decode(told), house.ledger_bytes() - ledger_before)


async def _stream(house: House, sizes: Sizes) -> tuple[int, list[Row]]:
    """Stream, with probe events among the others; return how many were acknowledged, and rows."""
    memory, probe = Memory(), await Probe.make(house)
    used = house.server.processor_seconds()
    async with asyncio.TaskGroup() as group:
        loading = group.create_task(
            load(
                house.server.url,
                house.streams(sizes),
                connections=sizes.connections,
                seconds=sizes.steady_seconds,
                rate=_RATE / sizes.events,
            )
        )
        watching = group.create_task(probe.watch(sizes.steady_seconds))
        group.create_task(memory.watch(house.server, sizes.steady_seconds))
    used = house.server.processor_seconds() - used
    await probe.seconds()
    probe.close()
    sample = loading.result()
    events = len(sample.latencies) * sizes.events + probe.events
    house.check_books(events)
    return events, [
        _acknowledged_row(sizes, sample, used),
        _visible_row(watching.result()),
        _memory_row(sizes, memory),
    ]


def _acknowledged_row(sizes: Sizes, sample: Sample, used: float) -> Row:
    p50, p99 = times(sample)
    return Row(
        name=f"{_NAME}, acknowledged",
        rate=sample.rate * sizes.events,
        unit="events",
        p50=p50,
        p99=p99,
        server_cores=used / sample.seconds,
        generator_cores=sample.generator_cores,
        bar=f"p99 at most {_ACKNOWLEDGED_P99:.0f} ms",
        met=p99 <= _ACKNOWLEDGED_P99 and not sample.refused,
        note=refusals(sample),
    )


def _visible_row(seconds: list[float]) -> Row:
    p99 = percentile(seconds, 0.99) * 1000
    return Row(
        name=f"{_NAME}, acknowledged to visible",
        p50=percentile(seconds, 0.5) * 1000,
        p99=p99,
        bar=f"p99 at most {_VISIBLE_P99:.0f} ms",
        met=p99 <= _VISIBLE_P99,
        note=f"{len(seconds):,} events probed",
    )


def _memory_row(sizes: Sizes, memory: Memory) -> Row:
    """Judge the size always, and whether it is flat where the time is long enough to tell."""
    small = memory.peak <= _MEMORY_BYTES
    flat = memory.growth * sizes.steady_seconds / 2 <= _FLAT * memory.last
    long = sizes.steady_seconds >= _FLAT_SECONDS
    return Row(
        name=f"{_NAME}, memory",
        memory_bytes=memory.peak,
        bar="at most 1 GB" + (f", grows by {_FLAT:.0%} at most in the second half" if long else ""),
        met=small and (flat or not long),
        note=f"from {memory.first / MEGABYTE:,.0f} to {memory.last / MEGABYTE:,.0f} MB, at the end "
        f"{memory.growth * 60 / MEGABYTE:+,.0f} MB a minute",
    )


def _disk_row(events: int, tables: dict[str, int], ledger: int) -> Row:
    taken = {name: size for name, size in tables.items() if name != _LOGS} | {"ledger": ledger}
    each = sum(taken.values()) / max(events, 1)
    shares = ", ".join(f"{name} {size / max(events, 1):,.1f}" for name, size in taken.items())
    return Row(
        name=f"{_NAME}, disk after merges",
        disk_bytes_per_event=each,
        bar=f"at most {_DISK_BYTES} bytes an event",
        met=each <= _DISK_BYTES,
        note=shares,
    )
