"""The statements that count usage for bills: of many customers and meters in many ranges at once.

What a reader may rely on, beside what `usage.queries` says:

- What is counted is what `metering.usage.summarize` says of each range, to the millisecond, and how
  many events it is made of.
- Where usage adds up, slots tell of all that lies between two of their edges, and events only of
  what is left at both ends. Elsewhere events tell all.
- A *share* is what a statement of each kind answers. What they find of customers and meters that
  nobody asked about in a range is no part of an answer.

The engine is busy longer with a statement than with the rows of a customer, so there are few of
them, and they are flat.
"""

# ruff: noqa: S608 - the statements are put together from constants and numbers of ours alone

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from string import Template
from typing import Any, NamedTuple

import msgspec

from meterhouse.limits import USAGE_PERIODS_ITEMS_MAX, USAGE_PERIODS_PARTS_MAX
from meterhouse.metering.aggregation import SUM
from meterhouse.metering.model import Formula, Meter, Scope
from meterhouse.metering.usage import PeriodQuery, PeriodUsage
from meterhouse.metering.window import MILLISECONDS, SLOT, Window, slot_at, widen

STATEMENT = Template("""
SELECT $place AS place, meter, customer, $counted AS counted, toString($used) AS used
FROM $rows
GROUP BY place, meter, customer
SETTINGS max_threads = $threads
""")

SLOTS = Template("""usage_slots
WHERE (meter, version) IN {versions:Array(Tuple(String, UInt32))}
    AND customer IN {customers:Array(String)}
    AND ($within)""")
IN_SLOTS = Template("slot >= $start AND slot < $end")
SLOT_INSTANT = "toUnixTimestamp(slot)"

WHOSE = """account = {account:String}
    AND livemode = {livemode:Bool}
    AND meter IN {meters:Array(String)}
    AND customer IN {customers:Array(String)}"""
EVENTS = Template(f"events\nWHERE {WHOSE}\n    AND ($within)")
IN_EVENTS = Template("""timestamp >= fromUnixTimestamp64Milli($start, 'UTC')
        AND timestamp < fromUnixTimestamp64Milli($end, 'UTC')""")
EVENT_INSTANT = "toUnixTimestamp64Milli(timestamp)"

# The events that were not cancelled.
KEPT = Template(f"""events
WHERE {WHOSE}
    AND ($within)
    AND sign = 1
    AND position GLOBAL NOT IN (
        SELECT position FROM events WHERE {WHOSE} AND ($within) AND sign = -1
    )""")

# Of each event time window, the event that was received last.
RECEIVED_LAST = Template("""(
    SELECT meter, customer, newest.1 AS timestamp, newest.2 AS position, newest.3 AS value
    FROM (
        SELECT meter, customer, argMax((timestamp, position, value), position) AS newest
        FROM $kept
        GROUP BY meter, customer, intDiv(toUnixTimestamp64Milli(timestamp), $length)
    )
)
WHERE $within""")

# The numbers of the ranges that hold an instant; there may be several.
PLACES = Template("""arrayJoin(arrayFilter(
        (one, start, end) -> start <= $instant AND $instant < end, $places, $starts, $ends
    ))""")

