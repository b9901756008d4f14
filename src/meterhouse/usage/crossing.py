"""The statement that finds the event at which a customer's total reached a step.

What a reader may rely on: events are looked through in the order of receipt, and what was cancelled
is left out, whenever it was. So there may be no such event any more.
"""

# ruff: noqa: S608 - the statement is put together from constants alone

from collections.abc import Mapping
from decimal import Decimal
from string import Template
from typing import Any

import msgspec

from meterhouse.metering.model import Formula, Meter, Scope
from meterhouse.usage.queries import CUSTOMER_KEYS, RANGE

FIRST = Template(f"""
SELECT identifier, position, toUnixTimestamp64Milli(at) AS timestamp,
    toString(used) AS value, toString(running) AS total
FROM (
    SELECT identifier, position, timestamp AS at, value AS used,
        toDecimal256($running OVER received, 15) AS running
    FROM events
    WHERE {CUSTOMER_KEYS}
        AND {RANGE}
        AND sign = 1
        AND position GLOBAL NOT IN (
            SELECT position FROM events WHERE {CUSTOMER_KEYS} AND {RANGE} AND sign = -1
        )$have
    WINDOW received AS (
        ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    )
)
WHERE running >= toDecimal256({{gte:String}}, 15)
ORDER BY position
LIMIT 1
""")
HAVE = Template("\n        AND payload[{key$number:String}] = {member$number:String}")

RUNNING: Mapping[Formula, str] = {
    "count": "count()",
    "last": "argMax(value, (timestamp, position))",
    "sum": "sum(toDecimal256(value, 15))",
}


class Crossed(msgspec.Struct, frozen=True):
    """A step that somebody has reached in `[start, end)`, on a meter without event time window."""

    scope: Scope
    meter: Meter
    customer: str
    start: int
    end: int
    gte: Decimal
    dimensions: tuple[tuple[str, str], ...]


class Crossing(msgspec.Struct, frozen=True):
    """The event at which that happened, and what the total was with it."""

    identifier: str
    position: int
    timestamp: int
    value: Decimal
    total: Decimal


def first(asked: Crossed) -> tuple[str, dict[str, Any]]:
    """Return the statement and its values."""
    values: dict[str, Any] = {
        "account": asked.scope.account,
        "livemode": asked.scope.livemode,
        "meter": asked.meter.id,
        "customer": asked.customer,
        "start": asked.start,
        "end": asked.end,
        "gte": format(asked.gte, "f"),
    }
    have = ""
    for number, (key, member) in enumerate(asked.dimensions):
        have += HAVE.substitute(number=number)
        values |= {f"key{number}": key, f"member{number}": member}
    return FIRST.substitute(running=RUNNING[asked.meter.formula], have=have), values
