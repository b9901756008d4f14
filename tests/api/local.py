"""A server within the test's process, where the test is the master of time.

It is the whole program without its sockets: `LocalServer.request` hands a request to the ASGI
application. What happens besides, such as processing, goes on while a request is answered.

To open an engine takes longer than most tests, and a process never gets back all of its memory. So
where a usage store is `kept`, the servers have that one, one after the other.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast
from unittest import mock

import httpx
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.clock import ManualClock
from meterhouse.config import Config
from meterhouse.jobs.owned import JobName
from meterhouse.ledger.engine import open_ledger
from meterhouse.ledger.owner import Owner
from meterhouse.logs import AnsweredRequest
from meterhouse.usage.store import UsageStore
from tests.blank import blank_ledger
from tests.server import LIVE_KEY, TEST_KEY
from tests.whole import Whole

T = TypeVar("T")

NOW = int(datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC).timestamp())
HOUR = 3_600
DAY = 24 * HOUR


class LocalServer:
    """The program, its clock (which starts at `NOW`), and the requests that it noted."""

    def __init__(self, runner: asyncio.Runner, data_dir: Path, settings: dict[str, str]) -> None:
        self._runner = runner
        self.loop = runner.get_loop()
        self.clock = ManualClock(NOW * 1000)
        self.noted: list[AnsweredRequest] = []
        options = {"data_dir": str(data_dir), "api_keys": f"{TEST_KEY},{LIVE_KEY}", **settings}
        config = Config.read(options, {})
        ledger = None
        if config.role != "all":
            owner = Owner.here(data_dir, NOW * 1000)
            ledger = open_ledger(config.database_url, owner, alone=False)
        self.meterhouse = Whole(config, self.clock, self.noted.append, ledger=ledger)

    def run(self, work: Awaitable[T]) -> T:
        """Run `work` in the program's event loop."""

        async def wait() -> T:
            return await work

        return self._runner.run(wait())

    def job(self, name: JobName) -> Any:
        """Return a job that runs."""
        return self.meterhouse.jobs._running[name]

    def start_job(self, name: JobName) -> None:
        """Let a job begin, within the event loop or before it."""
        self.meterhouse.jobs.start(name, self.meterhouse.services.stores)

    def stop_job(self, name: JobName) -> None:
        """Let a job end."""
        self.run(self.meterhouse.jobs.stop(name))

    def until(self, done: Callable[[sa.Connection], bool]) -> None:
        """Wait until something is so in the ledger."""
        self.run(self.wait(done))

    async def wait(self, done: Callable[[sa.Connection], bool]) -> None:
        """Wait until something is so in the ledger, from within the event loop."""
        async with asyncio.timeout(limits.STOP_DRAIN_SECONDS_MAX):
            while not await self.meterhouse.services.stores.read(done):  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)

    def later(self, milliseconds: int) -> None:
        """Let time pass, in which the server goes on; a clock that jumps is `clock`'s business."""
        self.clock.let_pass(milliseconds)
        self.run(self.meterhouse.services.timekeeper.look())
        deliverer: Any = self.meterhouse.jobs._running.get("deliver")
        if deliverer is not None:
            deliverer.wake()  # it would look at the clock in some seconds

    def request(self, method: str, path: str, **details: Any) -> httpx.Response:
        """Answer one request; `details` are those of httpx, `key` is the API key."""
        return self.run(self.ask(method, path, **details))

    async def ask(
        self, method: str, path: str, *, key: str = TEST_KEY, **details: Any
    ) -> httpx.Response:
        """Answer one request, from within the event loop."""
        transport = httpx.ASGITransport(self.meterhouse.asgi)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost", auth=(key, "")
        ) as client:
            return await client.request(method, path, **details)

    def create(self, path: str, **details: Any) -> dict[str, Any]:
        """POST and return the object that was made."""
        answer = self.request("POST", path, **details)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def meter(self, event_name: str = "calls", **data: str) -> str:
        """Make a meter that adds up and return its id; `data` are further parameters."""
        parameters = {
            "display_name": "Calls",
            "event_name": event_name,
            "default_aggregation[formula]": "sum",
        }
        meter: str = self.create("/v1/billing/meters", data=parameters | data)["id"]
        return meter

    def customer(self) -> str:
        """Make a customer and return its id."""
        customer: str = self.create("/v1/customers")["id"]
        return customer

    def summaries(self, meter: str, customer: str, **params: str | int) -> httpx.Response:
        """Ask for event summaries, of the last ten and the next two days unless told otherwise."""
        today = self.clock.now() // 1000 // DAY * DAY
        asked = {"customer": customer, "start_time": today - 10 * DAY, "end_time": today + 2 * DAY}
        return self.request(
            "GET", f"/v1/billing/meters/{meter}/event_summaries", params=asked | params
        )


