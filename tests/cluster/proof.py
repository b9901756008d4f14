"""What a check of a cluster does, and what it has proved then."""

import asyncio
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse.ledger.engine import open_ledger
from meterhouse.ledger.tables import leases
from tests.cluster.chaos import Chaos
from tests.cluster.fleet import Fleet
from tests.crash.books import Books
from tests.crash.run import Run

NODES = {
    f"{role}-{number}": {"METERHOUSE_ROLE": role} for role in ("api", "worker") for number in (1, 2)
}
ANSWERING = [name for name in NODES if name.startswith("api")]
SETTLED_SECONDS_MAX = 60  # leases have to run out, and what waits to be judged
LOOK_SECONDS = 0.5
JUDGED = ("accepted", "duplicate", "cancelled")  # all else is the code of a rejection

Told = Callable[[str, int, int], None]  # the step, how much is done, and of how much


class Bounds(NamedTuple):
    """How many faults there are, and after how many seconds none begins any more."""

    faults: int
    seconds: int


class Proof(NamedTuple):
    """The faults, the events by their outcomes, and how often a lease got another owner."""

    faults: Mapping[str, int]
    outcomes: Mapping[str, int]
    takeovers: int

    def lines(self) -> Iterator[str]:
        """Say it to people."""
        events = {name: self.outcomes.get(name, 0) for name in JUDGED}
        rejected = sum(self.outcomes.values()) - sum(events.values())
        yield f"Faults: {_listed(self.faults)}."
        yield f"Changes of owner of partitions and jobs: {self.takeovers:,}."
        yield f"Acknowledged: {_listed(events | {'rejected': rejected})}."
        yield "Each event has exactly one outcome, every summary is exact, and the books balance."


async def prove(
    folder: Path, stores: Mapping[str, str], bounds: Bounds, seed: int, told: Told
) -> Proof:
    """Run it all; raises what a test does where something is not as it must be."""
    running = asyncio.current_task()
    assert running is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    async with AsyncExitStack() as opened:
        told("processes start", 0, 0)
        fleet = Fleet(folder, stores, NODES, ANSWERING)
        opened.push_async_callback(fleet.kill)
        await fleet.start()
        run = Run(fleet, seed)
        books = await run.set_up()
        chaos = Chaos(fleet, seed)
        before = _changes(stores)
        watching = asyncio.create_task(_watch(chaos, books, bounds, told))
        opened.callback(watching.cancel)
        await run.load(books, chaos.run(*bounds))
        watching.cancel()
        told("all that they say is compared", 0, 0)
        await run.settle(books, SETTLED_SECONDS_MAX)
        takeovers = _changes(stores) - before
        told("the books are verified", 0, 0)
        await run.verify(books)
    return Proof(chaos.happened, books.outcomes, takeovers)


async def _watch(chaos: Chaos, books: Books, bounds: Bounds, told: Told) -> None:
    while True:
        events = f"faults; {books.outcomes.total():,} events"
        told(events, chaos.happened.total(), bounds.faults)
        await asyncio.sleep(LOOK_SECONDS)


def _changes(stores: Mapping[str, str]) -> int:
    """Return how often leases have changed their owner since the ledger was made."""
    with open_ledger(stores["METERHOUSE_DATABASE_URL"]) as ledger, ledger.read() as connection:
        return int(connection.execute(sa.select(sa.func.sum(leases.c.epoch))).scalar_one() or 0)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())) or "none"
