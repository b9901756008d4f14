"""Billing: an upcoming invoice beside many events, and thousands of invoices at one instant.

What the upcoming invoice is compared with, a question about one meter, is asked in turn with it.
Who is due at one instant is written straight into the ledger.
"""

import asyncio
import random
import sqlite3
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks import traffic
from benchmarks.bench import Bench, Contender, House, document, load_in_turn
from benchmarks.load import Sample, ask_all, load
from benchmarks.processes import KEY, Folder, Server, meterhouse, run
from benchmarks.queries_data import Order, customer
from benchmarks.result import Row, refusals, times
from meterhouse.billing.period import Period
from meterhouse.billing.subscription import Item, Subscription
from meterhouse.ledger.accounts import default_account, scopes_of
from meterhouse.ledger.customers import Customer, create_customer
from meterhouse.ledger.engine import open_ledger
from meterhouse.ledger.subscriptions import create_subscription
from meterhouse.wire.ids import new_id

_CUSTOMERS = 10_000
_PREVIEWED = 50  # customers whose upcoming invoice is asked for
_ITEMS = 3
_DAY = 86_400
_FILLED = {"METERHOUSE_MISMATCHED_STORES": "accept"}  # the ledger did not see the events come
_SLOWER_MAX = 2.0  # than a question about one meter

_DUE = 10_000  # subscriptions, at one instant
_DUE_IN_SECONDS = 30  # from when they are written; the server starts meanwhile
_RATE_LEAST = 200
_INGEST_RATE = 5_000
_INGEST_SHARE_LEAST = 0.8
_WRITTEN_AT_ONCE = 1_000
_INVOICED_SECONDS_MAX = 120
_POLL_SECONDS = 0.2


async def measure(bench: Bench) -> AsyncIterator[Row]:
    """Look at upcoming invoices, then let many become due."""
    with Folder() as folder:
        order = Order(bench.sizes.history, _CUSTOMERS, _ITEMS)
        await run("benchmarks.queries_data", folder, msgspec.json.encode(order), bench.say)
        async for row in upcoming(folder, bench):
            yield row
    async for row in _due_at_once(bench):
        yield row


