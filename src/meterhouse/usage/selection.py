"""The statements that add up meter usage: each selection of a plan becomes one.

What a reader may rely on, beside what `usage.queries` says: the rows are those of
`metering.meter_usage.Found`, in the order of windows and groups, and no more of them than
`METER_USAGE_ROWS_MAX` and one. Of what is added up, `instant` is the millisecond in which it
counts, and `keys` are the values under the selection's keys.
"""

# ruff: noqa: S608 - the statements are put together from constants and numbers of ours alone

from collections.abc import Sequence
from itertools import count
from string import Template
from typing import Any

from meterhouse.limits import METER_USAGE_ROWS_MAX
from meterhouse.metering.meter_usage import Condition, MeterUsageQuery, Plan, Selection
from meterhouse.metering.model import Formula
from meterhouse.metering.window import MILLISECONDS
from meterhouse.usage.queries import METER_KEYS, RANGE, REACH

STATEMENT = Template("""
SELECT $window AS window, $groups AS groups, toString($usage) AS usage
FROM ($rows)
WHERE $conditions
GROUP BY window, groups
HAVING sum(counted) > 0
ORDER BY window, groups
LIMIT {rows_max:UInt32}
""")

# Whose rows: one customer's or, where a part is left out, everybody's; of events, those that were
# known at an instant.
OF_CUSTOMER = """
        AND customer = {customer:String}"""
KNOWN = """
        AND received_at <= fromUnixTimestamp64Milli({as_of:Int64}, 'UTC')"""

SLOTS = Template("""
    SELECT
        customer,
        toUnixTimestamp(slot) * 1000 AS instant,
        events AS counted,
        value AS used,
        dimensions AS keys
    FROM usage_slots
    WHERE account = {account:String}
        AND livemode = {livemode:Bool}
        AND meter IN {meters:Array(String)}
        AND version = {version:UInt32}$whose
        AND slot >= fromUnixTimestamp64Milli({start:Int64}, 'UTC')
        AND slot < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
""")

# Events and their cancellations, which subtract.
SIGNED = Template(f"""
    SELECT
        customer,
        toUnixTimestamp64Milli(timestamp) AS instant,
        sign AS counted,
        toDecimal256(value, 15) * sign AS used,
        $keys AS keys
    FROM events
    WHERE {METER_KEYS}$whose AND {RANGE}
""")

NOT_CANCELLED = f"""sign = 1
        AND position NOT IN (
            SELECT position FROM events WHERE {METER_KEYS}$whose AND {REACH} AND sign = -1
        )"""

# The events that were not cancelled.
KEPT = Template(f"""
    SELECT
        customer,
        toUnixTimestamp64Milli(timestamp) AS instant,
        position,
        1 AS counted,
        value AS used,
        $keys AS keys
    FROM events
    WHERE {METER_KEYS}$whose AND {RANGE} AND {NOT_CANCELLED}
""")

# Of each event time window, a customer's event that was received last.
RECEIVED_LAST = Template(f"""
    SELECT
        customer,
        newest.1 AS instant,
        newest.2 AS position,
        1 AS counted,
        toDecimal256(newest.3, 15) AS used,
        newest.4 AS keys
    FROM (
        SELECT customer, argMax(
            (toUnixTimestamp64Milli(timestamp), position, value, $keys), position
        ) AS newest
        FROM events
        WHERE {METER_KEYS}$whose AND {REACH} AND {NOT_CANCELLED}
        GROUP BY customer, intDiv(toUnixTimestamp64Milli(timestamp), {{event_time_window:Int64}})
    )
    WHERE instant >= {{start:Int64}} AND instant < {{end:Int64}}
""")

USAGE: dict[Formula, str] = {
    "count": "sum(counted)",
    "last": "argMax(used, (instant, position))",
    "sum": "sum(used)",
}

# The number of the window that holds an instant, by the stretch of windows that it is in.
NUMBER = """
    {firsts:Array(Int64)}[
        arrayLastIndex(start -> start <= instant, {starts:Array(Int64)}) AS stretch
    ]
        + intDiv(instant - {starts:Array(Int64)}[stretch], {lengths:Array(Int64)}[stretch])"""
NUMBER_OF_ONE_STRETCH = """
    intDiv(instant - {starts:Array(Int64)}[1], {lengths:Array(Int64)}[1])"""


def select(query: MeterUsageQuery, plan: Plan, selection: Selection) -> tuple[str, dict[str, Any]]:
    """Turn a selection of a question's plan into a statement and its values."""
    parts, values = added_up(query, plan, selection)
    groups = texts([f"keys[{place + 1}]" for place in selection.groups])
    statement = STATEMENT.substitute(parts, groups=groups)
    return statement, values | {"rows_max": METER_USAGE_ROWS_MAX + 1}


def added_up(
    query: MeterUsageQuery, plan: Plan, selection: Selection
) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the parts of any statement that adds up a selection, and the values that they bind.

    They are the number of the `window`, the `usage`, the `rows` and the `conditions` on these.
    """
    rows, values = (
        _slots(query, selection) if selection.slotted else _events(query, plan, selection)
    )
    parts = {
        "window": NUMBER if len(plan.stretches) > 1 else NUMBER_OF_ONE_STRETCH,
        "usage": USAGE[selection.formula],
        "rows": rows,
        "conditions": " AND ".join(map(_condition, count(), selection.conditions)) or "true",
    }
    values |= {
        f"among_{number}": list(one.values) for number, one in enumerate(selection.conditions)
    }
    return parts, values | {
        "account": query.scope.account,
        "livemode": query.scope.livemode,
        "customer": query.customer,
        "as_of": query.as_of,
        "start": plan.start,
        "end": plan.end,
        "starts": [stretch.start for stretch in plan.stretches],
        "lengths": [stretch.length for stretch in plan.stretches],
        "firsts": [stretch.first for stretch in plan.stretches],
    }


def _slots(query: MeterUsageQuery, selection: Selection) -> tuple[str, dict[str, Any]]:
    rows = SLOTS.substitute(whose="" if query.customer is None else OF_CUSTOMER)
    return rows, {"meters": list(selection.meters), "version": selection.version}


def _events(query: MeterUsageQuery, plan: Plan, selection: Selection) -> tuple[str, dict[str, Any]]:
    whose = "" if query.customer is None else OF_CUSTOMER
    whose += "" if query.as_of is None else KNOWN
    [meter] = selection.meters
    reach = plan.reach(selection)
    values: dict[str, Any] = {
        "meter": meter,
        "reach_start": reach.start,
        "reach_end": reach.end,
        **{f"key_{number}": key for number, key in enumerate(selection.keys)},
    }
    if selection.event_time_window:
        values["event_time_window"] = MILLISECONDS[selection.event_time_window]
        rows = RECEIVED_LAST
    else:
        rows = KEPT if selection.formula == "last" else SIGNED
    keys = texts([f"payload[{{key_{number}:String}}]" for number in range(len(selection.keys))])
    return rows.substitute(keys=keys, whose=whose), values


def _condition(number: int, condition: Condition) -> str:
    verb = "NOT IN" if condition.excludes else "IN"
    return f"keys[{condition.place + 1}] {verb} {{among_{number}:Array(String)}}"


def texts(items: Sequence[str]) -> str:
    """Write a list of texts, which has a type even where it is empty."""
    return f"CAST([{', '.join(items)}], 'Array(String)')"
