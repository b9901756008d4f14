"""The statements that read the usage store.

What a reader may rely on:

- Every value is bound by the engine (`{name:Type}`); no text of a request becomes part of a
  statement.
- A cancelled event does not count. Its cancellation lies in the same range, because it repeats the
  event's keys.
- Totals are added up as decimals of `USAGE_DIGITS_MAX` digits and leave as text, so they are exact.
- A subquery that decides about rows is `GLOBAL`: on a cluster it is asked of all shards, wherever
  the rows are that it decides about. One server, or the engine, takes it for any other.
- Instants enter and leave as milliseconds since the epoch; a column of an answer is named for the
  field of `usage.store` that it fills.
"""

# ruff: noqa: S608 - the statements are put together from the constants of this module alone

from string import Template
from typing import Any

from meterhouse.limits import USAGE_DIGITS_MAX
from meterhouse.metering.model import Formula, Meter
from meterhouse.metering.usage import SummaryQuery
from meterhouse.metering.window import MILLISECONDS
from meterhouse.usage.slots import WHOLE

METER_KEYS = """account = {account:String}
    AND livemode = {livemode:Bool}
    AND meter = {meter:String}"""

CUSTOMER_KEYS = f"""{METER_KEYS}
    AND customer = {{customer:String}}"""

RANGE = """timestamp >= fromUnixTimestamp64Milli({start:Int64}, 'UTC')
    AND timestamp < fromUnixTimestamp64Milli({end:Int64}, 'UTC')"""

# The range, widened to the whole event time windows that it touches.
REACH = """timestamp >= fromUnixTimestamp64Milli({reach_start:Int64}, 'UTC')
    AND timestamp < fromUnixTimestamp64Milli({reach_end:Int64}, 'UTC')"""

NOT_CANCELLED = f"""sign = 1
    AND position GLOBAL NOT IN (
        SELECT position FROM events WHERE {CUSTOMER_KEYS} AND {REACH} AND sign = -1
    )"""

# Events and their cancellations. Where usage is added up, a cancellation subtracts its event.
SIGNED = f"events WHERE {CUSTOMER_KEYS} AND {RANGE}"

# The events that were not cancelled.
KEPT = f"{SIGNED} AND {NOT_CANCELLED}"

# On a meter with an event time window: of each window, the event that was received last, where
# its own timestamp is within the range.
RECEIVED_LAST = f"""(
    SELECT newest.1 AS timestamp, newest.2 AS position, newest.3 AS value, 1 AS sign
    FROM (
        SELECT argMax((timestamp, position, value), position) AS newest
        FROM events
        WHERE {CUSTOMER_KEYS} AND {REACH} AND {NOT_CANCELLED}
        GROUP BY intDiv(toUnixTimestamp64Milli(timestamp), {{event_time_window:Int64}})
    )
) WHERE {RANGE}"""

AGGREGATES: dict[Formula, str] = {
    "count": "sum(sign)",
    "last": "argMax(value, (timestamp, position))",
    "sum": "sum(toDecimal256(value, 15) * sign)",
}

WHOLE_RANGE = "{start:Int64}"
WINDOW = "intDiv(toUnixTimestamp64Milli(timestamp), {window:Int64}) * {window:Int64}"

SUMMARY = Template("""
SELECT $window AS window_start, toString($aggregate) AS usage
FROM $events
GROUP BY window_start
HAVING sum(sign) > 0
ORDER BY window_start DESC
""")

# The events at some positions of one meter.
EVENTS_AT = f"""
SELECT
    position,
    account,
    livemode,
    meter,
    customer,
    toUnixTimestamp64Milli(timestamp) AS timestamp,
    toUnixTimestamp64Milli(received_at) AS received_at,
    event_name,
    identifier,
    toString(value) AS value,
    payload
FROM events
WHERE {METER_KEYS}
    AND position IN {{positions:Array(UInt64)}}
    AND sign = 1
"""

_RECEIVED = """
SELECT count() AS rows
FROM %s
WHERE account = {account:String}
    AND livemode = {livemode:Bool}
    AND received_at = fromUnixTimestamp64Milli({received_at:Int64}, 'UTC')
    AND position = {position:UInt64}
"""

