"""v1 meter-event creates, beside an endpoint of Starlette that stores nothing.

Everything is on: authentication, identifiers, deduplication, fsync before the answer, processing
into the usage store, and the log of requests, which goes to a file.
"""

from collections.abc import AsyncIterator

from benchmarks.bench import Bench, Contender, House, Loaded, load_in_turn
from benchmarks.probe import Probe
from benchmarks.processes import Folder, Server, bare, disk_bytes
from benchmarks.result import Row, refusals, times

_CUSTOMERS = 1_000
_CONNECTIONS = (1, 16, 64)
_SHARE_AT_64 = 0.35
_AIM_AT_64 = "10,000 a second, p99 20 ms"


async def measure(bench: Bench) -> AsyncIterator[Row]:
    """Load both servers in turn, with 1, 16 and 64 connections."""
    with Folder() as folder, bare("form", folder) as starlette, House() as house:
        bench.say("v1 creates: customers")
        await house.furnish(meters=1, customers=_CUSTOMERS)
        idle = house.server.memory()
        plain, keyed = (house.creates(idempotency=keys) for keys in (False, True))
        events = 0
        for connections in _CONNECTIONS:
            bench.say(f"v1 creates, connections: {connections}")
            loaded = await load_in_turn(
                [
                    Contender(starlette, keyed),
                    Contender(house.server, plain),
                    Contender(house.server, keyed),
                ],
                connections=connections,
                seconds=bench.sizes.seconds,
            )
            reference, *ours = loaded
            events += sum(one.answers for one in ours)
            names = ("bare Starlette", "v1 creates", "v1 creates, idempotency key")
            for name, one in zip(names, loaded, strict=True):
                server = starlette if one is reference else house.server
                yield _row(f"{name}, connections: {connections}", one, reference, server)
        bench.say("v1 creates: what is left to process")
        yield await _after(house, events, idle)


def _row(name: str, one: Loaded, reference: Loaded, server: Server) -> Row:
    p50, p99 = times(one.sample)
    share = None if one is reference else one.sample.rate / (reference.sample.rate or 1.0)
    judged = share is not None and name.endswith(": 64")
    return Row(
        name=name,
        rate=one.sample.rate,
        p50=p50,
        p99=p99,
        share=share,
        against="" if share is None else "bare Starlette",
        server_cores=one.server_cores,
        generator_cores=one.sample.generator_cores,
        memory_bytes=server.memory(),
        bar=f"at least {_SHARE_AT_64:.0%}" if judged else "",
        met=share >= _SHARE_AT_64 if share is not None and judged else None,
        aim=_AIM_AT_64 if judged else "",
        note=refusals(one.sample),
    )


async def _after(house: House, events: int, idle_bytes: int) -> Row:
    probe = await Probe.make(house)
    seconds = await probe.seconds()
    probe.close()
    return Row(
        name="after these creates",
        memory_bytes=house.server.memory(),
        disk_bytes_per_event=disk_bytes(house.folder) / max(events, 1),
        note=f"{events:,} events, all visible after {seconds * 1000:,.0f} ms; "
        f"memory before them {idle_bytes / 1_048_576:,.0f} MB",
    )
