"""The rows of the table, one file for what is measured together.

A file has `measure(bench)`, an asynchronous iterator of rows, and stands in `ROWS` below.
"""

from collections.abc import AsyncIterator, Callable

from benchmarks.bench import Bench
from benchmarks.result import Row
from benchmarks.rows import (
    alerts,
    billing,
    creates,
    freshness,
    gate,
    generator,
    history,
    overload,
    rejections,
    search,
    start_up,
    steady,
    stream,
    trickle,
)

Measure = Callable[[Bench], AsyncIterator[Row]]

ROWS: dict[str, Measure] = {
    "generator": generator.measure,
    "start-up": start_up.measure,
    "creates": creates.measure,
    "freshness": freshness.measure,
    "stream": stream.measure,
    "steady": steady.measure,
    "history": history.measure,
    "overload": overload.measure,
    "rejections": rejections.measure,
    "trickle": trickle.measure,
    "search": search.measure,
    "billing": billing.measure,
    "alerts": alerts.measure,
    "gate": gate.measure,
}
