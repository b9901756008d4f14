"""What alerts cost the stream, and how soon a webhook tells of one.

Two servers take the same stream in turns, to the end of which all of it is visible; one of them has
10,000 alerts: one about everybody on each meter, the others about one customer each. Then a
webhook waits beside a stream at a steady rate, while customers reach an alert one after the other.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks import traffic
from benchmarks.bench import Bench, Contender, House, Loaded, load_in_turn
from benchmarks.load import Client, ask_all, load, percentile
from benchmarks.probe import Probe
from benchmarks.processes import KEY, Server, meterhouse
from benchmarks.result import Row, refusals

_ALERTS = 10_000
_CUSTOMERS_TIMES = 10  # those of the other rows
_RATE = 5_000  # events a second, while webhooks are waited for
_COST = 0.05
_TOLD_P99 = 2_000.0
_REACHED = 1_000_000_000_000  # what one event of a probe uses, and the stream never
_BETWEEN_SECONDS = 0.1
_PATIENCE_SECONDS = 30

_CUSTOMER = re.compile(rb'"customer":\s*"(cus_[A-Za-z0-9]+)"')


async def measure(bench: Bench) -> AsyncIterator[Row]:
    """Load two servers in turn, then wait for webhooks."""
    sizes = bench.sizes
    customers = sizes.customers * _CUSTOMERS_TIMES
    with House(_open) as plain, House(_open) as watched:
        for house in (plain, watched):
            bench.say(f"alerts: {customers:,} customers")
            await house.furnish(sizes.meters, customers, ("region", "model"))
        bench.say(f"alerts: {_ALERTS:,} of them")
        await _watch(watched)
        bench.say("alerts: the stream without and with them")
        contenders = [
            Contender(house.server, house.streams(sizes), (await Probe.make(house)).seconds)
            for house in (plain, watched)
        ]
        without, with_alerts = await load_in_turn(
            contenders, connections=sizes.connections, seconds=sizes.seconds * 2
        )
        for row in _cost_rows(bench, customers, without, with_alerts):
            yield row
        bench.say(f"alerts: webhooks at {_RATE:,} events a second")
        yield await _told(bench, watched)


def _open(folder: Path) -> Server:
    return meterhouse(folder, environment={"METERHOUSE_PRIVATE_DESTINATIONS": "open"})


async def _watch(house: House) -> None:
    """Make the alerts."""
    everybody = [_alert(meter, _REACHED) for meter in house.meters]
    whose = house.customers[: _ALERTS - len(everybody)]
    single = [
        _alert(house.meters[number % len(house.meters)], 50_000 + number, customer)
        for number, customer in enumerate(whose)
    ]
    for answer in await ask_all(house.server.url, everybody + single):
        if answer.status != 200:
            raise RuntimeError(answer.body.decode())


def _alert(meter: str, gte: int, customer: str | None = None) -> bytes:
    form = {
        "alert_type": "usage_threshold",
        "title": "Much",
        "usage_threshold[gte]": str(gte),
        "usage_threshold[meter]": meter,
        "usage_threshold[recurrence]": "one_time",
    }
    if customer is not None:
        form |= {
            "usage_threshold[filters][0][type]": "customer",
            "usage_threshold[filters][0][customer]": customer,
        }
    return traffic.post("/v1/billing/alerts", KEY, form)


def _cost_rows(bench: Bench, customers: int, without: Loaded, with_alerts: Loaded) -> list[Row]:
    """Compare the processor time of an event, which a busy machine disturbs less than rates."""
    events = bench.sizes.events
    before, after = (
        one.server_seconds / max(len(one.sample.latencies) * events, 1)
        for one in (without, with_alerts)
    )
    cost = after / before - 1 if before else 0.0
    rows = [
        Row(
            name=f"stream, {customers:,} customers, {name}",
            rate=one.rate * events,
            unit="events",
            server_cores=one.server_cores,
            generator_cores=one.sample.generator_cores,
            note=refusals(one.sample) or f"{each * 1e6:.2f} µs of processor time an event",
        )
        for name, one, each in (
            ("no alerts", without, before),
            (f"{_ALERTS:,} alerts", with_alerts, after),
        )
    ]
    judged = Row(
        name="what the alerts cost the stream",
        bar=f"at most {_COST:.0%} of its processor time",
        met=cost <= _COST,
        note=f"{cost:+.1%}; of its rate {1 - with_alerts.rate / (without.rate or 1):+.1%}",
    )
    return [*rows, judged]


async def _told(bench: Bench, house: House) -> Row:
    """Let a customer after the other reach an alert, and wait for its webhook."""
    sizes = bench.sizes
    heard: dict[str, float] = {}
    async with _hearing(heard) as url:
        form = {"url": url, "enabled_events[]": "billing.alert.triggered"}
        client = await Client.connect(house.server.url)
        answer = await client.ask(traffic.post("/v1/webhook_endpoints", KEY, form))
        if answer.status != 200:
            raise RuntimeError(answer.body.decode())
        loading = asyncio.create_task(
            load(
                house.server.url,
                house.streams(sizes),
                connections=sizes.connections,
                seconds=sizes.seconds * 2,
                rate=_RATE / sizes.events,
            )
        )
        acknowledged: dict[str, float] = {}
        for customer in reversed(house.customers[_ALERTS:] or house.customers):
            if loading.done():
                break
            event = {
                "event_name": house.event_names[0],
                "payload[stripe_customer_id]": customer,
                "payload[value]": str(_REACHED),
                "payload[region]": "eu",
                "payload[model]": "large",
            }
            sent = await client.ask(traffic.post("/v1/billing/meter_events", KEY, event))
            if sent.status == 200:
                acknowledged[customer] = time.perf_counter()
            await asyncio.sleep(_BETWEEN_SECONDS)
        await loading
        patience = time.perf_counter() + _PATIENCE_SECONDS
        while acknowledged.keys() - heard.keys() and time.perf_counter() < patience:  # noqa: ASYNC110 - another process
            await asyncio.sleep(_BETWEEN_SECONDS)
        client.close()
    house.server.check()
    lost = acknowledged.keys() - heard.keys()
    times = [(heard[one] - at) * 1_000 for one, at in acknowledged.items() if one in heard]
    p99 = percentile(times, 0.99)
    return Row(
        name=f"acknowledged to webhook, {_RATE:,} events a second",
        p50=percentile(times, 0.5),
        p99=p99,
        bar=f"p99 at most {_TOLD_P99:,.0f} ms",
        met=p99 <= _TOLD_P99 and not lost,
        note=f"{len(lost):,} were not told" if lost else f"{len(times):,} customers probed",
    )


@asynccontextmanager
async def _hearing(heard: dict[str, float]) -> AsyncIterator[str]:
    """Answer webhooks, and note when each customer was told of."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: *([0-9]+)", head)
                body = await reader.readexactly(int(length[1]) if length else 0)
                for customer in _CUSTOMER.findall(body):
                    heard.setdefault(customer.decode(), time.perf_counter())
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
