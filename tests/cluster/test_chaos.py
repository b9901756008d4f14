"""Several nodes on one ledger, to which everything happens: what was acknowledged counts once.

`METERHOUSE_CRASH_FAULTS` sets how much happens, `METERHOUSE_CRASH_SEED` repeats the choices of a
run. What was acknowledged is known from the answers that senders heard; an event whose answer was
lost is sent again under its identifier.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clickhouse import Double
from tests.cluster.chaos import Chaos, Servers
from tests.cluster.fleet import Fleet
from tests.cluster.hooks import Hooks, listed
from tests.cluster.proof import SETTLED_SECONDS_MAX
from tests.crash.books import Books
from tests.crash.client import Client, Reply
from tests.crash.run import Run
from tests.postgresql import PostgreSQL, postgresql
from tests.receiver import Receiver, receiving
from tests.server import as_variables
from tests.stores import new_stores

FAULTS = int(os.environ.get("METERHOUSE_CRASH_FAULTS", "50"))
SEED = int(os.environ.get("METERHOUSE_CRASH_SEED", time.time_ns() % 1_000_000))
FAULT_SECONDS_MAX = 10
RETRY_SECONDS = 0.05
NODES = {
    f"{role}-{number}": {"METERHOUSE_ROLE": role}
    for role in ("api", "worker")
    for number in range(1, 4)
}


@pytest.fixture
def restarted() -> Iterator[PostgreSQL]:
    """Run a PostgreSQL server of its own, which may be restarted."""
    with postgresql() as server:
        server.restart()  # with room for many connections
        yield server


@pytest.mark.timeout(180 + FAULTS * FAULT_SECONDS_MAX)
def test_whatever_happens_to_nodes_and_stores_the_books_balance(
    tmp_path: Path, restarted: PostgreSQL, clickhouse_server: Double
) -> None:
    """Given senders that retry, when nodes and stores fail, then all counts once, and is told."""
    print(f"METERHOUSE_CRASH_SEED={SEED}")  # noqa: T201 - a failure shows it
    stores = as_variables(
        {**new_stores(restarted, clickhouse_server), "private_destinations": "open"}
    )
    answering = [name for name in NODES if name.startswith("api")]
    fleet = Fleet(tmp_path, stores, NODES, answering)
    with receiving() as receiver:
        asyncio.run(_chaos(fleet, receiver, restarted, clickhouse_server))


async def _chaos(
    starting: Fleet, receiver: Receiver, postgresql: PostgreSQL, double: Double
) -> None:
    async with starting as fleet:
        client = Client(*fleet.addresses)
        hooks = Hooks(client, receiver)
        await hooks.set_up()
        run = Run(fleet, SEED)
        books = await run.set_up()
        chaos = Chaos(fleet, SEED, Servers(postgresql, double))
        done = asyncio.Event()
        creating = asyncio.create_task(_create_customers(Client(*fleet.addresses[::-1]), done))
        await run.load(books, chaos.run(FAULTS))
        done.set()
        created = await creating
        split = await hooks.check(_rejected(books))
        names = [one["name"] for one in await listed(client, "/v1/customers") if one["name"]]
        assert sorted(names) == sorted(created)
        client.close()
        await run.settle(books, SETTLED_SECONDS_MAX)
        await run.verify(books)
    print(f"{dict(chaos.happened)}, {dict(books.outcomes)}, unsure {dict(books.unsure)}, ")  # noqa: T201 - `pytest -rP` shows it
    print(f"{len(created)} customers, {len(receiver.heard)} deliveries, {split} split")  # noqa: T201


def _rejected(books: Books) -> range:
    """Return how many rejected events there may be."""
    judged = {"accepted", "duplicate", "cancelled"}
    sure = sum(count for outcome, count in books.outcomes.items() if outcome not in judged)
    return range(sure, sure + books.unsure["rejected"] + 1)


async def _create_customers(client: Client, done: asyncio.Event) -> list[str]:
    """Create one after the other, each twice under its idempotency key; return their names."""
    names: list[str] = []
    while not done.is_set():
        names.append(f"customer {len(names)}")
        form = {"name": names[-1]}
        first, again = [await _insist(client, form, names[-1]) for _ in range(2)]
        assert again.headers["idempotent-replayed"] == "true"
        assert again.document == first.document
        await asyncio.sleep(RETRY_SECONDS)
    client.close()
    return names


async def _insist(client: Client, form: dict[str, str], key: str) -> Reply:
    """Send a request until it is answered."""
    while True:
        try:
            reply = await client.post("/v1/customers", form, key)
        except ConnectionError:
            pass
        else:
            if reply.status not in {409, 429, 503}:
                assert reply.status == 200, reply
                return reply
        await asyncio.sleep(RETRY_SECONDS)
