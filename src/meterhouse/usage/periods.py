"""The statements that count usage for bills: of many customers and meters in many ranges at once.

What a reader may rely on, beside what `usage.queries` says:

- What is counted is what `metering.usage.summarize` says of each range, to the millisecond, and how
  many events it is made of.
- Where usage adds up, slots tell of all that lies between two of their edges, and events only of
  what is left at both ends. Elsewhere events tell all.
- A statement is made of *pieces*, each of which reads one table for one range. What it finds of
  customers and meters that nobody asked about in that range is no part of an answer.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from string import Template
from typing import Any, NamedTuple

import msgspec

from meterhouse.limits import USAGE_PERIODS_ITEMS_MAX, USAGE_PERIODS_PARTS_MAX
from meterhouse.metering.model import Formula, Meter, Scope
from meterhouse.metering.usage import PeriodQuery, PeriodUsage
from meterhouse.metering.window import MILLISECONDS, SLOT, Window, slot_at, widen

STATEMENT = Template("""
SELECT place, meter, customer, sum(counted), toString(sum(used))
FROM ($pieces)
GROUP BY place, meter, customer
""")

OF_SLOTS = Template("""
    SELECT $place AS place, meter, customer, sum(events) AS counted, sum(value) AS used
    FROM usage_slots
    WHERE (meter, version) IN {versions_$place:Array(Tuple(String, UInt32))}
        AND customer IN {customers_$place:Array(String)}
        AND slot >= $start
        AND slot < $end
    GROUP BY meter, customer
""")

WHOSE = Template("""account = {account:String}
        AND livemode = {livemode:Bool}
        AND meter IN {meters_$place:Array(String)}
        AND customer IN {customers_$place:Array(String)}""")

BETWEEN = Template("""timestamp >= fromUnixTimestamp64Milli($start, 'UTC')
        AND timestamp < fromUnixTimestamp64Milli($end, 'UTC')""")

# Events and their cancellations, which subtract.
OF_EDGE = Template("""
    SELECT
        $place AS place, meter, customer,
        sum(toInt64(sign)) AS counted, sum(toDecimal256(value, 15) * sign) AS used
    FROM events
    WHERE $whose
        AND $between
    GROUP BY meter, customer
""")

KEPT = Template("""events
    WHERE $whose
        AND $between
        AND sign = 1
        AND position GLOBAL NOT IN (
            SELECT position FROM events WHERE $whose AND $between AND sign = -1
        )
""")

# Of each event time window, the event that was received last.
RECEIVED_LAST = Template("""(
        SELECT
            meter, customer,
            newest.1 AS timestamp, newest.2 AS position, newest.3 AS value
        FROM (
            SELECT meter, customer, argMax((timestamp, position, value), position) AS newest
            FROM $kept
            GROUP BY meter, customer, intDiv(toUnixTimestamp64Milli(timestamp), $length)
        )
    )
    WHERE $between
""")

OF_EVENTS = Template("""
    SELECT
        $place AS place, meter, customer,
        toInt64(count()) AS counted, $used AS used
    FROM $events
    GROUP BY meter, customer
""")

USED: Mapping[Formula, str] = {
    "count": "toDecimal256(count(), 15)",
    "last": "toDecimal256(argMax(value, (timestamp, position)), 15)",
    "sum": "sum(toDecimal256(value, 15))",
}

NOTHING = PeriodUsage(Decimal(0), 0)


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a statement finds of one customer and one meter in the range at a place."""

    place: int
    meter: str
    customer: str
    events: int
    usage: Decimal


class Place(NamedTuple):
    """A range, and the meters that are asked about in it.

    They are several whose usage adds up, or one whose usage does not.
    """

    range: Window
    apart: str | None


