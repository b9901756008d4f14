"""The statements that add up meter usage: each selection of a plan becomes one.

What a reader may rely on, beside what `usage.queries` says: the rows are those of
`metering.meter_usage.Found`, in no order, and no more of them than `METER_USAGE_ROWS_MAX` and one.

A statement is as flat as it can be, because on the rows of one customer the engine is busy longer
with the statement than with the rows.
"""

# ruff: noqa: S608 - the statements are put together from constants and numbers of ours alone

from collections.abc import Iterable, Sequence
from decimal import Decimal
from string import Template
from typing import Any, NamedTuple

import msgspec

from meterhouse.limits import METER_USAGE_ROWS_MAX
from meterhouse.metering.meter_usage import (
    Condition,
    Found,
    MeterUsageQuery,
    Plan,
    Selection,
    UsageRow,
    answer,
    windows_of,
)
from meterhouse.metering.model import Formula
from meterhouse.metering.window import MILLISECONDS, Stretch
from meterhouse.usage.queries import METER_KEYS, RANGE, REACH
from meterhouse.usage.slots import WHOLE

STATEMENT = Template("""
SELECT $columns
FROM $rows
GROUP BY $group_by
LIMIT $rows_max
SETTINGS $settings
""")

# Of slots, nearly all rows that are read are wanted, and they are too few for two threads.
OF_SLOTS = "optimize_move_to_prewhere = 0, max_threads = 1"
OF_EVENTS = "optimize_move_to_prewhere = 1"

# Whose slots: one customer's, those of all together, or of each. Where no dimensions are asked
# about, all together have a version of their own.
OF_CUSTOMER = Template("version = $version AND customer = {customer:String}")
OF_ALL = Template("version = $version_of_all AND customer = ''")
OF_EACH = Template("version = $version AND customer != ''")

# Whose events: one customer's or, where a part is left out, everybody's; and those that were known
# at an instant.
EVENTS_OF_CUSTOMER = """
    AND customer = {customer:String}"""
KNOWN = """
    AND received_at <= fromUnixTimestamp64Milli({as_of:Int64}, 'UTC')"""

SLOTS = Template("""usage_slots
WHERE $meters
    AND $whose
    AND slot >= $start
    AND slot < $end
""")

# Events and their cancellations, which subtract.
SIGNED = Template(f"""events
WHERE {METER_KEYS}$whose
    AND {RANGE}
""")

NOT_CANCELLED = f"""sign = 1
    AND position GLOBAL NOT IN (
        SELECT position FROM events WHERE {METER_KEYS}$whose AND {REACH} AND sign = -1
    )"""

# The events that were not cancelled.
KEPT = Template(f"""events
WHERE {METER_KEYS}$whose
    AND {RANGE}
    AND {NOT_CANCELLED}
""")

# Of each event time window, a customer's event that was received last.
RECEIVED_LAST = Template(f"""(
    SELECT
        customer,
        newest.1 AS instant,
        newest.2 AS position,
        newest.3 AS value,
        newest.4 AS keys
    FROM (
        SELECT customer, argMax(
            (toUnixTimestamp64Milli(timestamp), position, value, $keys), position
        ) AS newest
        FROM events
        WHERE {METER_KEYS}$whose AND {REACH} AND {NOT_CANCELLED}
        GROUP BY customer, intDiv(toUnixTimestamp64Milli(timestamp), {{event_time_window:Int64}})
    )
)
WHERE instant >= {{start:Int64}} AND instant < {{end:Int64}}
""")

USAGE: dict[Formula, str] = {
    "count": "sum($counted)",
    "last": "argMax($used, ($instant, position))",
    "sum": "sum($used)",
}

# The number of the window that holds an instant: of windows that are one stretch, or by the
# stretch that it is in.
IN_ROW = Template("intDiv($instant - $start, $length)")
IN_STRETCH = Template("""$firsts[
        arrayLastIndex(start -> start <= $instant, $starts) AS stretch
    ] + intDiv($instant - $starts[stretch], $lengths[stretch])""")


_decoder: msgspec.json.Decoder[list[Any]] = msgspec.json.Decoder(list[int | str])


class Rows(NamedTuple):
    """What is added up: where the rows come from, and what each of them tells, as expressions.

    `instant` is the moment in which it counts, in units of so many milliseconds, `counted` how many
    events it stands for, `used` their usage, and `keys` the values under the selection's keys.
    `values` are those that the source binds, beside a customer.
    """

    source: str
    instant: str
    unit: int
    counted: str
    used: str
    keys: tuple[str, ...]
    values: dict[str, Any]


class Parts(NamedTuple):
    """What any statement that adds up a selection is made of, and the values that it binds."""

    rows: Rows
    window: str
    usage: str
    groups: tuple[str, ...]
    values: dict[str, Any]


def select(query: MeterUsageQuery, plan: Plan, selection: Selection) -> tuple[str, dict[str, Any]]:
    """Turn a selection of a question's plan into a statement and its values.

    Its answer is to be asked for in the format `JSONCompactEachRow`.
    """
    parts = parts_of(query, plan, selection)
    apart = {"window": parts.window}
    if selection.by_meter:
        apart["asked"] = "meter"
    apart |= {f"group_{place}": text for place, text in enumerate(parts.groups)}
    columns = apart | {"counted_events": f"sum({parts.rows.counted})", "usage": parts.usage}
    statement = STATEMENT.substitute(
        columns=", ".join(f"{text} AS {name}" for name, text in columns.items()),
        group_by=", ".join(apart),
        rows=parts.rows.source,
        rows_max=METER_USAGE_ROWS_MAX + 1,
        settings=OF_SLOTS if selection.slotted else OF_EVENTS,
    )
    return statement, parts.values