# By table: how many rows tell that a block is there, by the keys of its first row.
HOLDS = {
    "duplicate_events": _RECEIVED % "duplicate_events",
    "events": f"""
SELECT count() AS rows
FROM events
WHERE {CUSTOMER_KEYS}
    AND timestamp = fromUnixTimestamp64Milli({{timestamp:Int64}}, 'UTC')
    AND position = {{position:UInt64}}
    AND sign = {{sign:Int8}}
""",
    "rejected_events": _RECEIVED % "rejected_events",
    "identifiers": """
SELECT count() AS rows
FROM identifiers
WHERE high = {high:UInt64} AND low = {low:UInt64} AND position = {position:UInt64}
""",
    # Once merged, a row holds several batches. Those of a partition came in order, so it holds this
    # one exactly when the newest of them is this one or a later one.
    "usage_slots": """
SELECT count() AS rows
FROM usage_slots
WHERE meter = {meter:String}
    AND customer = {customer:String}
    AND version = {version:UInt32}
    AND slot = fromUnixTimestamp64Milli({slot:Int64}, 'UTC')
    AND dimensions = {dimensions:Array(String)}
    AND batch >= {batch:UInt64}
    AND arrayAll(one -> batches[one.1] >= one.2, {batches:Array(Tuple(UInt16, UInt64))})
""",
}

# Writes that failed since the engine started, in merges as in inserts.
FAILED_WRITES = """
SELECT value AS writes
FROM system.events
WHERE event = 'WriteBufferFromFileDescriptorWriteFailed'
"""

# Parts that were not whole when a table was loaded.
SET_ASIDE = """
SELECT concat(table, ' ', name) AS part
FROM system.detached_parts
WHERE database = currentDatabase() AND reason = 'broken-on-start'
ORDER BY part
"""

# The claims on digests, by their first halves.
CLAIMS = """
SELECT high, low, position, day
FROM identifiers
WHERE high IN {highs:Array(UInt64)}
"""

CLAIM_DAYS = """
SELECT day, count() AS claims
FROM identifiers
WHERE day >= {since:UInt32}
GROUP BY day
ORDER BY day
"""

# The first halves of one day's claims of some partitions of the journal, a piece of them at a time.
CLAIMED_ON = """
SELECT high
FROM identifiers
WHERE day = {day:UInt32}
    AND high BETWEEN {first:UInt64} AND {last:UInt64}
    AND high % {partitions:UInt64} IN {wanted:Array(UInt64)}
"""

# Partitions of tables that are told apart by numbers: days, or months such as 202611.
PARTITIONS_OVER = """
SELECT DISTINCT toUInt32(partition) AS number
FROM system.parts
WHERE active
    AND database = currentDatabase()
    AND table = {table:String}
    AND toUInt32(partition) < {before:UInt32}
"""

# The usage of one meter, added up from the values as stored and from the payloads anew. The engine
# reads exponents exactly, but takes a number that is written with more than `USAGE_DIGITS_MAX`
# digits for none. So a longer text is rewritten as its digits from the first to the last that is
# not zero, and the power of ten that belongs to them.
TOTAL = f"""
WITH
    payload[{{value_key:String}}] AS text,
    extract(text, '^[+-]?([0-9]+)') AS integer,
    extract(text, '[.]([0-9]+)') AS decimals,
    trim(LEADING '0' FROM concat(integer, decimals)) AS written,
    trim(TRAILING '0' FROM written) AS digits,
    toInt64OrZero(extract(text, '[eE]([+-]?[0-9]+)$')) AS exponent,
    concat(
        if(startsWith(text, '-'), '-', ''), digits, 'e',
        toString(length(written) - length(digits) - length(decimals) + exponent)
    ) AS rewritten
SELECT
    countIf(sign = 1) AS events,
    toString(sum(toDecimal256(value, 15) * sign)) AS stored,
    toString(sum(
        toDecimal256OrZero(if(length(text) > {USAGE_DIGITS_MAX}, rewritten, text), 15) * sign
    )) AS derived
FROM events
WHERE {METER_KEYS}
"""