USED: Mapping[Formula, str] = {
    "count": "count()",
    "last": "argMax(value, (timestamp, position))",
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


class Share(NamedTuple):
    """Questions that have statements in common.

    `meters` are several whose usage adds up, or one whose usage does not. `asked` are numbers of
    questions, each with the place of its range among the `ranges`.
    """

    ranges: list[Window]
    meters: dict[str, Meter]
    customers: dict[str, None]
    asked: list[tuple[int, int]]


class _At(NamedTuple):
    """A part of the range at a place."""

    place: int
    range: Window


def shares(questions: Sequence[PeriodQuery]) -> Iterator[Share]:
    """Share questions out among statements; what is asked about an empty range is left out."""
    numbers = [number for number, one in enumerate(questions) if one.start < one.end]
    numbers.sort(key=lambda number: _likeness(questions[number]))
    share: Share | None = None
    for number in numbers:
        one = questions[number]
        range_ = Window(one.start, one.end)
        if share is None or not _fits(share, one.meter, range_):
            if share is not None:
                yield share
            share = Share([], {}, {}, [])
        if share.ranges[-1:] != [range_]:
            share.ranges.append(range_)
        share.meters[one.meter.id] = one.meter
        share.customers[one.customer] = None
        share.asked.append((number, len(share.ranges) - 1))
    if share is not None:
        yield share


def statements(scope: Scope, share: Share) -> list[tuple[str, dict[str, Any]]]:
    """Turn a share into statements and their values; ask for them as `JSONCompactEachRow`."""
    meters = list(share.meters.values())
    values: dict[str, Any] = {
        "account": scope.account,
        "livemode": scope.livemode,
        "meters": list(share.meters),
        "versions": [(one.id, one.dimension_version) for one in meters],
        "customers": list(share.customers),
    }
    if not meters[0].slotted:
        texts = [_of_events(meters[0], place) for place in _places(share)]
    else:
        texts = list(_added_up(_places(share)))
    return [(text, values) for text in texts]


def answers(
    questions: Sequence[PeriodQuery], share: Share, found: Iterable[Row]
) -> Iterator[tuple[int, PeriodUsage]]:
    """Return the number of each question of a share, and its answer from all statements' rows."""
    sums: dict[tuple[int, str, str], PeriodUsage] = {}
    for row in found:
        key = row.place, row.meter, row.customer
        usage, events = sums.get(key, NOTHING)
        sums[key] = PeriodUsage(SUM.combine(usage, row.usage), events + row.events)
    for number, place in share.asked:
        one = questions[number]
        answer = sums.get((place, one.meter.id, one.customer), NOTHING)
        # A slot of a meter that counts adds up values that nobody asks for.
        counts = one.meter.formula == "count"
        yield number, PeriodUsage(Decimal(answer.events), answer.events) if counts else answer


def _likeness(question: PeriodQuery) -> tuple[str, int, int]:
    apart = "" if question.meter.slotted else question.meter.id
    return apart, question.start, question.end


def _fits(share: Share, meter: Meter, range_: Window) -> bool:
    """Tell whether a question has its place in a share."""
    added_up = meter.slotted and next(iter(share.meters.values())).slotted
    known = range_ == share.ranges[-1]
    return (
        (added_up or meter.id in share.meters)
        and len(share.asked) < USAGE_PERIODS_ITEMS_MAX
        and (known or len(share.ranges) < USAGE_PERIODS_PARTS_MAX)
    )


def _places(share: Share) -> list[_At]:
    return [_At(place, range_) for place, range_ in enumerate(share.ranges)]


def _added_up(places: Sequence[_At]) -> Iterator[str]:
    """Write the statements for meters whose usage adds up: slots, and events at both ends."""
    inner: list[_At] = []
    edges: list[_At] = []
    for place, (start, end) in places:
        first, last = slot_at(start), end - end % SLOT
        if first < last:
            inner.append(_At(place, Window(first, last)))
            ends = [Window(start, first), Window(last, end)]
            edges += [_At(place, edge) for edge in ends if edge.start < edge.end]
        else:
            edges.append(_At(place, Window(start, end)))
    if inner:
        seconds = [_At(place, Window(*(one // 1_000 for one in range_))) for place, range_ in inner]
        yield STATEMENT.substitute(
            place=_place(seconds, SLOT_INSTANT),
            counted="sum(events)",
            used="sum(value)",
            rows=SLOTS.substitute(within=_within(seconds, IN_SLOTS)),
            threads=1,
        )
    if edges:
        yield STATEMENT.substitute(
            place=_place(edges, EVENT_INSTANT),
            counted="sum(sign)",
            used="sum(toDecimal256(value, 15) * sign)",
            rows=EVENTS.substitute(within=_within(edges, IN_EVENTS)),
            threads=1,
        )


def _of_events(meter: Meter, at: _At) -> str:
    """Write the statement for a meter of which every event in a range has to be looked at."""
    size = meter.event_time_window
    reach = at.range if size is None else widen(*at.range, size)
    rows = KEPT.substitute(within=IN_EVENTS.substitute(reach._asdict()))
    if size is not None:
        rows = RECEIVED_LAST.substitute(
            kept=rows,
            length=MILLISECONDS[size],
            within=IN_EVENTS.substitute(at.range._asdict()),
        )
    return STATEMENT.substitute(
        place=at.place, counted="count()", used=USED[meter.formula], rows=rows, threads=0
    )


def _within(some: Iterable[_At], between: Template) -> str:
    return " OR ".join(between.substitute(range_._asdict()) for _, range_ in some)


def _place(some: Sequence[_At], instant: str) -> str:
    """Write the number of the range, or of each of several, that an instant counts in."""
    places = [one.place for one in some]
    if len(set(places)) == 1:
        return str(places[0])
    starts, ends = ([getattr(one.range, name) for one in some] for name in ("start", "end"))
    return PLACES.substitute(instant=instant, places=places, starts=starts, ends=ends)
