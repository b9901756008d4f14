import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from meterhouse.config import Config
from meterhouse.jobs.snapshot import Snapshots
from meterhouse.ledger.snapshot import LedgerSnapshot
from meterhouse.usage.store import UsageStore
from tests.pipeline import Pipeline, stream, submission

# Stores on servers have back-ups of their own.
pytestmark = pytest.mark.parametrize("usage", ["embedded"], indirect=True)


def config(folder: Path, usage: UsageStore, **urls: str) -> Config:
    places = {
        "database_url": f"sqlite:///{folder / 'ledger.db'}",
        "clickhouse_url": f"chdb://{usage.path}",
    }
    return Config.read({"data_dir": folder, **places, **urls}, {})


async def taken(snapshots: Snapshots) -> dict[str, Any]:
    await snapshots.start()
    assert snapshots._task is not None
    await snapshots._task
    return snapshots.state()


def found(folder: str, pattern: str) -> int:
    return len(list(Path(folder).glob(pattern))) if pattern else int(Path(folder).exists())


def journal_rows(ledger: str) -> int:
    with closing(sqlite3.connect(ledger)) as copy:
        return int(copy.execute("SELECT count(*) FROM journal").fetchone()[0])


def rows_of(usage: UsageStore, table: str, frozen: str) -> int:
    """Count the rows of a table in a snapshot, as the parts themselves say."""
    [path] = usage.columns(
        "SELECT data_paths[1] AS path FROM system.tables "
        "WHERE database = currentDatabase() AND name = {table:String}",
        {"table": table},
    )["path"].to_pylist()
    assert usage.path is not None
    folder = Path(frozen) / Path(path).relative_to(usage.path)
    assert (folder / "format_version.txt").exists()
    return sum(int(part.read_text()) for part in folder.glob("*/count.txt"))


def test_a_snapshot_is_of_one_moment_and_goes_when_it_is_dropped(
    pipeline: Pipeline, usage: UsageStore, tmp_path: Path
) -> None:
    """Given events before, at and after the moment, then they are stored, pending and missing."""

    @asynccontextmanager
    async def still() -> AsyncIterator[None]:
        async with pipeline.processor.still():
            await stream(pipeline, submission("pending").event)
            yield
        await stream(pipeline, submission("late").event)
        assert await pipeline.processor.settle(30)

    async def body() -> None:
        await stream(pipeline, submission("early").event)
        assert await pipeline.processor.settle(30)
        snapshots = Snapshots(pipeline.stores, still, config(tmp_path, usage))
        state = await taken(snapshots)
        assert state["status"] == "ready", state
        assert pipeline.stored() == 3
        assert rows_of(usage, "events", state["usage"]) == 1
        assert journal_rows(state["ledger"]) == 1
        assert found(state["usage"], "store/*/*/events.sql") == 1
        await snapshots.drop()
        assert snapshots.state()["status"] == "idle"
        assert found(str(tmp_path), "snapshot") == found(state["usage"], "") == 0

    pipeline.run(body)


@pytest.mark.parametrize(
    ("urls", "sentence"),
    [
        ({"database_url": "postgresql://x/y"}, "is a PostgreSQL database"),
        ({"clickhouse_url": "clickhouse://x"}, "is on a ClickHouse server"),
    ],
)
def test_a_server_with_stores_elsewhere_refuses(
    pipeline: Pipeline, usage: UsageStore, tmp_path: Path, urls: dict[str, str], sentence: str
) -> None:
    async def body() -> None:
        snapshots = Snapshots(
            pipeline.stores, pipeline.processor.still, config(tmp_path, usage, **urls)
        )
        state = await taken(snapshots)
        assert state["status"] == "failed"
        assert sentence in state["problem"]
        assert not (tmp_path / "snapshot").exists()

    pipeline.run(body)


def test_a_new_snapshot_takes_the_place_of_one_that_is_being_made(
    pipeline: Pipeline, usage: UsageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()
    copy_to = LedgerSnapshot.copy_to

    async def body() -> None:
        loop = asyncio.get_running_loop()

        def endless(view: LedgerSnapshot, path: Path, told: Callable[[int, int], None]) -> None:
            loop.call_soon_threadsafe(begun.set)
            try:
                while True:  # until it is given up, which `told` tells
                    told(0, 1)
            finally:
                copy_to(view, path, lambda *_: None)

        snapshots = Snapshots(pipeline.stores, pipeline.processor.still, config(tmp_path, usage))
        with monkeypatch.context() as patched:
            patched.setattr(LedgerSnapshot, "copy_to", endless)
            await snapshots.start()
            await begun.wait()
        assert (await taken(snapshots))["status"] == "ready"
        await snapshots.drop()

    pipeline.run(body)


def test_the_ledger_is_copied_as_it_was(pipeline: Pipeline, tmp_path: Path) -> None:
    ledger = pipeline.stores._ledger
    view = ledger.snapshot()
    with ledger.write() as connection:
        connection.exec_driver_sql("UPDATE journal_head SET next_position = 77")
    steps: list[tuple[int, int]] = []
    view.copy_to(tmp_path / "copy.db", lambda done, total: steps.append((done, total)))
    assert steps[-1][0] == steps[-1][1] > 0
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("SELECT next_position FROM journal_head").fetchone() == (1,)
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