def shares(questions: Sequence[PeriodQuery]) -> Iterator[dict[Place, list[int]]]:
    """Share questions out among statements: their numbers, by what they have in common.

    Empty ranges are left out.
    """
    asking = [number for number, one in enumerate(questions) if one.start < one.end]
    numbers = sorted(asking, key=lambda number: _order(questions[number]))
    share: dict[Place, list[int]] = {}
    asked = 0
    for number in numbers:
        place = _place(questions[number])
        new = place not in share
        if asked == USAGE_PERIODS_ITEMS_MAX or (new and len(share) == USAGE_PERIODS_PARTS_MAX):
            yield share
            share, asked = {}, 0
        share.setdefault(place, []).append(number)
        asked += 1
    if share:
        yield share


def select(
    scope: Scope, questions: Sequence[PeriodQuery], share: Mapping[Place, Sequence[int]]
) -> tuple[str, dict[str, Any]]:
    """Turn a share into a statement and its values, to be asked for as `JSONCompactEachRow`."""
    values: dict[str, Any] = {"account": scope.account, "livemode": scope.livemode}
    pieces: list[str] = []
    for number, (place, asked) in enumerate(share.items()):
        some = [questions[one] for one in asked]
        meters = {one.meter.id: one.meter for one in some}
        values[f"customers_{number}"] = list(dict.fromkeys(one.customer for one in some))
        values[f"meters_{number}"] = list(meters)
        if place.apart is None:
            versions = [(one.id, one.dimension_version) for one in meters.values()]
            values[f"versions_{number}"] = versions
            pieces += _added_up(number, place.range)
        else:
            pieces.append(_of_events(number, place.range, meters[place.apart]))
    return STATEMENT.substitute(pieces="UNION ALL".join(pieces)), values


def answers(
    questions: Sequence[PeriodQuery], share: Mapping[Place, Sequence[int]], found: Iterable[Row]
) -> Iterator[tuple[int, PeriodUsage]]:
    """Return the number of each question of a share, and its answer."""
    rows = {(row.place, row.meter, row.customer): row for row in found}
    for place, numbers in enumerate(share.values()):
        for number in numbers:
            one = questions[number]
            row = rows.get((place, one.meter.id, one.customer))
            yield number, NOTHING if row is None else _usage(one.meter, row)


def _order(question: PeriodQuery) -> tuple[int, int, str]:
    return question.start, question.end, _place(question).apart or ""


def _place(question: PeriodQuery) -> Place:
    apart = None if question.meter.slotted else question.meter.id
    return Place(Window(question.start, question.end), apart)


def _usage(meter: Meter, row: Row) -> PeriodUsage:
    """Say what a row comes to; a slot of a meter that counts has its values added up as well."""
    usage = Decimal(row.events) if meter.formula == "count" else row.usage
    return PeriodUsage(usage, row.events)


def _added_up(place: int, range_: Window) -> Iterator[str]:
    """Write the pieces for meters whose usage adds up: slots, and events at both ends."""
    start, end = slot_at(range_.start), range_.end - range_.end % SLOT
    edges = [Window(range_.start, start), Window(end, range_.end)]
    if start < end:
        yield OF_SLOTS.substitute(place=place, start=start // 1_000, end=end // 1_000)
    else:
        edges = [range_]
    whose = WHOSE.substitute(place=place)
    for edge in edges:
        if edge.start < edge.end:
            yield OF_EDGE.substitute(place=place, whose=whose, between=_between(edge))


def _of_events(place: int, range_: Window, meter: Meter) -> str:
    """Write the piece for a meter of which every event has to be looked at."""
    whose = WHOSE.substitute(place=place)
    size = meter.event_time_window
    reach = range_ if size is None else widen(*range_, size)
    events = KEPT.substitute(whose=whose, between=_between(reach))
    if size is not None:
        events = RECEIVED_LAST.substitute(
            kept=events, length=MILLISECONDS[size], between=_between(range_)
        )
    return OF_EVENTS.substitute(place=place, used=USED[meter.formula], events=events)


def _between(range_: Window) -> str:
    return BETWEEN.substitute(start=range_.start, end=range_.end)
