"""`python -m benchmarks.queries [--events 100000000] [--keep FOLDER] [--json FILE]`.

Asks a server about months of events that were written straight into its stores
(`benchmarks.queries_data`), through HTTP, and asks its rivals the same.
"""

import argparse
import asyncio
import random
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

import msgspec

from benchmarks import traffic
from benchmarks.bench import Sizes
from benchmarks.load import MakeRequest, Sample, load, percentile
from benchmarks.processes import KEY, Server, meterhouse, run
from benchmarks.queries_data import DENSE, DENSER, DIMENSIONS, THIN, Order, customer
from benchmarks.queries_pages import make_viewer, measure
from benchmarks.queries_rivals import Questions
from benchmarks.result import Row, make_console, refusals, table, times, write_json
from meterhouse.ledger import accounts, meters
from meterhouse.ledger.engine import open_ledger
from meterhouse.metering.meter_usage import MeterQuestion, MeterUsageQuery
from meterhouse.metering.model import Meter, Scope
from meterhouse.metering.overview import Overview

_DAY = 86_400
_METER_USAGE = "/v1/billing/analytics/meter_usage"
_TEMPLATES = 2_000
_INGEST_EVENTS = 100  # of one request
_INGEST_RATE = 5_000  # events a second
_RATE_LEAST = 300
_DENSER_MAX = 1.3
_TURNS = 3
_WARM_UP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Data:
    """What is in the folder, and the month that is asked about, in unix seconds."""

    scope: Scope
    meters: dict[str, Meter]
    start: int
    end: int
    customers: int

    def question(self, who: str, meter: str, **more: str) -> bytes:
        """Return a request for a customer's month by day, with two group keys."""
        query = {
            "customer": who,
            "starts_at": str(self.start),
            "ends_at": str(self.end),
            "meters[0][meter]": meter,
            "meters[0][dimension_group_by_keys][0]": DIMENSIONS[0],
            "meters[0][dimension_group_by_keys][1]": DIMENSIONS[2],
            "value_grouping_window": "day",
            **more,
        }
        return traffic.get(_METER_USAGE, KEY, query)

    def query(self, who: str | None, question: MeterQuestion) -> MeterUsageQuery:
        """Return the same as the usage store is asked it."""
        return MeterUsageQuery(
            scope=self.scope,
            customer=who,
            start=self.start * 1000,
            end=self.end * 1000,
            questions=(question,),
            window="day",
        )

    def top(self) -> bytes:
        """Return a request for the ten largest customers of a meter, by day."""
        query = {
            "starts_at": str(self.start),
            "ends_at": str(self.end),
            "meters[0][meter]": self.common[0],
            "group_by": "customer",
            "top": "10",
            "value_grouping_window": "day",
        }
        return traffic.get("/meterhouse/v1/usage", KEY, query)

    @property
    def common(self) -> list[str]:
        """The meters that all customers use."""
        return [name for name in self.meters if name not in (THIN, DENSE)]

    def drawn(self, *, by_traffic: bool) -> list[tuple[str, str]]:
        """Draw customers, all alike or by their events, each with a meter."""
        chance = random.Random(3)  # noqa: S311 - the same in every run
        ranks = (
            int(self.customers ** chance.random()) - 1
            if by_traffic
            else chance.randrange(self.customers)
            for _ in range(_TEMPLATES)
        )
        return [(customer(rank), chance.choice(self.common)) for rank in ranks]


