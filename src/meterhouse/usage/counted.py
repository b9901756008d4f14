"""The statements that tell what a number is made of: events of a range, and which of them count.

What a reader may rely on, beside what `usage.queries` says:

- Events come in the order of their timestamps, those of one instant in the order of receipt, and
  are cut into pages by that.
- What counts is what `metering.usage.summarize` says, of all that was known at an instant: an event
  that was received later does not count then, and one that was cancelled later still does.
"""

# ruff: noqa: S608 - the statements are put together from the constants of this module alone

from collections.abc import Mapping, Sequence
from decimal import Decimal
from string import Template
from typing import Any, NamedTuple

import msgspec

from meterhouse.metering.model import Formula, Meter, Scope
from meterhouse.metering.window import MILLISECONDS, widen
from meterhouse.usage.queries import CUSTOMER_KEYS, RANGE, REACH

PAGE = Template(f"""
SELECT 'accepted' AS outcome, position, meter, customer, event_name, identifier,
    toUnixTimestamp64Milli(at) AS timestamp,
    toUnixTimestamp64Milli(received) AS received_at,
    toString(value) AS value, payload
FROM (
    SELECT position, meter, customer, event_name, identifier,
        timestamp AS at, received_at AS received, value, payload
    FROM events
    WHERE {CUSTOMER_KEYS}
        AND {RANGE}
        AND sign = 1
        AND $beyond
    ORDER BY at $order, position $order
    LIMIT {{rows_max:UInt32}}
)
ORDER BY at $order, position $order
""")
PLACE = "(timestamp, position) %s (fromUnixTimestamp64Milli({at:Int64}, 'UTC'), {position:UInt64})"

KNOWN = "received_at <= fromUnixTimestamp64Milli({as_of:Int64}, 'UTC')"

# The events that were known and not cancelled.
KEPT = Template(f"""events
    WHERE {CUSTOMER_KEYS}
        AND $within
        AND sign = 1
        AND {KNOWN}
        AND position GLOBAL NOT IN (
            SELECT position FROM events
            WHERE {CUSTOMER_KEYS} AND $within AND sign = -1 AND {KNOWN}
        )""")

# Of each event time window, the event that was received last.
RECEIVED_LAST = f"""(
        SELECT newest.1 AS timestamp, newest.2 AS position, newest.3 AS value
        FROM (
            SELECT argMax((timestamp, position, value), position) AS newest
            FROM {KEPT.substitute(within=REACH)}
            GROUP BY intDiv(toUnixTimestamp64Milli(timestamp), {{event_time_window:Int64}})
        )
    )
    WHERE {RANGE}"""

# The usage up to an event, in the order of timestamps, and which of some positions count.
COUNTING = Template("""
SELECT toString($used) AS usage, $counting AS positions
FROM (
    SELECT timestamp, position, toDecimal256(value, 15) AS value
    FROM $rows
)
""")
REACHED = PLACE % "<="
USED: Mapping[Formula, str] = {
    "count": f"countIf({REACHED})",
    "last": "argMax(value, (timestamp, position))",
    "sum": f"sumIf(value, {REACHED})",
}
AMONG = "groupArrayIf(position, has({positions:Array(UInt64)}, position))"
LAST = "[argMax(position, (timestamp, position))]"


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """What was used by a customer on a meter in `[start, end)`, as it was known `as_of`."""

    scope: Scope
    meter: Meter
    customer: str
    start: int
    end: int
    as_of: int


class Place(NamedTuple):
    """Where an event stands in the order of timestamps."""

    timestamp: int
    position: int


class Counting(msgspec.Struct):
    """The usage up to an event and with it, and which positions count of those asked about."""

    usage: Decimal
    positions: list[int]


def page(
    range_: Range, beyond: Place | None, rows_max: int, *, oldest: bool
) -> tuple[str, dict[str, Any]]:
    """Return the statement that finds events, the newest first or the `oldest`, and its values.

    Those that stand `beyond` a place in that order are found, or all of them.
    """
    values = _values(range_) | {"rows_max": rows_max}
    if beyond is not None:
        values |= {"at": beyond.timestamp, "position": beyond.position}
    text = PAGE.substitute(
        order="ASC" if oldest else "DESC",
        beyond="true" if beyond is None else PLACE % (">" if oldest else "<"),
    )
    return text, values


def counting(range_: Range, upto: Place, positions: Sequence[int]) -> tuple[str, dict[str, Any]]:
    """Return the statement that tells which positions count, and the usage up to a place."""
    meter = range_.meter
    text = COUNTING.substitute(
        used=USED[meter.formula],
        counting=LAST if meter.formula == "last" else AMONG,
        rows=RECEIVED_LAST if meter.event_time_window else KEPT.substitute(within=RANGE),
    )
    place = {"at": upto.timestamp, "position": upto.position, "positions": list(positions)}
    return text, _values(range_) | place


def _values(range_: Range) -> dict[str, Any]:
    size = range_.meter.event_time_window
    reach = widen(range_.start, range_.end, size) if size else range_
    return {
        "account": range_.scope.account,
        "livemode": range_.scope.livemode,
        "meter": range_.meter.id,
        "customer": range_.customer,
        "start": range_.start,
        "end": range_.end,
        "as_of": range_.as_of,
        "reach_start": reach.start,
        "reach_end": reach.end,
        "event_time_window": MILLISECONDS[size] if size else 1,
    }