def rows(query: MeterUsageQuery, found: Iterable[bytes]) -> list[UsageRow]:
    """Make the answer to a question of what the statements of its selections return."""
    return answer(query, windows_of(query), [_read(lines) for lines in found])


def _read(lines: bytes) -> list[Found]:
    """Read what a statement returns: a window, the values of a group, its events, their usage.

    What was cancelled altogether is left out, unless there are so many rows that they are not all.
    """
    rows = _decoder.decode_lines(lines)
    too_many = len(rows) > METER_USAGE_ROWS_MAX
    return [
        Found(window, tuple(groups), Decimal(usage))
        for window, *groups, events, usage in rows
        if too_many or events > 0
    ]


def parts_of(
    query: MeterUsageQuery, plan: Plan, selection: Selection, *, of_all: Template = OF_ALL
) -> Parts:
    """Return what the statements are made of that add up a selection.

    Where a question is about all customers, `of_all` chooses among the rows of slots.
    """
    whose = of_all if query.customer is None else OF_CUSTOMER
    slotted = selection.slotted
    read = _slots(plan, selection, whose) if slotted else _events(query, plan, selection)
    conditions = [
        _condition(number, read.keys[one.place], one)
        for number, one in enumerate(selection.conditions)
    ]
    read = read._replace(source="\n    AND ".join([read.source.rstrip(), *conditions]))
    among = {f"among_{place}": list(one.values) for place, one in enumerate(selection.conditions)}
    return Parts(
        read,
        _window(plan.stretches, read),
        Template(USAGE[selection.formula]).substitute(read._asdict()),
        tuple(read.keys[place] for place in selection.groups),
        read.values | among | ({} if query.customer is None else {"customer": query.customer}),
    )


def _slots(plan: Plan, selection: Selection, whose: Template) -> Rows:
    dimensions = selection.groups or selection.conditions
    one = len(selection.meters) == 1
    source = SLOTS.substitute(
        meters="meter = {meter:String}" if one else "meter IN {meters:Array(String)}",
        whose=whose.substitute(
            version=selection.version, version_of_all=selection.version if dimensions else WHOLE
        ),
        start=plan.start // 1000,
        end=plan.end // 1000,
    )
    keys = [f"dimensions[{place + 1}]" for place in range(len(selection.keys))]
    values: dict[str, Any] = (
        {"meter": selection.meters[0]} if one else {"meters": list(selection.meters)}
    )
    return Rows(source, "toUnixTimestamp(slot)", 1000, "events", "value", tuple(keys), values)


def _events(query: MeterUsageQuery, plan: Plan, selection: Selection) -> Rows:
    whose = "" if query.customer is None else EVENTS_OF_CUSTOMER
    whose += "" if query.as_of is None else KNOWN
    keys = [f"payload[{{key_{number}:String}}]" for number in range(len(selection.keys))]
    reach = plan.reach(selection)
    values: dict[str, Any] = {
        "account": query.scope.account,
        "livemode": query.scope.livemode,
        "meter": selection.meters[0],
        "as_of": query.as_of or 0,
        "start": plan.start,
        "end": plan.end,
        "reach_start": reach.start,
        "reach_end": reach.end,
        "event_time_window": MILLISECONDS[selection.event_time_window or "hour"],
        **{f"key_{number}": key for number, key in enumerate(selection.keys)},
    }
    if selection.event_time_window:
        array = f"CAST([{', '.join(keys)}], 'Array(String)')"
        source = RECEIVED_LAST.substitute(whose=whose, keys=array)
        keys = [f"keys[{number + 1}]" for number in range(len(keys))]
        return Rows(source, "instant", 1, "1", "toDecimal256(value, 15)", tuple(keys), values)
    instant = "toUnixTimestamp64Milli(timestamp)"
    if selection.formula == "last":
        return Rows(KEPT.substitute(whose=whose), instant, 1, "1", "value", tuple(keys), values)
    signed = "toDecimal256(value, 15) * sign"
    return Rows(SIGNED.substitute(whose=whose), instant, 1, "sign", signed, tuple(keys), values)


def _window(stretches: Sequence[Stretch], rows: Rows) -> str:
    """Write the number of the window that holds the instant of a row."""
    starts = [one.start // rows.unit for one in stretches]
    lengths = [one.length // rows.unit for one in stretches]
    if len(stretches) > 1:
        firsts = [one.first for one in stretches]
        return IN_STRETCH.substitute(
            instant=rows.instant, firsts=firsts, starts=starts, lengths=lengths
        )
    return IN_ROW.substitute(instant=rows.instant, start=starts[0], length=lengths[0])


def _condition(number: int, key: str, condition: Condition) -> str:
    verb = "NOT IN" if condition.excludes else "IN"
    return f"{key} {verb} {{among_{number}:Array(String)}}"
