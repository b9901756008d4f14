"""The statements that count usage for bills: of many customers and meters in many ranges at once.

What a reader may rely on, beside what `usage.queries` says:

- What is counted is what `metering.usage.summarize` says of each range, to the millisecond, and how
  many events it is made of.
- Where usage adds up, slots tell of all that lies between two of their edges. Events are asked only
  for what is left at both ends, and only where the slot there has any. Elsewhere, and where events
  have to have dimensions, events tell all.
- A *share* is what a statement of each kind answers. What they find of customers and meters that
  nobody asked about in a range is no part of an answer.

The engine is busy longer with a statement than with the rows of a customer, so there are few of
them, and they are flat.
"""

# ruff: noqa: S608 - the statements are put together from constants and numbers of ours alone

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from string import Template
from typing import Any, NamedTuple, TypeAlias

import msgspec

from meterhouse.limits import USAGE_PERIODS_ITEMS_MAX, USAGE_PERIODS_PARTS_MAX
from meterhouse.metering.aggregation import SUM
from meterhouse.metering.model import Formula, Meter, Scope
from meterhouse.metering.usage import PeriodQuery, PeriodUsage
from meterhouse.metering.window import MILLISECONDS, SLOT, Window, slot_at, widen

STATEMENT = Template("""
SELECT $mark AS mark, meter, customer, $counted AS counted, $used AS used
FROM $rows
GROUP BY mark, meter, customer
SETTINGS $settings
""")

# Of slots, nearly all rows that are read are wanted; and both ends of a range are too few for two
# threads. No index but that of the keys helps to find them, and a look at it takes time.
OF_SLOTS = "max_threads = 1, optimize_move_to_prewhere = 0"
OF_ENDS = "max_threads = 1, use_skip_indexes = 0"
OF_EVENTS = "max_threads = 0"

SLOTS = Template("""usage_slots
WHERE meter IN {meters:Array(String)}
    AND $version
    AND customer IN {customers:Array(String)}
    AND ($within)""")
OF_ONE_VERSION = Template("version = $version")
OF_VERSIONS = "(meter, version) IN {versions:Array(Tuple(String, UInt32))}"
IN_SLOTS = Template("slot >= $start AND slot < $end")
SLOT_INSTANT = "toUnixTimestamp(slot)"

WHOSE = """account = {account:String}
    AND livemode = {livemode:Bool}
    AND meter IN {meters:Array(String)}
    AND customer IN {customers:Array(String)}"""
EVENTS = Template(f"events\nWHERE {WHOSE}\n    AND ($within)$have")
HAVE = Template("\n    AND payload[{key$number:String}] = {member$number:String}")
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

# What marks the parts that hold an instant: its start where no two overlap, else there may be
# several.
MARK = Template("roundDown($instant, $starts)")
MARKS = Template("""arrayJoin(arrayFilter(
        (one, start, end) -> start <= $instant AND $instant < end, $marks, $starts, $ends
    ))""")

USED: Mapping[Formula, str] = {
    "count": "count()",
    "last": "argMax(value, (timestamp, position))",
    "sum": "sum(toDecimal256(value, 15))",
}