async def upcoming(folder: Path, bench: Bench) -> AsyncIterator[Row]:
    """Ask for upcoming invoices, and in turn about one meter of the same month."""
    bench.say("billing: upcoming invoices")
    now = int(time.time())
    start = now - 29 * _DAY
    chance = random.Random(5)  # noqa: S311 - the same in every run
    whose = [customer(int(_CUSTOMERS ** chance.random()) - 1) for _ in range(_PREVIEWED)]
    with meterhouse(folder, environment=_FILLED) as server:
        prices = await _prices(server, [f"mtr_{number}" for number in range(_ITEMS)])
    subscriptions = await asyncio.to_thread(_subscribe, folder, set(whose), prices, start * 1_000)
    with meterhouse(folder, environment=_FILLED) as server:
        previews = [
            traffic.post("/v1/invoices/create_preview", KEY, {"subscription": one})
            for one in subscriptions.values()
        ]
        questions = [
            traffic.get(
                "/v1/billing/analytics/meter_usage",
                KEY,
                {
                    "customer": one,
                    "starts_at": str(start // 60 * 60),
                    "ends_at": str(now // 60 * 60),
                    "meters[0][meter]": "mtr_0",
                    "value_grouping_window": "day",
                },
            )
            for one in subscriptions
        ]
        contenders = [
            Contender(server, cycle(requests).__next__) for requests in (questions, previews)
        ]
        question, preview = await load_in_turn(
            contenders, connections=1, seconds=bench.sizes.seconds
        )
    p50, p99 = times(question.sample)
    yield Row(
        name="a customer's month on one meter, by day",
        rate=question.rate,
        p50=p50,
        p99=p99,
        server_cores=question.server_cores,
        note=refusals(question.sample),
    )
    p50_preview, p99 = times(preview.sample)
    yield Row(
        name=f"its upcoming invoice, {_ITEMS} metered items",
        rate=preview.rate,
        p50=p50_preview,
        p99=p99,
        server_cores=preview.server_cores,
        bar=f"p50 ≤ {_SLOWER_MAX:.0f} times the row above",
        met=0 < p50_preview <= _SLOWER_MAX * p50,
        note=refusals(preview.sample),
    )


async def _prices(server: Server, meters: list[str]) -> list[str]:
    """Make a price of each meter."""
    asked = [
        traffic.post(
            "/v1/prices",
            KEY,
            {
                "currency": "usd",
                "product_data[name]": name,
                "recurring[interval]": "month",
                "recurring[usage_type]": "metered",
                "recurring[meter]": name,
                "unit_amount_decimal": "0.3",
            },
        )
        for name in meters
    ]
    return [document(answer)["id"] for answer in await ask_all(server.url, asked)]


def _subscribe(folder: Path, whose: set[str], prices: list[str], start: int) -> dict[str, str]:
    """Subscribe customers to prices since `start`; return their subscriptions."""
    made: dict[str, str] = {}
    with open_ledger(f"sqlite:///{folder / 'ledger.db'}") as ledger, ledger.write() as connection:
        _, live = scopes_of(connection, default_account(connection, now=1).id)
        for who in whose:
            due = start + 30 * _DAY * 1_000
            one = _subscription(live.id, who, prices, due)
            create_subscription(connection, one, due)
            made[who] = one.id
    return made


async def _due_at_once(bench: Bench) -> AsyncIterator[Row]:
    """Let subscriptions become due with nothing beside, then as many while events are streamed."""
    with House(_start) as house:
        await house.furnish(1, bench.sizes.customers, ("region", "model"))
        prices = await _prices(house.server, house.meters)
        due = await _subscribed(house, prices, bench)
        bench.say("billing: invoices, with nothing beside")
        quiet = await _invoiced(house, due)
        due = await _subscribed(house, prices, bench)
        bench.say("billing: ingest alone")
        rate = _INGEST_RATE / bench.sizes.events
        streams = house.streams(bench.sizes)
        seconds = bench.sizes.seconds

        async def ingest() -> Sample:
            return await load(house.server.url, streams, connections=8, seconds=seconds, rate=rate)

        alone = await ingest()
        bench.say("billing: invoices")
        counting = asyncio.create_task(_invoiced(house, due))
        await asyncio.sleep(max(0.0, due / 1_000 - time.time()))
        beside = Sample()
        while not counting.done():
            beside.add(await ingest())
        busy = await counting
    yield Row(
        name=f"{_DUE:,} subscriptions due at once, nothing beside",
        rate=quiet.rate,
        unit="invoices",
        server_cores=quiet.server_cores,
        note=f"{1_000 * quiet.server_cores / quiet.rate:.2f} ms of the processor each",
    )
    share = beside.rate / alone.rate if alone.rate else 0.0
    yield _ingested("ingest alone", alone, bench)
    yield replace(
        _ingested("ingest while invoices are made", beside, bench),
        share=share,
        against="ingest alone",
        bar=f"≥ {_INGEST_SHARE_LEAST:.0%} of the row above",
        met=share >= _INGEST_SHARE_LEAST,
    )
    yield Row(
        name=f"{_DUE:,} subscriptions due at once: drafted, finalized",
        rate=busy.rate,
        unit="invoices",
        bar=f"≥ {_RATE_LEAST} a second",
        met=busy.rate >= _RATE_LEAST,
    )


async def _subscribed(house: House, prices: list[str], bench: Bench) -> int:
    """Subscribe customers while the server is down; return when their period ends."""
    house.server.stop()
    bench.say(f"billing: {_DUE:,} subscriptions")
    due = await asyncio.to_thread(_write, house.folder, prices)
    house.start()
    return due


def _start(folder: Path) -> Server:
    return meterhouse(folder, environment={"METERHOUSE_INVOICE_FINALIZATION_DELAY": "0"})


def _ingested(name: str, sample: Sample, bench: Bench) -> Row:
    p50, p99 = times(sample)
    return Row(
        name=name,
        rate=sample.rate * bench.sizes.events,
        unit="events",
        p50=p50,
        p99=p99,
        generator_cores=sample.generator_cores,
        note=refusals(sample),
    )


def _write(folder: Path, prices: list[str]) -> int:
    """Write customers who are subscribed to prices; return when their period ends."""
    due = (int(time.time()) + _DUE_IN_SECONDS) * 1_000
    with open_ledger(f"sqlite:///{folder / 'ledger.db'}") as ledger:
        with ledger.write() as connection:
            _, live = scopes_of(connection, default_account(connection, now=1).id)
        for _ in range(_DUE // _WRITTEN_AT_ONCE):
            with ledger.write() as connection:
                for _ in range(_WRITTEN_AT_ONCE):
                    who = _customer(live.id)
                    create_customer(connection, who)
                    one = _subscription(live.id, who.id, prices, due)
                    create_subscription(connection, one, due)
    return due


def _customer(scope: int) -> Customer:
    return Customer(
        id=new_id("cus"),
        scope=scope,
        email="somebody@example.com",
        metadata={},
        details={},
        created=1,
        deleted_at=None,
    )


def _subscription(scope: int, who: str, prices: list[str], due: int) -> Subscription:
    """Return a subscription of which a month ends when it is due, and it was told that it will."""
    start = due - 30 * _DAY * 1_000
    items = (
        Item(
            id=new_id("si"),
            price=price,
            quantity=None,
            period=Period(start, due),
            since=start,
            metadata={},
            created=start,
        )
        for price in prices
    )
    return Subscription(
        id=new_id("sub"),
        scope=scope,
        customer=who,
        test_clock=None,
        status="active",
        currency="usd",
        mode="flexible",
        anchor=start,
        start=start,
        items=tuple(items),
        upcoming_told=due,
        created=start,
    )


class Invoiced(NamedTuple):
    """How many invoices a second were made, and what the server took of the processor."""

    rate: float
    server_cores: float


async def _invoiced(house: House, due: int) -> Invoiced:
    """Wait until what is due has been invoiced, from the first draft on.

    All are drafted before the first is finalized, so each of the two is half an invoice; after
    `_INVOICED_SECONDS_MAX` it is told by what there is.
    """
    before, _ = _count(house.folder)
    await asyncio.sleep(max(0.0, due / 1_000 - time.time()))
    used = house.server.processor_seconds()
    made = finalized = before
    while made == before:
        await asyncio.sleep(_POLL_SECONDS)
        made, finalized = await asyncio.to_thread(_count, house.folder)
        house.server.check()
    began = time.perf_counter() - _POLL_SECONDS
    while finalized < before + _DUE and time.perf_counter() < began + _INVOICED_SECONDS_MAX:
        await asyncio.sleep(_POLL_SECONDS)
        made, finalized = await asyncio.to_thread(_count, house.folder)
    seconds = time.perf_counter() - began
    invoices = (made + finalized) / 2 - before
    return Invoiced(invoices / seconds, (house.server.processor_seconds() - used) / seconds)


def _count(folder: Path) -> tuple[int, int]:
    """Count the invoices, and those that are finalized."""
    connection = sqlite3.connect(folder / "ledger.db")
    try:
        query = "SELECT count(*), count(finalized_at) FROM invoices"
        made, finalized = connection.execute(query).fetchone()
        return made, finalized
    finally:
        connection.close()
