"""Accepted events of one meter beside a flood of events that are rejected.

Nothing is as cheap for a sender as to be wrong, so who is wrong must not slow who is right. The
accepted events are sent at a modest rate, alone and beside floods of events that name no meter,
turn by turn. A turn ends when all of it is judged. In the end the error reports must tell of every
rejected event, and the ledger must not have kept them.
"""

import asyncio
import sqlite3
from array import array
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field

from benchmarks import traffic
from benchmarks.bench import TURNS, Bench, House, Sizes, document
from benchmarks.load import Client, Sample, load, percentile
from benchmarks.probe import Probe
from benchmarks.processes import KEY
from benchmarks.result import MEGABYTE, Row, refusals, times
from meterhouse.limits import REPORT_DELAY_SECONDS, REPORT_WINDOW_SECONDS

_RATE = 10_000  # accepted events a second
_FLOODS = (0, 25_000, 50_000, 100_000)  # rejected events a second
_FLOOD_CONNECTIONS = 64
_FEWER = 0.2  # of the events that are accepted alone
_REPORTS_SECONDS = REPORT_WINDOW_SECONDS + REPORT_DELAY_SECONDS + 2  # until all are there
_REPORT_TYPE = "v1.billing.meter.no_meter_found"
_LEDGER_BYTES = 1.0  # a rejected event, that the ledger may keep


@dataclass
class Turns:
    """What was seen of the accepted events, and of the flood beside them, in all turns."""

    accepted: Sample = field(default_factory=Sample)
    rejected: Sample = field(default_factory=Sample)
    visible: "array[float]" = field(default_factory=lambda: array("d"))
    server_seconds: float = 0.0

    def visible_at(self, share: float) -> float:
        """Return how soon that share of the acknowledged events was visible, in milliseconds."""
        return percentile(self.visible, share) * 1000


async def measure(bench: Bench) -> AsyncIterator[Row]:
    """Stream what is accepted, alone and beside each flood in turn; then look at the reports."""
    sizes = bench.sizes
    with House() as house:
        bench.say("rejections: customers")
        await house.furnish_for_stream(sizes)
        probe, turns = await Probe.make(house), {flood: Turns() for flood in _FLOODS}
        await _turn(house, sizes, probe, Turns(), max(_FLOODS))
        before = _used_bytes(house)
        for number in range(TURNS):
            for flood, seen in turns.items():
                bench.say(f"rejections: {flood:,} a second, turn {number + 1} of {TURNS}")
                await _turn(house, sizes, probe, seen, flood)
        probe.close()
        for flood, seen in turns.items():
            yield _row(sizes, flood, seen, turns[0])
        bench.say("rejections: error reports")
        yield await _after(house, before)


async def _turn(house: House, sizes: Sizes, probe: Probe, seen: Turns, flood: int) -> None:
    """Send for a part of the time of one measurement, and wait until all of it is judged."""
    seconds = sizes.seconds / TURNS
    used = house.server.processor_seconds()

    def sending(names: list[str], rate: int, connections: int) -> "asyncio.Task[Sample]":
        make = traffic.streams(KEY, names, house.customers, sizes.events)
        return group.create_task(
            load(
                house.server.url,
                make,
                connections=connections,
                seconds=seconds,
                rate=rate / sizes.events,
            )
        )

    async with asyncio.TaskGroup() as group:
        accepted = sending(house.event_names[:1], _RATE, sizes.connections)
        rejected = sending(["nobody"], flood, _FLOOD_CONNECTIONS) if flood else None
        visible = group.create_task(probe.watch(seconds))
    await probe.seconds()
    seen.server_seconds += house.server.processor_seconds() - used
    seen.accepted.add(accepted.result())
    seen.visible.extend(visible.result())
    if rejected is not None:
        seen.rejected.add(rejected.result())


def _row(sizes: Sizes, flood: int, seen: Turns, alone: Turns) -> Row:
    p50, p99 = times(seen.accepted)
    share = seen.accepted.rate / (alone.accepted.rate or 1.0)
    _, alone_p99 = times(alone.accepted)
    slower = p99 / alone_p99, seen.visible_at(0.99) / alone.visible_at(0.99)
    told = f"visible p50 {seen.visible_at(0.5):,.0f} ms, p99 {seen.visible_at(0.99):,.0f} ms"
    if flood:
        told = (
            f"{seen.rejected.rate * sizes.events:,.0f} rejections/s; {told}; "
            f"p99 {slower[0]:.2f} and {slower[1]:.2f} times that alone"
        )
    refused = refusals(seen.accepted) or refusals(seen.rejected)
    return Row(
        name=f"{_RATE:,} accepted/s " + (f"beside {flood:,} rejected/s" if flood else "alone"),
        rate=seen.accepted.rate * sizes.events,
        unit="events",
        p50=p50,
        p99=p99,
        share=share if flood else None,
        against="alone" if flood else "",
        server_cores=seen.server_seconds / seen.accepted.seconds,
        generator_cores=seen.accepted.generator_cores,
        bar=f"at most {_FEWER:.0%} fewer" if flood else "",
        met=share >= 1 - _FEWER if flood else None,
        note="; ".join(part for part in (told, refused) if part),
    )


async def _after(house: House, before: int) -> Row:
    """Wait for the reports, and compare them and the ledger with what was rejected."""
    rejected = int(house.server.metric("meterhouse_events_total", outcome="rejected"))
    await asyncio.sleep(_REPORTS_SECONDS)
    counts = await _error_counts(house)
    kept = (_used_bytes(house) - before) / max(rejected, 1)
    return Row(
        name="error reports afterwards",
        bar=f"they tell of every rejected event; the ledger keeps {_LEDGER_BYTES:.0f} byte of one",
        met=sum(counts) == rejected and kept <= _LEDGER_BYTES,
        note=f"{len(counts)} reports of {sum(counts):,} events, {rejected:,} were rejected; the "
        f"ledger keeps {kept:,.2f} bytes of each, its files are "
        f"{house.ledger_bytes() / MEGABYTE:,.0f} MB",
    )


async def _error_counts(house: House) -> list[int]:
    """Return how many events each error report tells of."""
    client = await Client.connect(house.server.url)
    path: str | None = f"/v2/core/events?types[0]={_REPORT_TYPE}&limit=100"
    counts = []
    while path:
        page = document(await client.ask(traffic.get(path, KEY)))
        path = page["next_page_url"]
        for one in page["data"]:
            event = document(await client.ask(traffic.get(f"/v2/core/events/{one['id']}", KEY)))
            counts.append(int(event["data"]["reason"]["error_count"]))
    client.close()
    return counts


def _used_bytes(house: House) -> int:
    """Return the bytes of the ledger's pages that hold something."""
    with closing(sqlite3.connect(house.folder / "ledger.db")) as ledger:
        pages, free, size = [
            int(ledger.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        ]
    return (pages - free) * size