# The months in which the slots of a meter, any of the three kinds of them, do not say what its
# events do.
UNLIKE_SLOTS = f"""
SELECT
    month,
    kind,
    sum(of_events.1) AS events,
    toString(sum(of_events.2)) AS usage,
    sum(of_slots.1) AS slot_events,
    toString(sum(of_slots.2)) AS slot_usage
FROM (
    SELECT
        toYYYYMM(timestamp) AS month,
        arrayJoin(['slots', 'totals', 'totals without dimensions']) AS kind,
        (sum(toInt64(sign)), sum(toDecimal256(value, 15) * sign)) AS of_events,
        (toInt64(0), toDecimal256(0, 15)) AS of_slots
    FROM events
    WHERE {METER_KEYS}
    GROUP BY month
    UNION ALL
    SELECT
        toYYYYMM(slot) AS month,
        multiIf(
            version = {WHOLE}, 'totals without dimensions', customer = '', 'totals', 'slots'
        ) AS kind,
        (0, toDecimal256(0, 15)),
        (sum(events), sum(value))
    FROM usage_slots
    WHERE meter = {{meter:String}} AND version IN ({WHOLE}, {{version:UInt32}})
    GROUP BY month, kind
)
GROUP BY month, kind
HAVING (sum(of_events.1), sum(of_events.2)) != (sum(of_slots.1), sum(of_slots.2))
ORDER BY month, kind
"""

COUNT_EVENTS = """
SELECT account, livemode, countIf(sign = 1) AS accepted, countIf(sign = -1) AS cancelled
FROM events
GROUP BY account, livemode
"""

COUNT_REJECTED_EVENTS = """
SELECT account, livemode, code, count() AS events
FROM rejected_events
GROUP BY account, livemode, code
"""

# Positions that have not exactly one outcome, or that were cancelled more than once.
COUNT_WRONG_POSITIONS = """
SELECT account, livemode, count() AS positions
FROM (
    SELECT any(account) AS account, any(livemode) AS livemode
    FROM (
        SELECT account, livemode, position, sign FROM events
        UNION ALL
        SELECT account, livemode, position, 1 AS sign FROM rejected_events
    )
    GROUP BY position
    HAVING countIf(sign = 1) != 1 OR countIf(sign = -1) > 1
)
GROUP BY account, livemode
"""


# Numbers that stand for the identifiers which several accepted events have. The events themselves
# are compared, whatever is claimed; numbers of more events than find room go to disk.
_REPEATED = """
SELECT cityHash64(account, livemode, identifier) AS number
FROM events
WHERE sign = 1
GROUP BY number
HAVING count() > 1
"""
ANY_REPEATED = f"SELECT count() AS rows FROM ({_REPEATED})"

# Such identifiers, where two of their events are no more than so many days apart.
COUNTED_TWICE = f"""
SELECT account, livemode, identifier, count() AS times
FROM events
WHERE sign = 1
    AND cityHash64(account, livemode, identifier) GLOBAL IN ({_REPEATED})
GROUP BY account, livemode, identifier
HAVING arrayExists(
    gap -> gap <= {{days:UInt32}},
    arrayPopFront(arrayDifference(arraySort(groupArray(
        intDiv(toUnixTimestamp64Milli(received_at), 86400000)
    ))))
)
ORDER BY account, livemode, identifier
LIMIT {{rows_max:UInt32}}
"""


def summary(query: SummaryQuery) -> tuple[str, dict[str, Any]]:
    """Turn a question into a statement and its values; the rows are (window start, usage)."""
    reach = query.reach()
    sql = SUMMARY.substitute(
        window=WINDOW if query.window else WHOLE_RANGE,
        aggregate=AGGREGATES[query.meter.formula],
        events=_events(query.meter),
    )
    values = {
        "account": query.scope.account,
        "livemode": query.scope.livemode,
        "meter": query.meter.id,
        "customer": query.customer,
        "start": query.start,
        "end": query.end,
        "reach_start": reach.start,
        "reach_end": reach.end,
    }
    if query.window:
        values["window"] = MILLISECONDS[query.window]
    if query.meter.event_time_window:
        values["event_time_window"] = MILLISECONDS[query.meter.event_time_window]
    return sql, values


def _events(meter: Meter) -> str:
    if meter.event_time_window:
        return RECEIVED_LAST
    return KEPT if meter.formula == "last" else SIGNED
