import asyncio
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.errors import StoreError
from meterhouse.ledger import journal
from meterhouse.ledger.engine import open_ledger
from meterhouse.pipeline.stores import Stores
from meterhouse.usage.store import UsageStore
from tests.pipeline.samples import Pipeline


def test_writes_go_one_after_the_other_in_order(pipeline: Pipeline) -> None:
    async def body() -> list[int]:
        return await asyncio.gather(
            *(pipeline.stores.write(journal.reserve, count) for count in (3, 1, 2))
        )

    first, second, third = asyncio.run(body())
    assert (second - first, third - second) == (3, 1)


def test_a_write_that_fails_changes_nothing(pipeline: Pipeline) -> None:
    def work(connection: sa.Connection) -> None:
        journal.reserve(connection, 10)
        raise LookupError("something was missing")

    async def body() -> int:
        before = await pipeline.stores.read(journal.last_position)
        with pytest.raises(LookupError):
            await pipeline.stores.write(work)
        return await pipeline.stores.read(journal.last_position) - before

    assert asyncio.run(body()) == 0


def test_a_read_cannot_write(pipeline: Pipeline) -> None:
    async def body() -> None:
        with pytest.raises(StoreError):
            await pipeline.stores.read(journal.reserve, 1)

    asyncio.run(body())


def test_slow_questions_hold_no_write_up(pipeline: Pipeline) -> None:
    """Given every reader and every question at work, then a write goes through."""
    done = threading.Event()

    def wait(*_: object) -> bool:
        return done.wait(10)

    async def body() -> list[bool]:
        slow = [pipeline.stores.read(wait) for _ in range(limits.LEDGER_READERS)]
        slow += [pipeline.stores.usage(wait) for _ in range(limits.USAGE_READERS)]
        waiting = asyncio.gather(*slow)
        await pipeline.stores.write(journal.reserve, 1)
        done.set()
        return await waiting

    assert all(asyncio.run(body()))


def test_closing_finishes_what_has_begun(
    tmp_path: Path, usage: UsageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    stores = Stores(open_ledger(url), usage)
    closed: list[UsageStore] = []

    def close(store: UsageStore) -> None:
        closed.append(store)

    monkeypatch.setattr(UsageStore, "close", close)

    async def body() -> None:
        task = asyncio.create_task(stores.write(journal.reserve, 5))
        await asyncio.sleep(0)
        stores.close()
        await task

    asyncio.run(body())
    assert closed == [usage]
    with open_ledger(url) as ledger, ledger.read() as connection:
        assert journal.last_position(connection) == 5
