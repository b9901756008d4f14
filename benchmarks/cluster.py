"""`python -m benchmarks.cluster [--only commits,workers] [--seconds 6] [--json FILE]`.

What several processes on one ledger give, and what a ledger and a usage store on servers cost. What
is compared takes turns, several times around, so that only ratios of one run count. The ClickHouse
server is the tests' double: the embedded engine behind HTTP.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, LiteralString

import msgspec
import psycopg
import uvloop

from benchmarks.bench import Bench, House, Sizes
from benchmarks.commits import Done, Order
from benchmarks.load import Sample, load
from benchmarks.probe import Probe
from benchmarks.processes import Folder, meterhouse
from benchmarks.result import Row, make_console, refusals, table, write_json
from benchmarks.servers import Database, Usage, postgresql, usage

_TURNS = 3
_GROUP_EVENTS = 500  # of one commit
_API_PROCESSES = 4
_WORKERS = 2
_COMMITS_LEAST = 1.8  # of several processes, against one
_WORKERS_LEAST = 1.7
_WORKERS_CORES = 4  # for them, PostgreSQL and ClickHouse; on fewer it is shown and not judged
_SERVERS_LEAST = 0.6  # of stores on servers, against stores in the folder
_DRAIN_EVENTS = 150_000
_LOOK_SECONDS = 0.05
_ONE_PARTITION = {"METERHOUSE_PARTITIONS": "1"}
_DRAIN_SECONDS_MAX = 300

Measure = Callable[[Bench], AsyncIterator[Row]]
Connection = psycopg.AsyncConnection[tuple[Any, ...]]


# ---- Commits to the journal, without HTTP ----


async def copy(bench: Bench) -> AsyncIterator[Row]:
    """Write rows of the journal by COPY, and by an INSERT each."""
    with postgresql() as database:
        order = Order(database.empty(), bench.sizes.seconds / _TURNS, _GROUP_EVENTS, apart=True)
        ways = {"COPY": order, "INSERT": replace_order(order, copied=False)}
        found = {name: Committed() for name in ways}
        for _ in range(_TURNS):
            for name, one in ways.items():
                bench.say(f"journal rows by {name}")
                found[name].add(await _commit(one, 1, database))
    for name, committed in found.items():
        yield committed.row(f"{_GROUP_EVENTS} journal rows a commit by {name}", found["INSERT"])


async def commits(bench: Bench) -> AsyncIterator[Row]:
    """Commit groups in one process, and in several beside each other."""
    with postgresql() as database:
        order = Order(database.empty(), bench.sizes.seconds / _TURNS, _GROUP_EVENTS)
        found = {number: Committed() for number in (1, _API_PROCESSES)}
        for _ in range(_TURNS):
            for number, committed in found.items():
                bench.say(f"commits of {number}")
                committed.add(await _commit(order, number, database))
    for number, committed in found.items():
        least = _COMMITS_LEAST if number > 1 else None
        name = f"commits of {_GROUP_EVENTS} events, api processes: {number}"
        yield committed.row(name, found[1], least)


@dataclass
class Committed:
    """What processes committed in all turns, and what they and PostgreSQL took."""

    commits: int = 0
    seconds: float = 0.0
    processes: float = 0.0
    database: float = 0.0

    def add(self, other: "Committed") -> None:
        """Take in another turn."""
        self.commits += other.commits
        self.seconds += other.seconds
        self.processes += other.processes
        self.database += other.database

    @property
    def rate(self) -> float:
        """Commits a second."""
        return self.commits / self.seconds if self.seconds else 0.0

    def row(self, name: str, against: "Committed", least: float | None = None) -> Row:
        """Return the line of the table."""
        share = self.rate / against.rate
        return Row(
            name=name,
            rate=self.rate,
            unit="commits",
            share=share,
            server_cores=(self.processes + self.database) / self.seconds,
            bar=f"at least {least:.1f} times one" if least else "",
            met=share >= least if least else None,
            note=_per("commit", self.commits, process=self.processes, PostgreSQL=self.database),
        )


def replace_order(order: Order, *, copied: bool) -> Order:
    """Return an order that is otherwise the same."""
    return msgspec.structs.replace(order, copied=copied)


async def _commit(order: Order, number: int, database: Database) -> Committed:
    """Let so many processes commit at the same time."""
    line = msgspec.json.encode(order) + b"\n"
    running = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.commits"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(number)
    ]
    for one in running:
        assert one.stdin is not None
        one.stdin.write(line)
    for one in running:
        assert one.stdout is not None
        if not await one.stdout.readline():
            raise RuntimeError("a process that should commit ended")
    used = database.processor_seconds()
    for one in running:
        assert one.stdin is not None
        one.stdin.write(b"\n")
    told = [(await one.communicate())[0] for one in running]
    done = [msgspec.json.decode(one, type=Done) for one in told]
    return Committed(
        sum(one.commits for one in done),
        max(one.seconds for one in done),
        sum(one.processor_seconds for one in done),
        database.processor_seconds() - used,
    )


# ---- The whole way ----


@dataclass
class Way:
    """Events that went from a request to the usage store, and who took how long for them."""

    events: int = 0
    seconds: float = 0.0
    used: dict[str, float] | None = None

    def add(self, events: int, seconds: float, used: dict[str, float]) -> None:
        """Take in another turn."""
        before = self.used or dict.fromkeys(used, 0.0)
        self.events += events
        self.seconds += seconds
        self.used = {role: before[role] + more for role, more in used.items()}

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds if self.seconds else 0.0

    def row(self, name: str, against: "Way", least: float | None = None, note: str = "") -> Row:
        """Return the line of the table."""
        share = self.rate / against.rate
        used = self.used or {}
        return Row(
            name=name,
            rate=self.rate,
            unit="events",
            share=share,
            server_cores=sum(used.values()) / self.seconds,
            bar=f"at least {least:.2f} times" if least else "",
            met=share >= least if least else None,
            note=note or _per("event", self.events, **used),
        )


async def single(bench: Bench) -> AsyncIterator[Row]:
    """Run one process with stores on servers, and one with stores in its folder.

    The journal has one partition in the folder, and several on servers, for workers to come. What
    these cost shows beside a journal of one partition on servers.
    """
    with ExitStack() as opened:
        database, double = opened.enter_context(postgresql()), opened.enter_context(usage())
        houses = {"in the folder": House()}
        for name, more in (("on servers", {}), ("on servers, one partition", _ONE_PARTITION)):
            environment = _on(database.empty(), double.empty()) | more
            houses[name] = House(partial(meterhouse, environment=environment))
        for house in houses.values():
            opened.enter_context(house)
            await house.furnish_for_stream(bench.sizes)
        probes = {name: await Probe.make(house) for name, house in houses.items()}
        for probe in probes.values():
            opened.callback(probe.close)
        found = {name: Way() for name in houses}
        for turn in range(_TURNS + 1):  # the first one warms up
            for name, house in houses.items():
                bench.say(f"stores {name}")
                watched = {"Meterhouse": house.server.processor_seconds}
                if name != "in the folder":
                    watched |= _watched(database, double)
                way = found[name] if turn else Way()
                await _turn(way, house, probes[name], bench.sizes, watched)
    for name, way in found.items():
        least = _SERVERS_LEAST if name == "on servers" else None
        yield way.row(f"one process, stores {name}", found["in the folder"], least)


async def _turn(
    way: Way, house: House, probe: Probe, sizes: Sizes, watched: dict[str, Callable[[], float]]
) -> None:
    """Load a house with the stream, and wait until all of it can be read."""
    began, before = asyncio.get_running_loop().time(), {k: now() for k, now in watched.items()}
    sample = await load(
        house.server.url,
        house.streams(sizes),
        connections=sizes.connections,
        seconds=sizes.seconds / _TURNS,
    )
    await probe.seconds()
    took = asyncio.get_running_loop().time() - began
    _check(sample)
    used = {role: now() - before[role] for role, now in watched.items()}
    way.add(len(sample.latencies) * sizes.events, took, used)


def _check(sample: Sample) -> None:
    if sample.refused:
        raise RuntimeError(refusals(sample))


# ---- Nodes ----


async def workers(bench: Bench) -> AsyncIterator[Row]:
    """Process what waits in the journal by one worker, and by two."""
    found = {number: Way() for number in (1, _WORKERS)}
    with ExitStack() as opened:
        database, double = opened.enter_context(postgresql()), opened.enter_context(usage())
        for _ in range(_TURNS):
            for number, way in found.items():
                bench.say(f"workers: {number}")
                await _drain(bench, way, number, database, double)
    for number, way in found.items():
        least = _WORKERS_LEAST if number > 1 and (os.cpu_count() or 1) >= _WORKERS_CORES else None
        yield way.row(f"events processed, workers: {number}", found[1], least)


async def _drain(bench: Bench, way: Way, number: int, database: Database, double: Usage) -> None:
    """Let events wait for workers that have shared the partitions and stand still; let them go on.

    They stand still for less than their leases last, and for nobody but them; what they take to
    start is not in the measurement.
    """
    url = database.empty()
    stores = _on(url, double.empty())
    as_worker = stores | {"METERHOUSE_ROLE": "worker"}
    async with AsyncExitStack() as opened:
        api = House(partial(meterhouse, environment=stores | {"METERHOUSE_ROLE": "api"}))
        opened.enter_context(api)
        ledger = await opened.enter_async_context(await _connect(url))
        await api.furnish_for_stream(bench.sizes)
        folders = [opened.enter_context(Folder()) for _ in range(number)]
        working = [opened.enter_context(meterhouse(one, environment=as_worker)) for one in folders]
        await _until(partial(_shared, ledger, number))
        for one in working:
            one.pause()
            opened.callback(one.go_on)  # else it would not end
        await _send(api, api.streams(bench.sizes), _DRAIN_EVENTS // bench.sizes.events)
        watched = _watched(database, double) | {
            "workers": lambda: sum(one.processor_seconds() for one in working)
        }
        before = {role: now() for role, now in watched.items()}
        events, began = await _waiting(ledger), asyncio.get_running_loop().time()
        for one in working:
            one.go_on()
        await _until(partial(_idle, ledger))
        used = {role: now() - before[role] for role, now in watched.items()}
        way.add(events, asyncio.get_running_loop().time() - began, used)


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds; raise `RuntimeError` when it does not in time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + _DRAIN_SECONDS_MAX
    while not await holds():
        if loop.time() > end:
            raise RuntimeError("workers did not do in time what they should")
        await asyncio.sleep(_LOOK_SECONDS)


async def _shared(ledger: Connection, workers: int) -> bool:
    """Tell whether so many workers have all partitions, each of them as many as the others."""
    each, partitions = await _asked(
        ledger,
        "SELECT array_agg(number), (SELECT count(*) FROM partitions) FROM ("
        "SELECT count(*) AS number FROM leases "
        "WHERE name LIKE 'partition-%' AND owner <> '' GROUP BY owner) AS owned",
    )
    return bool(each == [partitions / workers] * workers)


async def _idle(ledger: Connection) -> bool:
    """Tell whether everything is stored."""
    [blocks] = await _asked(ledger, "SELECT count(*) FROM blocks")
    return not blocks and not await _waiting(ledger)


async def _waiting(ledger: Connection) -> int:
    """Return how many events wait in the journal."""
    [events] = await _asked(ledger, "SELECT coalesce(sum(events), 0) FROM journal")
    return int(events)


async def _asked(ledger: Connection, question: LiteralString) -> tuple[Any, ...]:
    return await (await ledger.execute(question)).fetchone() or ()


async def _connect(url: str) -> Connection:
    return await psycopg.AsyncConnection.connect(url, autocommit=True)


async def _send(api: House, make: Callable[[], bytes], requests: int) -> None:
    """Send requests until so many, or a few more, were taken."""
    sent = 0
    while sent < requests:
        sample = await load(api.server.url, make, connections=8, seconds=0.5)
        _check(sample)
        sent += len(sample.latencies)


async def processes(bench: Bench) -> AsyncIterator[Row]:
    """Send the stream to one process, and to several behind one port."""
    with ExitStack() as opened:
        database, double = opened.enter_context(postgresql()), opened.enter_context(usage())
        found = {number: Way() for number in (1, _API_PROCESSES)}
        houses = {}
        for number in found:
            stores = _on(database.empty(), double.empty())
            environment = stores | {"METERHOUSE_PROCESSES": str(number)}
            house = House(partial(meterhouse, environment=environment))
            houses[number] = opened.enter_context(house)
            await house.furnish_for_stream(bench.sizes)
        for turn in range(_TURNS + 1):
            for number, house in houses.items():
                bench.say(f"behind one port: {number}")
                watched = {"Meterhouse": house.server.processor_seconds}
                watched |= _watched(database, double)
                way = found[number] if turn else Way()
                await _acknowledge(way, house, bench.sizes, watched)
    for number, way in found.items():
        yield way.row(f"events acknowledged, processes behind one port: {number}", found[1])


async def _acknowledge(
    way: Way, house: House, sizes: Sizes, watched: dict[str, Callable[[], float]]
) -> None:
    before = {role: now() for role, now in watched.items()}
    sample = await load(
        house.server.url,
        house.streams(sizes),
        connections=4 * sizes.connections,
        seconds=sizes.seconds / _TURNS,
    )
    _check(sample)
    used = {role: now() - before[role] for role, now in watched.items()}
    way.add(len(sample.latencies) * sizes.events, sample.seconds, used)


def _on(database_url: str, clickhouse_url: str) -> dict[str, str]:
    return {
        "METERHOUSE_DATABASE_URL": database_url,
        "METERHOUSE_CLICKHOUSE_URL": clickhouse_url,
        "METERHOUSE_LOG_LEVEL": "warning",
    }


def _watched(database: Database, double: Usage) -> dict[str, Callable[[], float]]:
    return {"PostgreSQL": database.processor_seconds, "ClickHouse": double.processor_seconds}


def _per(what: str, number: int, **seconds: float) -> str:
    """Tell who took how much processor time for one of `number`."""
    each = ", ".join(
        f"{role} {1_000_000 * used / max(number, 1):,.1f}" for role, used in seconds.items()
    )
    return f"µs of processor time {'an' if what[0] in 'aeiou' else 'a'} {what}: {each}"


PARTS: dict[str, Measure] = {
    "copy": copy,
    "commits": commits,
    "single": single,
    "workers": workers,
    "processes": processes,
}


def main() -> None:
    """Measure what was asked for, print the table and write the results."""
    parser = argparse.ArgumentParser("benchmarks.cluster", description="Measure several nodes.")
    parser.add_argument("--only", default=",".join(PARTS), help="some of the default: %(default)s")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of one measurement")
    parser.add_argument("--json", type=Path, help="a file for the results")
    options = parser.parse_args()
    console = make_console()
    sizes = Sizes(seconds=options.seconds, customers=1_000)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rows = runner.run(_measure(options.only.split(","), Bench(sizes, console.print)))
    console.print(table(rows))
    if options.json is not None:
        write_json(options.json, rows, sizes)
    sys.exit(any(row.failed for row in rows))


async def _measure(names: Sequence[str], bench: Bench) -> list[Row]:
    rows: list[Row] = []
    for name in names:
        try:
            async for row in PARTS[name](bench):
                rows.append(row)  # noqa: PERF401 - what came before a failure is kept
        except* (RuntimeError, OSError) as errors:
            rows.append(Row(name=name, failed=True, note=str(errors.exceptions[0])))
    return rows


if __name__ == "__main__":
    main()