NOTHING = PeriodUsage(Decimal(0), 0)


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a statement finds of one customer and one meter in a part of a range."""

    mark: int
    meter: str
    customer: str
    events: int
    usage: Decimal


Read: TypeAlias = Callable[[str, dict[str, Any]], list[Row]]


class Share(NamedTuple):
    """Questions that have statements in common.

    `meters` are several whose usage adds up, or one whose usage does not. `asked` are numbers of
    questions, each with the place of its range among the `ranges`. All of them are about events
    with the same `dimensions`.
    """

    ranges: list[Window]
    meters: dict[str, Meter]
    customers: dict[str, None]
    asked: list[tuple[int, int]]
    dimensions: tuple[tuple[str, str], ...]


class _Part(NamedTuple):
    """A part of the range at a place, in the unit of the rows that tell of it.

    Where it is slots of which the range has only some, `end` is what it has of them.
    """

    place: int
    range: Window
    end: Window | None = None


class _Found(NamedTuple):
    """What is found in the range at a place."""

    place: int
    row: Row


def answer(scope: Scope, questions: Sequence[PeriodQuery], read: Read) -> list[PeriodUsage]:
    """Answer questions of one scope, in their order.

    `read` runs a statement with its values; its answer is asked for as `JSONCompactEachRow`.
    """
    found = [NOTHING] * len(questions)
    for share in _shares(questions):
        for number, usage in _answers(questions, share, _ask(scope, share, read)):
            found[number] = usage
    return found


def _shares(questions: Sequence[PeriodQuery]) -> Iterator[Share]:
    """Share questions out among statements; what is asked about an empty range is left out."""
    numbers = [number for number, one in enumerate(questions) if one.start < one.end]
    numbers.sort(key=lambda number: _likeness(questions[number]))
    share: Share | None = None
    for number in numbers:
        one = questions[number]
        range_ = Window(one.start, one.end)
        if share is None or not _fits(share, one, range_):
            if share is not None:
                yield share
            share = Share([], {}, {}, [], one.dimensions)
        if share.ranges[-1:] != [range_]:
            share.ranges.append(range_)
        share.meters[one.meter.id] = one.meter
        share.customers[one.customer] = None
        share.asked.append((number, len(share.ranges) - 1))
    if share is not None:
        yield share


def _answers(
    questions: Sequence[PeriodQuery], share: Share, found: Iterable[_Found]
) -> Iterator[tuple[int, PeriodUsage]]:
    """Return the number of each question of a share, and its answer."""
    sums: dict[tuple[int, str, str], PeriodUsage] = {}
    for place, row in found:
        key = place, row.meter, row.customer
        usage, events = sums.get(key, NOTHING)
        sums[key] = PeriodUsage(SUM.combine(usage, row.usage), events + row.events)
    for number, place in share.asked:
        one = questions[number]
        answer = sums.get((place, one.meter.id, one.customer), NOTHING)
        # A slot of a meter that counts adds up values that nobody asks for.
        counts = one.meter.formula == "count"
        yield number, PeriodUsage(Decimal(answer.events), answer.events) if counts else answer


def _ask(scope: Scope, share: Share, read: Read) -> Iterator[_Found]:
    """Ask what there is for a share."""
    meters = list(share.meters.values())
    values: dict[str, Any] = {
        "account": scope.account,
        "livemode": scope.livemode,
        "meters": list(share.meters),
        "versions": [(one.id, one.dimension_version) for one in meters],
        "customers": list(share.customers),
    }
    if meters[0].slotted and share.dimensions:
        yield from _with_dimensions(share, values, read)
        return
    if meters[0].slotted:
        yield from _added_up(share, values, read)
        return
    for place, range_ in enumerate(share.ranges):
        for row in read(_of_events(meters[0], range_), values):
            yield _Found(place, row)


def _likeness(question: PeriodQuery) -> tuple[str, tuple[tuple[str, str], ...], int, int]:
    apart = "" if question.meter.slotted else question.meter.id
    return apart, question.dimensions, question.start, question.end


def _fits(share: Share, question: PeriodQuery, range_: Window) -> bool:
    """Tell whether a question has its place in a share."""
    added_up = question.meter.slotted and next(iter(share.meters.values())).slotted
    known = range_ == share.ranges[-1]
    return (
        (added_up or question.meter.id in share.meters)
        and question.dimensions == share.dimensions
        and len(share.asked) < USAGE_PERIODS_ITEMS_MAX
        and (known or len(share.ranges) < USAGE_PERIODS_PARTS_MAX)
    )


def _added_up(share: Share, values: dict[str, Any], read: Read) -> Iterator[_Found]:
    """Add up slots, and then events at those ends of the ranges at which slots tell of some."""
    parts = _marked(part for number, one in enumerate(share.ranges) for part in _parts(number, one))
    ends: dict[_Part, None] = {}
    meters, customers = set(), set()
    for row in read(_of_slots(parts, share.meters.values()), values):
        part = parts[row.mark]
        if part.end is None:
            yield _Found(part.place, row)
        elif row.events:
            ends[_Part(part.place, part.end)] = None
            meters.add(row.meter)
            customers.add(row.customer)
    if ends:
        left = _marked(ends)
        values = values | {"meters": sorted(meters), "customers": sorted(customers)}
        for row in read(_of_ends(left), values):
            yield _Found(left[row.mark].place, row)


def _with_dimensions(share: Share, values: dict[str, Any], read: Read) -> Iterator[_Found]:
    """Add up the events that have the dimensions."""
    parts = _marked(_Part(number, one) for number, one in enumerate(share.ranges))
    have = ""
    for number, (key, member) in enumerate(share.dimensions):
        have += HAVE.substitute(number=number)
        values |= {f"key{number}": key, f"member{number}": member}
    for row in read(_of_ends(parts, have), values):
        yield _Found(parts[row.mark].place, row)


def _parts(place: int, range_: Window) -> Iterator[_Part]:
    """Cut a range into whole slots, and those at its ends of which it has only some."""
    start, end = range_
    first, last = slot_at(start), end - end % SLOT
    if last < first:
        yield _Part(place, _seconds(last, first), range_)
        return
    if start < first:
        yield _Part(place, _seconds(first - SLOT, first), Window(start, first))
    if first < last:
        yield _Part(place, _seconds(first, last))
    if last < end:
        yield _Part(place, _seconds(last, last + SLOT), Window(last, end))


def _seconds(start: int, end: int) -> Window:
    """Return a window of slots as their own instants are: in seconds."""
    return Window(start // 1_000, end // 1_000)


def _marked(parts: Iterable[_Part]) -> dict[int, _Part]:
    """Return parts by what marks them in a statement: their starts, or numbers if any overlap."""
    ordered = sorted(parts, key=lambda part: part.range)
    if _overlap(ordered):
        return dict(enumerate(ordered))
    return {part.range.start: part for part in ordered}


def _overlap(ordered: Iterable[_Part]) -> bool:
    return any(after.range.start < before.range.end for before, after in pairwise(ordered))


def _of_slots(parts: Mapping[int, _Part], meters: Iterable[Meter]) -> str:
    versions = {one.dimension_version for one in meters}
    one = len(versions) == 1
    return STATEMENT.substitute(
        mark=_mark(parts, SLOT_INSTANT),
        counted="sum(events)",
        used="sum(value)",
        rows=SLOTS.substitute(
            version=OF_ONE_VERSION.substitute(version=versions.pop()) if one else OF_VERSIONS,
            within=_within(parts.values(), IN_SLOTS),
        ),
        settings=OF_SLOTS,
    )


def _of_ends(parts: Mapping[int, _Part], have: str = "") -> str:
    """Write the statement that adds up events, where need be those alone that have something."""
    return STATEMENT.substitute(
        mark=_mark(parts, EVENT_INSTANT),
        counted="sum(sign)",
        used="sum(toDecimal256(value, 15) * sign)",
        rows=EVENTS.substitute(within=_within(parts.values(), IN_EVENTS), have=have),
        settings=OF_ENDS,
    )


def _of_events(meter: Meter, range_: Window) -> str:
    """Write the statement for a meter of which every event in a range has to be looked at."""
    size = meter.event_time_window
    reach = range_ if size is None else widen(*range_, size)
    rows = KEPT.substitute(within=IN_EVENTS.substitute(reach._asdict()))
    if size is not None:
        rows = RECEIVED_LAST.substitute(
            kept=rows,
            length=MILLISECONDS[size],
            within=IN_EVENTS.substitute(range_._asdict()),
        )
    return STATEMENT.substitute(
        mark=0, counted="count()", used=USED[meter.formula], rows=rows, settings=OF_EVENTS
    )


def _within(parts: Iterable[_Part], between: Template) -> str:
    """Write that an instant lies in one of some parts; what adjoins is told as one."""
    joined: list[Window] = []
    for part in parts:
        if joined and joined[-1].end == part.range.start:
            joined[-1] = Window(joined[-1].start, part.range.end)
        else:
            joined.append(part.range)
    return " OR ".join(between.substitute(one._asdict()) for one in joined)


def _mark(parts: Mapping[int, _Part], instant: str) -> str:
    """Write what marks the part that an instant lies in, or each of several."""
    marks = list(parts)
    if len(marks) == 1:
        return str(marks[0])
    starts, ends = (
        [getattr(one.range, name) for one in parts.values()] for name in ("start", "end")
    )
    text = MARKS if _overlap(parts.values()) else MARK
    return text.substitute(instant=instant, marks=marks, starts=starts, ends=ends)
