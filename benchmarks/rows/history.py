"""The stream on an empty store and on one that holds a history, in turn.

A turn ends when all of it is visible, so processing counts as acknowledging does.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack

import msgspec

from benchmarks.bench import Bench, Contender, House, Loaded, load_in_turn
from benchmarks.history import DAYS, Order
from benchmarks.probe import Probe
from benchmarks.processes import run
from benchmarks.result import Row, refusals, times

_SHARE = 0.80
_LOOK_SECONDS = 0.1


async def measure(bench: Bench) -> AsyncIterator[Row]:
    """Give one of two servers a history, and load both."""
    with House() as young, House() as old, ExitStack() as probes:
        contenders: list[Contender] = []
        for house, events in ((young, 0), (old, bench.sizes.history)):
            bench.say("history: customers")
            await house.furnish_for_stream(bench.sizes)
            house.server.stop()
            if events:
                await _write(house, events, bench.say)
            house.start()
            yield _start_row(house, events, _known_seconds(house))
            probe = await Probe.make(house)
            probes.callback(probe.close)
            contenders.append(Contender(house.server, house.streams(bench.sizes), probe.seconds))
        bench.say("history: stream")
        loaded = await load_in_turn(
            contenders, connections=bench.sizes.connections, seconds=bench.sizes.seconds
        )
        yield _row(bench, young, "an empty store", loaded[0], None)
        yield _row(bench, old, f"{bench.sizes.history:,} events", loaded[1], loaded[0])


async def _write(house: House, events: int, say: Callable[[str], None]) -> None:
    order = Order(events, house.meters, house.event_names, house.customers)
    await run(
        "benchmarks.history",
        house.folder,
        msgspec.json.encode(order),
        lambda line: say(f"history: {line}"),
    )


def _known_seconds(house: House) -> float:
    """Wait until the filter knows every identifier; return how long that took from here."""
    started = time.perf_counter()
    while not house.server.metric("meterhouse_identifiers_known"):
        time.sleep(_LOOK_SECONDS)
    return time.perf_counter() - started


def _start_row(house: House, events: int, known: float) -> Row:
    return Row(
        name=f"start-up with {events:,} events" if events else "start-up with no events",
        p50=house.server.start_seconds * 1000,
        memory_bytes=house.server.memory(),
        note=f"with their identifiers, over {DAYS} days; the filter knows them after {known:.1f} s"
        if events
        else "",
    )


def _row(bench: Bench, house: House, name: str, found: Loaded, empty: Loaded | None) -> Row:
    p50, p99 = times(found.sample)
    share = None if empty is None else found.rate / (empty.rate or 1.0)
    return Row(
        name=f"stream on {name}",
        rate=found.rate * bench.sizes.events,
        unit="events",
        p50=p50,
        p99=p99,
        share=share,
        against="" if share is None else "the empty store",
        server_cores=found.server_cores,
        generator_cores=found.sample.generator_cores,
        memory_bytes=house.server.memory(),
        bar="" if share is None else f"at least {_SHARE:.0%} of the empty store",
        met=None if share is None else share >= _SHARE,
        note=refusals(found.sample),
    )
