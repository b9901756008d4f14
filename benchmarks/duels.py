"""What two programs are compared by: each measure takes one turn of one of them, and tells figures.

A figure is a number and its name. Whether more or less of it is better, and what is asked of it,
is told by `FIGURES`; a measure is known by the name that stands in `DUELS`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from benchmarks import traffic
from benchmarks.bench import Bench, House
from benchmarks.load import Sample, load, percentile
from benchmarks.probe import Probe
from benchmarks.processes import KEY
from benchmarks.result import times

_STEADY = 10_000  # events a second
_MICROSECONDS = 1_000_000
_TRICKLES = (1, 10, 100)  # events a second
_MANY = 64  # connections
_DIMENSIONS = ("region", "model")

Figures = dict[str, float]
Duel = Callable[[Bench, House, Probe], Awaitable[Figures]]


class Figure(NamedTuple):
    """How a figure is read: its unit, and the ratio that it should reach, or stay below."""

    unit: str
    more_is_better: bool
    asked: float | None = None


FIGURES = {
    "stream, the whole way": Figure("events/s", True, 2.0),
    "stream, acknowledged": Figure("events/s", True, 1.8),
    "stream, visible after the last": Figure("ms", False),
    "stream, the process that answers": Figure("µs an event", False),
    "stream, the process of the engine": Figure("µs an event", False),
    "stream, both": Figure("µs an event", False),
    "stream, resident memory": Figure("MB", False, 1.0),
    "10,000 events/s, acknowledged p99": Figure("ms", False, 0.6),
    "10,000 events/s, visible p99": Figure("ms", False, 0.8),
    "10,000 events/s, processor time": Figure("cores", False),
    "rejections, the whole way": Figure("events/s", True, 1.5),
    "rejections, both": Figure("µs an event", False),
    "v1 creates, 64 connections": Figure("a second", True, 1.4),
    "v1 creates, processor time": Figure("µs each", False),
    "v1 creates, idempotency key": Figure("a second", True, 1.6),
    "v1 creates, 1 connection, p50": Figure("ms", False, 0.8),
    "a customer's month by day, p50": Figure("ms", False, 0.6),
    "a customer's month by day, 8 connections": Figure("a second", True, 1.6),
    **{f"trickle, {rate} a second": Figure("cores", False, 0.2) for rate in _TRICKLES},
    "idle": Figure("cores", False),
}


async def stream(bench: Bench, house: House, probe: Probe) -> Figures:
    """Stream as fast as answers come, and wait until all of it is visible."""
    sizes = bench.sizes
    sample, seconds, used = await _streamed(bench, house, probe, house.event_names)
    events = len(sample.latencies) * sizes.events
    first, *others = [one * _MICROSECONDS / events for one in used]
    return {
        "stream, the whole way": events / (sample.seconds + seconds),
        "stream, acknowledged": sample.rate * sizes.events,
        "stream, visible after the last": seconds * 1000,
        "stream, the process that answers": first,
        "stream, the process of the engine": sum(others),
        "stream, both": first + sum(others),
        "stream, resident memory": house.server.memory() / 1_048_576,
    }


async def rejections(bench: Bench, house: House, probe: Probe) -> Figures:
    """Stream what names no meter, and wait until all of it is judged."""
    sample, seconds, used = await _streamed(bench, house, probe, ["nobody"])
    events = len(sample.latencies) * bench.sizes.events
    return {
        "rejections, the whole way": events / (sample.seconds + seconds),
        "rejections, both": sum(used) * _MICROSECONDS / events,
    }


async def _streamed(
    bench: Bench, house: House, probe: Probe, names: Sequence[str]
) -> tuple[Sample, float, list[float]]:
    """Stream; return also how long until all was judged, and the time of each process for it."""
    sizes = bench.sizes
    make = traffic.streams(KEY, names, house.customers, sizes.events)
    used = house.server.processor_seconds_each()
    sample = await load(
        house.server.url, make, connections=sizes.connections, seconds=sizes.seconds
    )
    seconds = await probe.seconds()
    after = house.server.processor_seconds_each()
    return sample, seconds, [b - a for a, b in zip(used, after, strict=True)]


async def steady(bench: Bench, house: House, probe: Probe) -> Figures:
    """Stream at a steady rate, with probe events among the others."""
    sizes = bench.sizes
    used = house.server.processor_seconds()
    async with asyncio.TaskGroup() as group:
        loading = group.create_task(
            load(
                house.server.url,
                house.streams(sizes),
                connections=sizes.connections,
                seconds=sizes.seconds,
                rate=_STEADY / sizes.events,
            )
        )
        watching = group.create_task(probe.watch(sizes.seconds))
    await probe.seconds()
    used = house.server.processor_seconds() - used
    _, p99 = times(loading.result())
    return {
        "10,000 events/s, acknowledged p99": p99,
        "10,000 events/s, visible p99": percentile(watching.result(), 0.99) * 1000,
        "10,000 events/s, processor time": used / sizes.seconds,
    }


async def creates(bench: Bench, house: House, probe: Probe) -> Figures:
    """Create events by v1: over many connections, with an idempotency key, and over one."""
    seconds = bench.sizes.seconds / 3
    used = house.server.processor_seconds()
    plain = await _created(house, _MANY, seconds, idempotency=False)
    await probe.seconds()
    used = house.server.processor_seconds() - used
    keyed = await _created(house, _MANY, seconds, idempotency=True)
    await probe.seconds()
    one = await _created(house, 1, seconds, idempotency=False)
    p50, _ = times(one)
    return {
        "v1 creates, 64 connections": plain.rate,
        "v1 creates, processor time": used * _MICROSECONDS / max(len(plain.latencies), 1),
        "v1 creates, idempotency key": keyed.rate,
        "v1 creates, 1 connection, p50": p50,
    }


async def _created(house: House, connections: int, seconds: float, *, idempotency: bool) -> Sample:
    make = house.creates(idempotency=idempotency)
    return await load(house.server.url, make, connections=connections, seconds=seconds)


async def questions(bench: Bench, house: House, probe: Probe) -> Figures:
    """Ask for customers' usage by day and two group keys, over one connection and over eight."""
    await probe.seconds()
    ask = traffic.questions(KEY, house.meters[0], house.customers, _DIMENSIONS)
    seconds = bench.sizes.seconds / 2
    alone = await load(house.server.url, ask, connections=1, seconds=seconds)
    many = await load(house.server.url, ask, connections=8, seconds=seconds)
    p50, _ = times(alone)
    return {
        "a customer's month by day, p50": p50,
        "a customer's month by day, 8 connections": many.rate,
    }


async def trickle(bench: Bench, house: House, _: Probe) -> Figures:
    """Create a few events a second over one connection while nobody asks; then none at all."""
    found = {}
    for rate in _TRICKLES:
        make = house.creates(idempotency=True)
        used = house.server.processor_seconds()
        sample = await load(
            house.server.url, make, connections=1, seconds=bench.sizes.trickle_seconds, rate=rate
        )
        used = house.server.processor_seconds() - used
        found[f"trickle, {rate} a second"] = used / sample.seconds
    used = house.server.processor_seconds()
    await asyncio.sleep(bench.sizes.trickle_seconds)
    found["idle"] = (house.server.processor_seconds() - used) / bench.sizes.trickle_seconds
    return found


DUELS: dict[str, Duel] = {
    "stream": stream,
    "steady": steady,
    "rejections": rejections,
    "creates": creates,
    "questions": questions,
    "trickle": trickle,
}
