"""A server within the test's process, where the test is the master of time.

It is the whole program without its sockets: `LocalServer.request` hands a request to the ASGI
application. What happens besides, such as processing, goes on while a request is answered.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.app import Meterhouse
from meterhouse.clock import ManualClock
from meterhouse.config import Config
from meterhouse.jobs.owned import JobName
from meterhouse.logs import AnsweredRequest
from tests.blank import blank_ledger
from tests.server import LIVE_KEY, TEST_KEY

T = TypeVar("T")

NOW = int(datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC).timestamp())
HOUR = 3_600
DAY = 24 * HOUR


class LocalServer:
    """The program, its clock (which starts at `NOW`), and the requests that it noted."""

    def __init__(self, runner: asyncio.Runner, data_dir: Path, settings: dict[str, str]) -> None:
        self._runner = runner
        self.clock = ManualClock(NOW * 1000)
        self.noted: list[AnsweredRequest] = []
        options = {"data_dir": str(data_dir), "api_keys": f"{TEST_KEY},{LIVE_KEY}", **settings}
        self.meterhouse = Meterhouse(Config.read(options, {}), self.clock, self.noted.append)

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
        self.clock.advance(milliseconds)
        self.run(self.meterhouse.services.timekeeper.look(milliseconds))

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


@contextmanager
def local_server(data_dir: Path, **settings: str) -> Iterator[LocalServer]:
    """Open a server with `settings`, such as `values="whole"`; close it when the block ends."""
    blank_ledger(data_dir)
    with asyncio.Runner() as runner:
        local = LocalServer(runner, data_dir, settings)
        local.run(local.meterhouse.start())
        try:
            yield local
        finally:
            local.run(local.meterhouse.stop())
