"""The statements that search for raw events, whatever became of them.

What a reader may rely on:

- Events come in the order of their positions. A page is cut at a position, so it stays what it is
  while new events arrive.
- Every value is bound by the engine; no text of a request becomes part of a statement.
- A search looks through the newest events first, a stretch of positions at a time, and stops once
  its page is full. Where it names identifiers, an index finds them.
"""

# ruff: noqa: S608 - the statements are put together from the constants of this module alone

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from meterhouse.limits import (
    EVENT_FUTURE_MINUTES_MAX,
    EVENT_PAST_DAYS_MAX,
    REJECTION_SAMPLE_EVENTS_MAX,
    SEARCH_STRETCH_DOUBLINGS,
    SEARCH_STRETCH_EVENTS,
)
from meterhouse.metering.search import EventSearch
from meterhouse.metering.window import MILLISECONDS

_PAST = EVENT_PAST_DAYS_MAX * MILLISECONDS["day"]
_FUTURE = EVENT_FUTURE_MINUTES_MAX * MILLISECONDS["minute"]


class Page(NamedTuple):
    """Up to `rows_max` of the events whose positions lie in `[first, end)`.

    They are the newest ones, newest first, or, where it says so, the `oldest`, oldest first.
    """

    first: int
    end: int
    rows_max: int
    oldest: bool = False


EVERYTHING = Page(0, 2**63, 2**32 - 1)


class Count(msgspec.Struct):
    """How many there are."""

    events: int


class Newest(msgspec.Struct):
    """The highest position of the events with one identifier."""

    identifier: str
    newest: int


class RejectedKind(msgspec.Struct):
    """Rejected events with one code, of one meter or else of one event name, their `name`.

    `newest` are the positions of the last `REJECTION_SAMPLE_EVENTS_MAX` of them, the last first.
    """

    code: str
    meter: str
    name: str
    events: int
    first_received_at: int
    last_received_at: int
    newest: list[int]


_COLUMNS = "position, meter, customer, event_name, identifier, timestamp, received_at"

# What each table has to tell about an event, by the outcome of its events.
_SOURCES = {
    "accepted": f"""
    SELECT 'accepted' AS outcome, {_COLUMNS}, payload, toNullable(value) AS value,
        '' AS code, '' AS message
    FROM events
    WHERE sign = 1 AND %s""",
    "duplicate": f"""
    SELECT 'duplicate' AS outcome, {_COLUMNS}, payload, toNullable(value) AS value,
        '' AS code, '' AS message
    FROM duplicate_events
    WHERE %s""",
    "rejected": f"""
    SELECT 'rejected' AS outcome, {_COLUMNS.replace("customer", "'' AS customer")},
        CAST(payload, 'Map(LowCardinality(String), String)') AS payload, NULL AS value,
        code, message
    FROM rejected_events
    WHERE %s""",
}

_FOUND = """
SELECT outcome, position, meter, customer, event_name, identifier,
    toUnixTimestamp64Milli(timestamp) AS timestamp,
    toUnixTimestamp64Milli(received_at) AS received_at,
    toString(value) AS value, payload, code, message
FROM (%s
)
ORDER BY position %s
LIMIT {rows_max:UInt32}
"""

_COUNT_REJECTED = "SELECT uniqExact(identifier) AS events FROM rejected_events WHERE %s"

_NEWEST = """
SELECT identifier, max(position) AS newest
FROM (%s
)
GROUP BY identifier
"""

_REJECTED_KINDS = f"""
SELECT code, meter, if(meter = '', event_name, '') AS name,
    count() AS events,
    toUnixTimestamp64Milli(min(received_at)) AS first_received_at,
    toUnixTimestamp64Milli(max(received_at)) AS last_received_at,
    arrayMap(
        negative -> -negative,
        groupArraySorted({REJECTION_SAMPLE_EVENTS_MAX})(-toInt64(position))
    ) AS newest
FROM rejected_events
WHERE %s
GROUP BY code, meter, name
ORDER BY max(position) DESC
LIMIT {{rows_max:UInt32}}
"""

# An event that counts until a newer one of its event time window does.
OVERWRITTEN_BY = """
SELECT identifier, max(position) AS newest
FROM events
WHERE account = {account:String}
    AND livemode = {livemode:Bool}
    AND meter = {meter:String}
    AND customer = {customer:String}
    AND timestamp >= fromUnixTimestamp64Milli({start:Int64}, 'UTC')
    AND timestamp < fromUnixTimestamp64Milli({end:Int64}, 'UTC')
    AND position > {position:UInt64}
GROUP BY position, identifier
HAVING sum(sign) > 0
ORDER BY newest DESC
LIMIT 1
"""

_INSTANT = "fromUnixTimestamp64Milli({%s:Int64}, 'UTC')"

