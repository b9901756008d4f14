"""Kill the server again and again under load: what it acknowledged must be what it counts.

`METERHOUSE_CRASH_KILLS` sets how often, `METERHOUSE_CRASH_SEED` repeats the choices of a run.
"""

import asyncio
import os
import time
from pathlib import Path
from statistics import median

import pytest

from tests.crash.points import POINTS
from tests.crash.run import Run
from tests.crash.server import Server

KILLS = int(os.environ.get("METERHOUSE_CRASH_KILLS", len(POINTS) + 3))
SEED = int(os.environ.get("METERHOUSE_CRASH_SEED", time.time_ns() % 1_000_000))
KILL_SECONDS_MAX = 10


@pytest.mark.timeout(60 + KILLS * KILL_SECONDS_MAX)
def test_every_acknowledged_event_counts_exactly_once_after_kill_9(tmp_path: Path) -> None:
    """Given senders that retry, when the server is killed at every point, then the books agree."""
    assert len(POINTS) < KILLS
    print(f"METERHOUSE_CRASH_SEED={SEED}")  # noqa: T201 - a failure shows it
    asyncio.run(_crash(tmp_path))


async def _crash(folder: Path) -> None:
    async with Server(folder) as server:
        run = Run(server, SEED)
        books = await run.set_up()
        await run.load(books, run.kill(KILLS))
        await run.check(books)
    assert "ERROR" not in server.log()
    started = f"start {median(run.start_seconds):.2f} s (longest {max(run.start_seconds):.2f} s)"
    print(f"{KILLS} kills, {started}, {dict(books.outcomes)}, unsure {dict(books.unsure)}")  # noqa: T201 - `pytest -rP` shows it
