"""One run of a test in this room: what serves, its senders and their books."""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from contextlib import closing
from decimal import Decimal
from random import Random
from typing import NamedTuple, Protocol

from tests.crash.books import Books
from tests.crash.client import Address, Client, Reply
from tests.crash.sender import Sender
from tests.metering.oracle import OracleMeter

SENDERS = 12
HOURS = 30  # distinct hours in which the use happened; few enough for one page of summaries
SETTLE_LOOK_SECONDS = 0.5
STRONG_SECONDS_MAX = 60
REACH_DAYS = 33  # over more than a month, so that a batch is more than one block

METERS = (
    OracleMeter("", "crash_sum"),
    OracleMeter("", "crash_count", formula="count"),
    OracleMeter("", "crash_last", formula="last"),
    OracleMeter("", "crash_hourly", event_time_window="hour"),
    OracleMeter("", "crash_daily", formula="last", event_time_window="day"),
)


class Range(NamedTuple):
    """What is asked about, in seconds."""

    start: int
    end: int


class Served(Protocol):
    """A server, or several that are one to whoever sends."""

    @property
    def addresses(self) -> Sequence[Address]:
        """Where it answers."""

    @property
    def shares(self) -> bool:
        """Whether its ledger is one that several servers may share."""

    async def stop(self) -> int:
        """Stop it in order; 0 if it did."""

    async def verify(self) -> tuple[int, str]:
        """Run `meterhouse verify`; return how it ended and what it said."""


class Run:
    """Starts with an empty ledger; `seed` decides what the senders do."""

    def __init__(self, served: Served, seed: int) -> None:
        self._served = served
        self._seed = seed
        self._random = Random(seed)
        self._done = False

    async def settle(self, books: Books, seconds: float = 0) -> None:
        """Check that the server says what the books say, within so many seconds from now.

        What was a killed process' to do waits for the end of its leases.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                return await self._compare(books)
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(SETTLE_LOOK_SECONDS)

    async def check(self, books: Books) -> None:
        """Check that the server says what the books say, while it runs and when it is stopped."""
        await self.settle(books)
        await self.verify(books)

    async def verify(self, books: Books) -> None:
        """Check that the books balance, while the server runs and when it is stopped."""
        await self._balance(books)
        assert await self._served.stop() == 0
        await self._balance(books)

    async def set_up(self) -> Books:
        """Create the meters and the customers; the last customer is every sender's."""
        with closing(self._from(0)) as client:
            for meter in METERS:
                form = {
                    "display_name": meter.event_name,
                    "event_name": meter.event_name,
                    "default_aggregation[formula]": meter.formula,
                }
                if meter.event_time_window is not None:
                    form["event_time_window"] = meter.event_time_window
                meter.id = (await client.post("/v1/billing/meters", form)).document["id"]
            created = [await client.post("/v1/customers", {}) for _ in range(SENDERS + 1)]
        customers = [reply.document["id"] for reply in created]
        return Books(list(METERS), customers, rejected_frees=self._served.shares)

    async def load(self, books: Books, meanwhile: Awaitable[None]) -> None:
        """Let all senders send while `meanwhile` happens to the server; see them to their end."""
        async with asyncio.TaskGroup() as tasks:
            for sender in self._senders(books):
                tasks.create_task(sender.run(lambda: self._done))
            try:
                await meanwhile
            finally:
                self._done = True

    def _senders(self, books: Books) -> list[Sender]:
        *own, shared = books.customers
        now = int(time.time()) // 3600 * 3600
        hours = [now - 3600 * self._random.randrange(1, REACH_DAYS * 24) for _ in range(HOURS)]
        return [
            Sender(self._from(seed), books, customer, shared, hours, seed)
            for seed, customer in enumerate(own, self._seed * SENDERS)
        ]

    def _from(self, number: int) -> Client:
        """Return a client that begins at one of the addresses."""
        addresses = self._served.addresses
        first = number % len(addresses)
        return Client(*addresses[first:], *addresses[:first])

    async def _compare(self, books: Books) -> None:
        """Ask for every summary of every customer, and compare it with the books."""
        found = await asyncio.gather(
            *(
                self._compare_customer(books, customer, self._from(number))
                for number, customer in enumerate(books.customers)
            ),
            return_exceptions=True,
        )
        for error in filter(None, found):
            raise error

    async def _compare_customer(self, books: Books, customer: str, client: Client) -> None:
        end = (int(time.time()) // 86_400 + 1) * 86_400
        asked = Range(end - (REACH_DAYS + 2) * 86_400, end)
        with closing(client):
            for meter in METERS:
                for window in (None, "day", "hour"):
                    told = await _summaries(client, meter, customer, asked, window)
                    known = books.summaries(meter, customer, *asked, window)
                    wrong = sorted({*told} ^ {*known})
                    assert told == known, (meter.event_name, customer, window, wrong)
            told_days = await _usage(client, customer, asked)
        for meter in METERS:
            told = told_days[meter.id]
            known = books.summaries(meter, customer, *asked, "day")[::-1]
            wrong = sorted({*told} ^ {*known})
            assert told == known, (meter.event_name, customer, "usage", wrong)

    async def _balance(self, books: Books) -> None:
        """Check that `meterhouse verify` finds a balance, and the numbers of the books."""
        code, said = await self._served.verify()
        assert code == 0, said
        names, values = (line.split("\t") for line in said.splitlines()[:2])
        told = zip(names, values, strict=True)
        books.check({name: int(value) for name, value in told if value.isdecimal()})
        assert "The books balance." in said


async def _told(client: Client, path: str, **asked: str | int) -> Reply:
    """Ask until there is an answer that holds all that was acknowledged before.

    All ask at once, which may be too many on a busy machine; and what a killed process has left
    may take longer than a reader is kept waiting, who is told so.
    """
    deadline = time.monotonic() + STRONG_SECONDS_MAX
    while True:
        reply = await client.get(path, **asked)
        late = reply.headers.get("meterhouse-consistency") == "eventual"
        if reply.status != 429 and not late:
            return reply
        assert time.monotonic() < deadline, f"{path} is never answered with all there is"
        await asyncio.sleep(SETTLE_LOOK_SECONDS)


async def _usage(
    client: Client, customer: str, asked: Range
) -> dict[str, list[tuple[int, int, Decimal]]]:
    """Ask for the usage of all meters by day, which is answered from slots where it can be."""
    reply = await _told(
        client,
        "/v1/billing/analytics/meter_usage",
        customer=customer,
        starts_at=asked.start,
        ends_at=asked.end,
        value_grouping_window="day",
        **{f"meters[{number}][meter]": meter.id for number, meter in enumerate(METERS)},
    )
    assert reply.status == 200, reply
    days: dict[str, list[tuple[int, int, Decimal]]] = {meter.id: [] for meter in METERS}
    for point in reply.document["data"]:
        day = (point["starts_at"], point["ends_at"], Decimal(point["value"]))
        days[point["meter"]].append(day)
    return days


async def _summaries(
    client: Client, meter: OracleMeter, customer: str, asked: Range, window: str | None
) -> list[tuple[int, int, Decimal]]:
    grouping = {} if window is None else {"value_grouping_window": window}
    reply = await _told(
        client,
        f"/v1/billing/meters/{meter.id}/event_summaries",
        customer=customer,
        start_time=asked.start,
        end_time=asked.end,
        limit=100,
        **grouping,
    )
    assert reply.document.get("has_more") is False, reply
    return [
        (point["start_time"], point["end_time"], Decimal(point["aggregated_value"]))
        for point in reply.document["data"]
    ]