# What each part of a search demands of a row; every row has these columns.
_DEMANDS = {
    "account": "account = {account:String}",
    "livemode": "livemode = {livemode:Bool}",
    "first": "position >= {first:UInt64}",
    "end": "position < {end:UInt64}",
    "meter": "meter = {meter:String}",
    "event_name": "event_name = {event_name:String}",
    "code": "code = {code:String}",
    "identifiers": "identifier IN {identifiers:Array(String)}",
    "positions": "position IN {positions:Array(UInt64)}",
    "received_from": f"received_at >= {_INSTANT % 'received_from'}",
    "received_to": f"received_at < {_INSTANT % 'received_to'}",
    "timestamp_from": f"timestamp >= {_INSTANT % 'timestamp_from'}",
    "timestamp_to": f"timestamp < {_INSTANT % 'timestamp_to'}",
}
OF_CUSTOMER = "customer = {customer:String}"
# Only judging would tell under which key a rejected event names its customer.
NAMED_CUSTOMER = (
    "arrayExists(key -> payload[key] = {customer:String}, {customer_keys:Array(String)})"
)
# What was judged to be in time; this spares the partitions of other months.
_IN_TIME_FROM = f"timestamp >= fromUnixTimestamp64Milli({{received_from:Int64}} - {_PAST}, 'UTC')"
_IN_TIME_TO = f"timestamp <= fromUnixTimestamp64Milli({{received_to:Int64}} + {_FUTURE}, 'UTC')"


def pages(page: Page, *, whole: bool) -> Iterator[Page]:
    """Cut a page into stretches, each longer than the one before; `whole` leaves it as it is."""
    first, end, rows_max, oldest = page
    length = end - first if whole else SEARCH_STRETCH_EVENTS
    while first < end:
        if oldest:
            yield Page(first, min(end, first + length), rows_max, oldest)
            first += length
        else:
            yield Page(max(first, end - length), end, rows_max, oldest)
            end -= length
        length <<= SEARCH_STRETCH_DOUBLINGS


def find(search: EventSearch, page: Page) -> tuple[str, dict[str, Any]]:
    """Return the statement that finds a page of events, and its values.

    What is pending is not in the usage store, so the search is not for that alone.
    """
    order = "ASC" if page.oldest else "DESC"
    values = _values(search, page)
    limited = f"\n    ORDER BY position {order}\n    LIMIT {{rows_max:UInt32}}"
    sources = [
        source % _demands(search, values, outcome) + limited
        for outcome, source in _SOURCES.items()
        if search.outcome in (None, outcome)
    ]
    return _FOUND % ("\n    UNION ALL".join(sources), order), values | {"rows_max": page.rows_max}


def count_rejected(search: EventSearch, page: Page) -> tuple[str, dict[str, Any]]:
    """Return the statement that counts the identifiers of rejected events, and its values."""
    values = _values(search, page)
    return _COUNT_REJECTED % _demands(search, values, "rejected"), values


def newest(search: EventSearch, outcome: str, page: Page) -> tuple[str, dict[str, Any]]:
    """Return the statement that finds each identifier's newest event with an outcome."""
    values = _values(search, page)
    return _NEWEST % (_SOURCES[outcome] % _demands(search, values, outcome)), values


def rejected_kinds(search: EventSearch, rows_max: int) -> tuple[str, dict[str, Any]]:
    """Return the statement that tells kinds of rejected events apart, and its values."""
    values = _values(search, EVERYTHING)
    return _REJECTED_KINDS % _demands(search, values, "rejected"), values | {"rows_max": rows_max}


def _values(search: EventSearch, page: Page) -> dict[str, Any]:
    """Return what a search asks for under the names of the statement."""
    values = {
        "account": search.scope.account,
        "livemode": search.scope.livemode,
        "first": page.first,
        "end": page.end,
        "meter": search.meter,
        "event_name": search.event_name,
        "customer": search.customer,
        "customer_keys": None if search.customer is None else list(search.customer_keys),
        "identifiers": None if search.identifiers is None else list(search.identifiers),
        "positions": None if search.positions is None else list(search.positions),
        "code": search.code,
        "received_from": search.received[0],
        "received_to": search.received[1],
        "timestamp_from": search.timestamp[0],
        "timestamp_to": search.timestamp[1],
    }
    return {name: value for name, value in values.items() if value is not None}


def _demands(search: EventSearch, values: dict[str, Any], outcome: str) -> str:
    demands = [_DEMANDS[name] for name in values if name in _DEMANDS]
    rejected = outcome == "rejected"
    if search.customer is not None:
        demands.append(NAMED_CUSTOMER if rejected else OF_CUSTOMER)
    if "received_from" in values and not rejected:
        demands.append(_IN_TIME_FROM)
    if "received_to" in values and not rejected:
        demands.append(_IN_TIME_TO)
    return "\n        AND ".join(demands)
