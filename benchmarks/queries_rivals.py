"""The benchmark's queries without Meterhouse's slots: over its raw events, and in DuckDB.

`python -m benchmarks.queries_rivals <data folder>`, of a server that is stopped, reads `Questions`
as JSON from standard input and writes the seconds of each as the last line, a JSON object by the
name of the rival. DuckDB has the same events, in the same order, in columns of their own.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from benchmarks.queries_data import DIMENSIONS
from meterhouse.metering.meter_usage import MeterUsageQuery
from meterhouse.metering.overview import Overview
from meterhouse.usage.export import export
from meterhouse.usage.store import UsageStore

RAW, DUCKDB = "raw events", "DuckDB"

_MONTHS = "SELECT DISTINCT meter, toYYYYMM(timestamp) AS month FROM events ORDER BY meter, month"
_ROWS = """
SELECT toString(meter) AS meter, customer, toUnixTimestamp64Milli(timestamp), value,
    payload['model'] AS model, payload['region'] AS region, payload['tier'] AS tier
FROM events
WHERE meter = {meter:String} AND toYYYYMM(timestamp) = {month:UInt32}
ORDER BY customer, events.timestamp
"""
_CREATE = """
CREATE TABLE events (meter VARCHAR, customer VARCHAR, timestamp BIGINT, value DECIMAL(38, 15),
    model VARCHAR, region VARCHAR, tier VARCHAR)
"""
_CUSTOMER = f"""
SELECT timestamp // 86400000 AS day, {", ".join(DIMENSIONS[::2])}, sum(value)
FROM events
WHERE meter = ? AND customer = ? AND timestamp >= ? AND timestamp < ?
GROUP BY ALL ORDER BY ALL
"""  # noqa: S608 - put together from the constants of this module alone
_TOP = """
WITH month AS (
    SELECT timestamp // 86400000 AS day, customer, value
    FROM events
    WHERE meter = ? AND timestamp >= ? AND timestamp < ?
), largest AS (
    SELECT customer FROM month GROUP BY customer ORDER BY sum(value) DESC, customer LIMIT 10
)
SELECT day, CASE WHEN customer IN (FROM largest) THEN customer END AS whose, sum(value)
FROM month GROUP BY ALL ORDER BY ALL
"""


class Questions(msgspec.Struct):
    """What to ask: about customers, in turn, and about all of them."""

    customers: list[MeterUsageQuery]
    everyone: Overview
    seconds: float


def main(folder: Path) -> None:
    """Ask both rivals."""
    questions = msgspec.json.decode(sys.stdin.buffer.read(), type=Questions)
    store = UsageStore.open(f"chdb://{folder / 'usage'}")
    print("raw events", flush=True)
    times = {RAW: _ask_raw(store, questions, folder)}
    with duckdb.connect(str(folder / "rival.duckdb")) as rival:
        if not rival.execute("SHOW TABLES").fetchall():
            _copy(store, rival)
        store.close()
        print("DuckDB", flush=True)
        times[DUCKDB] = _ask_duckdb(rival, questions)
    print(msgspec.json.encode(times).decode())


def _ask_raw(store: UsageStore, questions: Questions, folder: Path) -> dict[str, list[float]]:
    """Ask for what is told of the very instants of events, which slots do not know."""

    def customer(query: MeterUsageQuery) -> None:
        store.meter_usage(msgspec.structs.replace(query, exact=True))

    query = msgspec.structs.replace(questions.everyone.query, exact=True)
    everyone = msgspec.structs.replace(questions.everyone, query=query)
    return _timed(
        questions, customer, lambda: export(store, everyone, folder / "answer", "json", {"a": 1})
    )


def _ask_duckdb(rival: duckdb.DuckDBPyConnection, questions: Questions) -> dict[str, list[float]]:
    def values(query: MeterUsageQuery, *customer: str | None) -> list[Any]:
        return [query.questions[0].meter.id, *customer, query.start, query.end]

    def customer(query: MeterUsageQuery) -> None:
        rival.execute(_CUSTOMER, values(query, query.customer)).fetchall()

    everyone = values(questions.everyone.query)
    return _timed(questions, customer, lambda: rival.execute(_TOP, everyone).fetchall())


def _timed(
    questions: Questions, customer: Callable[[MeterUsageQuery], None], everyone: Callable[[], Any]
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"customer": [], "everyone": []}
    end = time.perf_counter() + questions.seconds
    for query in questions.customers:
        started = time.perf_counter()
        customer(query)
        found["customer"].append(time.perf_counter() - started)
        if started > end:
            break
    for _ in range(3):
        started = time.perf_counter()
        everyone()
        found["everyone"].append(time.perf_counter() - started)
    return found


def _copy(store: UsageStore, rival: duckdb.DuckDBPyConnection) -> None:
    rival.execute(_CREATE)
    for one in store.columns(_MONTHS, {}).to_pylist():
        print(f"copying {one['meter']} of {one['month']}", flush=True)
        rows = store.columns(_ROWS, one)
        rival.register("rows", rows)
        rival.execute("INSERT INTO events SELECT * FROM rows")
        rival.unregister("rows")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
