"""The spending gate: asked before each call, of many customers, beside a handler that asks nothing.

The customers have a credit grant and an alert each, so that an answer has something in it; and
usage goes on meanwhile, so that it changes.
"""

import asyncio
from collections.abc import AsyncIterator
from itertools import cycle

from benchmarks import traffic
from benchmarks.bench import Bench, Contender, House, document, load_in_turn
from benchmarks.load import ask_all, load
from benchmarks.processes import KEY
from benchmarks.result import Row, refusals, times

_CUSTOMERS = 200
_USED_A_SECOND = 100
_P50_MAX = 2.0  # milliseconds


async def measure(bench: Bench) -> AsyncIterator[Row]:
    """Ask for the health of the server, and in turn whether customers may go on."""
    bench.say("gate")
    with House() as house:
        await house.furnish(1, _CUSTOMERS)
        await _draw_lines(house)
        health = traffic.get("/healthz", KEY)
        asked = [
            traffic.get(
                "/meterhouse/v1/entitlement", KEY, {"customer": one, "meter": house.meters[0]}
            )
            for one in house.customers
        ]
        await ask_all(house.server.url, asked)  # who was never asked about is waited for
        contenders = [
            Contender(house.server, cycle([health]).__next__),
            Contender(house.server, cycle(asked).__next__),
        ]
        events = traffic.creates(KEY, house.event_names[0], house.customers, idempotency=False)
        used = asyncio.create_task(
            load(
                house.server.url,
                events,
                connections=1,
                seconds=4 * bench.sizes.seconds,
                rate=_USED_A_SECOND,
            )
        )
        try:
            plain, gate = await load_in_turn(contenders, connections=1, seconds=bench.sizes.seconds)
        finally:
            used.cancel()
            await asyncio.wait({used})
    p50, p99 = times(plain.sample)
    yield Row(name="a plain handler", rate=plain.rate, p50=p50, p99=p99)
    p50, p99 = times(gate.sample)
    yield Row(
        name=f"may a customer go on, {_CUSTOMERS} customers",
        rate=gate.rate,
        p50=p50,
        p99=p99,
        server_cores=gate.server_cores,
        bar=f"p50 ≤ {_P50_MAX:.0f} ms",
        met=0 < p50 <= _P50_MAX,
        note=refusals(gate.sample),
    )


async def _draw_lines(house: House) -> None:
    """Give each customer credits, and an alert."""
    made = [
        traffic.post(
            "/v1/billing/credit_grants",
            KEY,
            {
                "customer": one,
                "amount[type]": "monetary",
                "amount[monetary][currency]": "usd",
                "amount[monetary][value]": "100000",
                "applicability_config[scope][price_type]": "metered",
            },
        )
        for one in house.customers
    ]
    made += [
        traffic.post(
            "/v1/billing/alerts",
            KEY,
            {
                "title": "Much",
                "alert_type": "usage_threshold",
                "usage_threshold[gte]": "1000000",
                "usage_threshold[meter]": house.meters[0],
                "usage_threshold[recurrence]": "one_time",
                "usage_threshold[filters][0][type]": "customer",
                "usage_threshold[filters][0][customer]": one,
            },
        )
        for one in house.customers
    ]
    for answer in await ask_all(house.server.url, made):
        document(answer)