class _KeptStore(UsageStore):
    """A usage store that stays open when a server closes it."""

    def close(self) -> None:
        """Stay open."""

    def let_go(self) -> None:
        """Close, really."""
        super().close()

    def empty(self) -> None:
        """Empty every table that has rows."""
        for table in set(self.columns(_WITH_ROWS, {})["table"].to_pylist()):
            self.change(f"TRUNCATE TABLE {table}", {}, {})


_WITH_ROWS = "SELECT table FROM system.parts WHERE active AND database = currentDatabase()"


class _Keep:
    """The usage store that servers of this process have, and which of them had it last."""

    def __init__(self, folder: Path) -> None:
        self.url = f"chdb://{folder}"
        self._store: _KeptStore | None = None
        self._data_dir: Path | None = None

    def open(self, data_dir: Path) -> UsageStore:
        """Return the store: empty, unless the server with this data folder had it last."""
        if self._store is None:
            self._store = cast("_KeptStore", _KeptStore.open(self.url))
        if data_dir != self._data_dir:
            self._store.empty()
            self._data_dir = data_dir
        return self._store

    def close(self) -> None:
        """Close the store until a server needs it."""
        if self._store is not None:
            self._store.let_go()
            self._store = None


_keeps: list[_Keep] = []


@contextmanager
def kept_store(folder: Path) -> Iterator[None]:
    """Let servers share a usage store in `folder` as long as the block lasts."""
    keep = _Keep(folder)
    _keeps.append(keep)
    try:
        yield
    finally:
        _keeps.remove(keep)
        keep.close()


@contextmanager
def own_stores() -> Iterator[None]:
    """Let servers have usage stores of their own as long as the block lasts."""
    kept = _keeps.copy()
    _keeps.clear()
    for keep in kept:
        keep.close()
    try:
        yield
    finally:
        _keeps.extend(kept)


@contextmanager
def local_server(data_dir: Path, **settings: str) -> Iterator[LocalServer]:
    """Open a server with `settings`, such as `values="whole"`; close it when the block ends."""
    blank_ledger(data_dir)
    with asyncio.Runner() as runner:
        local = _opened(runner, data_dir, settings)
        local.run(local.meterhouse.start())
        try:
            yield local
        finally:
            local.run(local.meterhouse.stop())


@contextmanager
def passing_server(data_dir: Path) -> Iterator[LocalServer]:
    """Open a server whose stores nobody looks at after the block: not all gets there at its end."""
    with local_server(data_dir) as local:
        yield local
        local.meterhouse._request_logs._waiting.clear()
        local.meterhouse._key_uses._used.clear()


def _opened(runner: asyncio.Runner, data_dir: Path, settings: dict[str, str]) -> LocalServer:
    if not _keeps:
        return LocalServer(runner, data_dir, settings)
    keep = _keeps[-1]
    with mock.patch.object(UsageStore, "open", return_value=keep.open(data_dir)):
        return LocalServer(runner, data_dir, settings | {"clickhouse_url": keep.url})
