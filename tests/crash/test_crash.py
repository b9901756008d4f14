"""Kill the server again and again under load: what it acknowledged must be what it counts.

`METERHOUSE_CRASH_KILLS` sets how often, `METERHOUSE_CRASH_SEED` repeats the choices of a run.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import pytest

from tests.clickhouse import Double
from tests.crash.kills import Kills
from tests.crash.points import COMMIT, POINTS, Point
from tests.crash.run import Run
from tests.crash.server import Server
from tests.postgresql import PostgreSQL
from tests.server import as_variables
from tests.stores import new_stores

KILLS = int(os.environ.get("METERHOUSE_CRASH_KILLS", "0"))
SEED = int(os.environ.get("METERHOUSE_CRASH_SEED", time.time_ns() % 1_000_000))
BEYOND = 3  # kills from outside, where all are not told
KILL_SECONDS_MAX = 20
# Where one store has it and nobody knows; and a commit, which leaves behind what is inserted again.
BETWEEN = [point for point in POINTS if point.moment == "within" or point.call == COMMIT]


@pytest.mark.timeout(60 + (KILLS or len(POINTS) + BEYOND) * KILL_SECONDS_MAX)
def test_every_acknowledged_event_counts_exactly_once_after_kill_9(tmp_path: Path) -> None:
    """Given senders that retry, when the server is killed at every point, then the books agree."""
    print(f"METERHOUSE_CRASH_SEED={SEED}")  # noqa: T201 - a failure shows it
    asyncio.run(_crash(Server(tmp_path), POINTS))


@pytest.mark.timeout(60 + (KILLS or len(BETWEEN) + BEYOND) * KILL_SECONDS_MAX)
def test_they_do_with_stores_on_servers(
    tmp_path: Path, postgresql_server: PostgreSQL, clickhouse_server: Double
) -> None:
    """Given a PostgreSQL and a ClickHouse server, when it is killed between, then as above."""
    print(f"METERHOUSE_CRASH_SEED={SEED}")  # noqa: T201 - as above
    stores = as_variables(new_stores(postgresql_server, clickhouse_server))
    asyncio.run(_crash(Server(tmp_path, stores=stores), BETWEEN))


async def _crash(crashing: Server, points: Sequence[Point]) -> None:
    kills = KILLS or len(points) + BEYOND
    assert len(points) < kills
    async with crashing as server:
        run = Run(server, SEED)
        books = await run.set_up()
        killing = Kills(server, SEED)
        await run.load(books, killing.kill(kills, points))
        await run.check(books)
    assert "ERROR" not in server.log()
    started = (
        f"start {median(killing.start_seconds):.2f} s (longest {max(killing.start_seconds):.2f} s)"
    )
    print(f"{kills} kills, {started}, {dict(books.outcomes)}, unsure {dict(books.unsure)}")  # noqa: T201 - `pytest -rP` shows it
