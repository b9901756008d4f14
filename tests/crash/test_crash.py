"""Kill the server again and again under load; what it acknowledged must be exactly what it counts.

Some kills come from outside at random moments, some from a trap at each point where the pipeline
passes something on (`POINTS`). The seed is printed, and repeats the senders' choices.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from tests.crash.books import Books
from tests.crash.client import Client
from tests.crash.sender import Sender
from tests.crash.server import Server
from tests.metering.oracle import OracleMeter

KILLS = int(os.environ.get("METERHOUSE_CRASH_KILLS", "50"))
SEED = int(os.environ.get("METERHOUSE_CRASH_SEED", "0")) or time.time_ns() % 1_000_000
SENDERS = 12
HOURS = 30  # distinct hours in which the use happened, over a month, so that one page shows them
REACH_DAYS = 33
LOAD_SECONDS_MAX = 0.25  # between the start of the server and a kill from outside
TRAP_SECONDS_MAX = 15

METERS = [
    OracleMeter("", "crash_sum"),
    OracleMeter("", "crash_count", formula="count"),
    OracleMeter("", "crash_last", formula="last"),
    OracleMeter("", "crash_hourly", event_time_window="hour"),
    OracleMeter("", "crash_daily_last", formula="last", event_time_window="day"),
]


class Point(NamedTuple):
    """Where a trap kills: which work, at which moment, and the highest number of its call."""

    call: str
    moment: str
    calls: int = 1


# In the order of an event's life. Work on `insert_again` is there only where a crash left blocks
# behind, so the points of the start come right after such a crash.
POINTS = [
    Point("accept.commit", "before", 100),
    Point("accept.commit", "within", 100),
    Point("accept.commit", "after", 100),
    Point("process.Processor._judge", "after", 3),
    Point("process._commit", "before", 3),
    Point("process._commit", "within", 3),
    Point("process._commit", "after", 3),
    Point("store.UsageStore.insert_again", "before"),
    Point("store.UsageStore.insert_again", "within"),
    Point("store.UsageStore.insert_again", "after"),
    Point("blocks.release", "before"),
    Point("blocks.release", "within"),
    Point("blocks.release", "after"),
    Point("store.UsageStore.insert", "before", 8),
    Point("store.UsageStore.insert", "within", 8),
    Point("store.UsageStore.insert", "after", 8),
    Point("blocks.release", "before", 4),
    Point("blocks.release", "within", 4),
    Point("blocks.release", "after", 4),
    Point("store.UsageStore.find", "after", 4),
    Point("meter_event_adjustments.create.<locals>.work", "within", 2),
    Point("meter_event_adjustments.create.<locals>.work", "after", 2),
]


class Run:
    """One run: a server, its senders and their books."""

    def __init__(self, folder: Path, kills: int, seed: int) -> None:
        self.server = Server(folder)
        self.client = Client(self.server.socket)
        self.kills = kills
        self.seed = seed
        self.random = Random(seed)
        self.start_seconds: list[float] = []
        self.stopped = False

    async def set_up(self) -> Books:
        """Create the meters and the customers; one customer is every sender's."""
        for meter in METERS:
            form = {
                "display_name": meter.event_name,
                "event_name": meter.event_name,
                "default_aggregation[formula]": meter.formula,
            }
            if meter.event_time_window is not None:
                form["event_time_window"] = meter.event_time_window
            meter.id = (await self.client.post("/v1/billing/meters", form)).document["id"]
        created = [await self.client.post("/v1/customers", {}) for _ in range(SENDERS + 1)]
        return Books(METERS, [reply.document["id"] for reply in created])

    async def load(self, books: Books) -> None:
        """Send from all senders until `stopped`, and kill meanwhile."""
        *own, shared = books.customers
        now = int(time.time()) // 3600 * 3600
        hours = [now - 3600 * self.random.randrange(1, REACH_DAYS * 24) for _ in range(HOURS)]
        async with asyncio.TaskGroup() as tasks:
            for number, customer in enumerate(own):
                sender = Sender(
                    Client(self.server.socket),
                    books,
                    customer,
                    shared,
                    hours,
                    self.seed * SENDERS + number,
                )
                tasks.create_task(sender.run(lambda: self.stopped))
            await self.kill_repeatedly()
            self.stopped = True

    async def kill_repeatedly(self) -> None:
        """Kill the running server, and those that follow; the last one lives."""
        await asyncio.sleep(self.random.uniform(0, LOAD_SECONDS_MAX))
        await self.server.kill()
        for point in self.schedule():
            if point is None:
                await self.kill_from_outside()
            else:
                await self.kill_at(point)
        await self.server.start()

    def schedule(self) -> Iterator[Point | None]:
        """Mix the points, in their order, with kills from outside at random moments."""
        random_kills = max(self.kills - 1 - len(POINTS), 0)
        later = (None if self.random.random() < 0.5 else "point" for _ in range(self.kills))  # noqa: PLR2004 - every other one
        todo: list[Point | None] = list(POINTS[: self.kills - 1]) + [None] * random_kills
        del later
        return iter(todo)

    async def kill_from_outside(self) -> None:
        """Kill at a random moment: now and then while the server starts, else under load."""
        began = time.perf_counter()
        await self.server.spawn()
        if self.random.random() < 0.2 and self.start_seconds:  # noqa: PLR2004 - one in five
            await asyncio.sleep(self.random.uniform(0, self.start_seconds[-1]))
        else:
            await self.server.ready()
            self.start_seconds.append(time.perf_counter() - began)
            await asyncio.sleep(self.random.uniform(0, LOAD_SECONDS_MAX))
        await self.server.kill()

    async def kill_at(self, point: Point) -> None:
        """Let the server kill itself at a point."""
        number = self.random.randint(1, point.calls)
        await self.server.spawn(point.call, point.moment, str(number))
        try:
            async with asyncio.timeout(TRAP_SECONDS_MAX):
                await self.server.ended()
        except TimeoutError:
            pytest.fail(f"nothing came to {point}, call {number}")

    async def compare(self, books: Books) -> None:
        """Ask for every summary of every customer, and compare it with the books."""
        end = (int(time.time()) // 86_400 + 1) * 86_400
        start = end - (REACH_DAYS + 2) * 86_400
        for customer in books.customers:
            for meter in METERS:
                for window in (None, "day", "hour"):
                    told = await self.summaries(meter, customer, start, end, window)
                    assert told == books.summaries(meter, customer, start, end, window), (
                        meter.event_name,
                        customer,
                        window,
                    )

    async def summaries(
        self, meter: OracleMeter, customer: str, start: int, end: int, window: str | None
    ) -> list[tuple[int, int, Decimal]]:
        """Ask for a customer's usage."""
        parameters: dict[str, str | int] = {
            "customer": customer,
            "start_time": start,
            "end_time": end,
            "limit": 100,
        }
        if window is not None:
            parameters["value_grouping_window"] = window
        reply = await self.client.get(
            f"/v1/billing/meters/{meter.id}/event_summaries", **parameters
        )
        assert reply.status == 200, reply
        assert not reply.document["has_more"]
        return [
            (point["start_time"], point["end_time"], Decimal(point["aggregated_value"]))
            for point in reply.document["data"]
        ]