def main() -> None:
    """Fill a folder, or take one that is kept, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queries")
    parser.add_argument("--events", type=int, default=1_000_000, help="%(default)s")
    parser.add_argument("--customers", type=int, default=100_000, help="%(default)s")
    parser.add_argument("--seconds", type=float, default=5.0, help="of one measurement")
    parser.add_argument("--keep", type=Path, help="a folder for the data, which is used again")
    parser.add_argument("--json", type=Path, help="a file for the results")
    options = parser.parse_args()
    sizes = Sizes(seconds=options.seconds, customers=options.customers, history=options.events)
    console = make_console()
    with tempfile.TemporaryDirectory(prefix="meterhouse-benchmark-") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        empty = not any(folder.iterdir())
        rows = asyncio.run(_collect(folder, sizes, console.print, empty=empty))
    console.print(table(rows))
    if options.json:
        write_json(options.json, rows, sizes)


async def _collect(
    folder: Path, sizes: Sizes, say: Callable[[str], None], *, empty: bool
) -> list[Row]:
    """Fill the folder if it is empty, and ask the server and its rivals."""
    if empty:
        order = Order(sizes.history, sizes.customers)
        await run("benchmarks.queries_data", folder, msgspec.json.encode(order), say)
    data = _read(folder, sizes)
    viewer = make_viewer(folder)
    with meterhouse(folder) as server:
        rows = [row async for row in _measure(server, data, sizes, say)]
        say("pages of the dashboard")
        meter = data.common[0]
        rows += measure(server.url, viewer, data.scope.account, customer(0), meter)
    try:
        rows += await _rivals(folder, data, sizes, say)
    except RuntimeError as error:
        rows.append(Row(name="rivals", failed=True, note=str(error)))
    return rows


def _read(folder: Path, sizes: Sizes) -> Data:
    """Find out what the folder has; the month ends with the last whole day of the events."""
    with open_ledger(f"sqlite:///{folder / 'ledger.db'}") as ledger, ledger.read() as connection:
        account = accounts.list_accounts(connection)[0]
        scope = accounts.scope_of(connection, account.id, livemode=True)
        assert scope is not None
        found = {one.id: one for one in meters.all_meters(connection)}
        [created] = {one.created for one in found.values()}
    end = created // 1000 // _DAY * _DAY
    return Data(scope, found, end - 30 * _DAY, end, sizes.customers)


async def _measure(
    server: Server, data: Data, sizes: Sizes, say: Callable[[str], None]
) -> AsyncIterator[Row]:
    """Load the server with one kind of question after the other."""
    evenly = [data.question(*one) for one in data.drawn(by_traffic=False)]
    by_traffic = [data.question(*one) for one in data.drawn(by_traffic=True)]
    largest = [data.question(customer(0), meter) for meter in data.common]
    tenant = [
        data.question(customer(0), meter, **{"meters[0][tenant_filters][user_id]": "user-7"})
        for meter in data.common
    ]
    for name, requests, bounds in (
        ("a customer's month by day, two group keys", evenly, (5.0, 25.0)),
        ("the same, customers drawn by their events", by_traffic, (5.0, 25.0)),
        ("the largest customer", largest, (None, 50.0)),
        ("one tenant of a million of the largest customer", tenant, (None, None)),
        ("all customers, top 10 by day", [data.top()], (None, 500.0)),
    ):
        say(name)
        yield _row(name, await _load(server, requests, sizes), *bounds)
    say("8 at a time")
    fast = await _load(server, by_traffic, sizes, connections=8)
    bar = f"≥ {_RATE_LEAST} a second"
    yield replace(_row("the second row, 8 at a time", fast), bar=bar, met=fast.rate >= _RATE_LEAST)
    say("with ingest")
    yield await _beside_ingest(server, data, sizes, by_traffic)
    say("the same slots")
    yield await _same_slots(server, data, sizes)


async def _beside_ingest(
    server: Server, data: Data, sizes: Sizes, requests: Sequence[bytes]
) -> Row:
    """Ask while events are streamed in."""
    rate = _INGEST_RATE / _INGEST_EVENTS
    streamed, sample = await asyncio.gather(
        load(server.url, _streams(data), connections=4, seconds=sizes.seconds, rate=rate),
        _load(server, requests, sizes),
    )
    name = f"the second row, beside {_INGEST_EVENTS * streamed.rate:,.0f} events a second"
    return _row(name, sample, None, 60.0)


async def _same_slots(server: Server, data: Data, sizes: Sizes) -> Row:
    """Ask about the same slots with few events and with many, in turn."""
    samples = [Sample(), Sample()]
    for _ in range(_TURNS):
        for sample, meter in zip(samples, (THIN, DENSE), strict=True):
            turn = replace(sizes, seconds=sizes.seconds / _TURNS)
            sample.add(await _load(server, [data.question(customer(0), meter)], turn))
    (thin, _), (dense, p99) = map(times, samples)
    return Row(
        name=f"{DENSER} times the events in the same slots",
        rate=samples[1].rate,
        p50=dense,
        p99=p99,
        share=dense / thin,
        bar=f"p50 < {_DENSER_MAX} times",
        met=dense < _DENSER_MAX * thin,
    )


async def _load(
    server: Server, requests: Sequence[bytes], sizes: Sizes, connections: int = 1
) -> Sample:
    """Send requests in turn, after a warm-up."""
    turn = cycle(requests)
    await load(server.url, lambda: next(turn), connections=connections, seconds=_WARM_UP_SECONDS)
    return await load(
        server.url, lambda: next(turn), connections=connections, seconds=sizes.seconds
    )


def _row(
    name: str, sample: Sample, p50_max: float | None = None, p99_max: float | None = None
) -> Row:
    p50, p99 = times(sample)
    bounds = (("p50", p50, p50_max), ("p99", p99, p99_max))
    return Row(
        name=name,
        rate=sample.rate,
        p50=p50,
        p99=p99,
        generator_cores=sample.generator_cores,
        bar=", ".join(f"{word} ≤ {most:.0f} ms" for word, _, most in bounds if most),
        met=all(found <= most for _, found, most in bounds if most)
        if any(most for _, _, most in bounds)
        else None,
        note=refusals(sample),
    )


def _streams(data: Data) -> MakeRequest:
    """Return what makes requests of the stream, of events that happen now."""
    chance = random.Random(4)  # noqa: S311 - the same in every run
    whose = data.drawn(by_traffic=True)

    def event() -> dict[str, object]:
        who, meter = chance.choice(whose)
        payload = {"stripe_customer_id": who, "value": "1", "user_id": "user-7"}
        return {
            "event_name": data.meters[meter].event_name,
            "identifier": secrets.token_hex(16),
            "payload": payload | {key: f"{key}-{chance.randrange(5)}" for key in DIMENSIONS},
            "timestamp": datetime.now(UTC).isoformat(),
        }

    return lambda: traffic.stream(KEY, [event() for _ in range(_INGEST_EVENTS)])


async def _rivals(folder: Path, data: Data, sizes: Sizes, say: Callable[[str], None]) -> list[Row]:
    """Ask the rivals what the second row and the row of all customers ask."""
    keys = (DIMENSIONS[0], DIMENSIONS[2])
    asked = [
        data.query(who, MeterQuestion(data.meters[meter], keys))
        for who, meter in data.drawn(by_traffic=True)
    ]
    everyone = data.query(None, MeterQuestion(data.meters[data.common[0]]))
    overview = Overview(query=everyone, by_customer=True, top=10)
    order = msgspec.json.encode(Questions(asked, overview, sizes.seconds))

    def tell(line: str) -> None:
        if not line.startswith("{"):  # that is the answer
            say(line)

    line = await run("benchmarks.queries_rivals", folder, order, tell)
    return [
        Row(
            name=f"{what} from {rival}",
            rate=len(seconds) / sum(seconds),
            p50=percentile(seconds, 0.5) * 1000,
            p99=percentile(seconds, 0.99) * 1000,
            note="without HTTP",
        )
        for rival, found in msgspec.json.decode(line).items()
        for what, seconds in found.items()
    ]


if __name__ == "__main__":
    main()
