"""Jobs that start and stop with their leases."""

import asyncio
from pathlib import Path
from typing import Any

from meterhouse.background import Background, Worker
from meterhouse.jobs.owned import NAMES, WOKEN, JobName, Jobs
from meterhouse.ledger.engine import open_ledger
from meterhouse.stores import Stores
from tests.blank import blank_ledger


class Counter(Worker):
    """Counts how often it was woken since it began."""

    def __init__(self, stores: Stores) -> None:
        super().__init__()
        self.stores = stores
        self.times = 0

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            self.times += 1


class Sleeper(Background):
    """Goes by the clock, and cannot be woken."""

    async def _run(self) -> None:
        await asyncio.sleep(60)


def test_a_job_that_starts_again_is_another_one(tmp_path: Path) -> None:
    made: list[Counter] = []

    def make(stores: Stores) -> Background:
        made.append(Counter(stores))
        return made[-1]

    async def body(stores: Stores) -> None:
        jobs = Jobs(dict.fromkeys(NAMES, make))
        jobs.wake("erase")  # which is nothing to one that does not run
        jobs.start("erase", stores)
        await asyncio.sleep(0)
        jobs.wake("erase")
        await asyncio.sleep(0)
        await jobs.stop("erase")
        again: Any = object()
        jobs.start("erase", again)
        await asyncio.sleep(0)
        jobs.start("report", stores)
        await jobs.stop_all()
        jobs.wake("erase")
        assert [one.stores for one in made] == [stores, again, stores]
        assert all(one._task is not None and one._task.done() for one in made)
        assert not jobs._running

    with open_ledger(blank_ledger(tmp_path)) as ledger:
        stores = Stores(ledger, lambda *_: None)
        asyncio.run(body(stores))
        stores.close()


def test_what_goes_by_the_clock_need_not_be_woken() -> None:
    async def body() -> None:
        made: dict[JobName, Any] = {"report": lambda _: Sleeper()}
        jobs = Jobs(made)
        jobs.start("report", None)  # type: ignore[arg-type]
        jobs.wake("report")
        await jobs.stop_all()

    asyncio.run(body())
    assert set(WOKEN) < set(NAMES)
