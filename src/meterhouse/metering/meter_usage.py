"""Meter usage: the question, which rows of the usage store answer it, and the answer.

What a reader may rely on:

- An event counts in the 15-minute slot that its timestamp falls into, and a slot counts where its
  beginning lies. A question that is `exact` knows no slots: an event counts where its own
  timestamp lies.
- A filter lets an event through whose payload has one of its values; of several filters all must.
  Where an event time window chooses one event of many, it chooses before the filters do, so that
  the groups of a meter add up to its total.
- Windows are those of the zone, cut to the range. One in which nothing counts is left out. Without
  windows and without groups there is exactly one row for each question, 0 where nothing counts.
- Rows are in the order of their windows, then of the questions, then of their groups.

A question becomes a *plan* of selections. Each is answered by one statement: from `usage_slots`
where slots tell all that is needed, else from `events`.

https://docs.stripe.com/billing/subscriptions/usage-based/analytics
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import chain
from typing import NamedTuple

import msgspec

from meterhouse import zones
from meterhouse.metering.aggregation import SUM
from meterhouse.metering.model import EventTimeWindow, Formula, Meter, Scope
from meterhouse.metering.value import ZERO
from meterhouse.metering.window import (
    GroupingWindow,
    Stretch,
    Window,
    slot_at,
    stretches,
    widen,
    zoned,
)


class Filter(msgspec.Struct, frozen=True):
    """Lets through what has one of `values` under `key`, or, if it `excludes`, what has none."""

    key: str
    values: tuple[str, ...]
    excludes: bool = False


class MeterQuestion(msgspec.Struct, frozen=True):
    """What is asked about one meter. Dimensions are keys that the meter declares."""

    meter: Meter
    dimension_group_by_keys: tuple[str, ...] = ()
    dimension_filters: tuple[Filter, ...] = ()
    tenant_group_by_keys: tuple[str, ...] = ()
    tenant_filters: tuple[Filter, ...] = ()

    @property
    def groups(self) -> tuple[str, ...]:
        """The keys by which usage is told apart: dimensions, then tenants."""
        return self.dimension_group_by_keys + self.tenant_group_by_keys

    @property
    def filters(self) -> tuple[Filter, ...]:
        """All filters."""
        return self.dimension_filters + self.tenant_filters


class MeterUsageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The question how much `customer` used in `[start, end)`, milliseconds since the epoch.

    `together` asks for the usage of all these meters in one number; no question has groups or
    filters then. Only an overview (`metering.overview`) asks about all customers, which is None, or
    what was known `as_of` an instant: what had been received by then, of cancellations as well.
    """

    scope: Scope
    customer: str | None
    start: int
    end: int
    questions: tuple[MeterQuestion, ...]
    window: GroupingWindow | None = None
    zone: str = "UTC"
    together: bool = False
    exact: bool = False
    as_of: int | None = None


class UsageRow(msgspec.Struct, frozen=True, gc=False):
    """The usage of one window, or of the whole range, and of one group.

    `question` is the number of the question that it answers; None where it answers all together.
    """

    question: int | None
    start: int
    end: int
    value: Decimal
    dimensions: dict[str, str]
    tenants: dict[str, str]


class Condition(NamedTuple):
    """A filter of a selection; `place` is that of its key among the selection's keys."""

    place: int
    values: tuple[str, ...]
    excludes: bool


class Selection(msgspec.Struct, frozen=True):
    """What one statement adds up: slots of one version of some meters, or the events of a meter.

    `questions` are the numbers of those that it answers, in the order of `meters`. Where it is
    `by_meter`, the first value of a group that it finds is the meter's id. `keys` are payload keys,
    in the order in which a row has their values. `conditions` and `groups` name them by their
    places.
    """

    questions: tuple[int, ...]
    slotted: bool
    meters: tuple[str, ...]
    by_meter: bool
    formula: Formula
    event_time_window: EventTimeWindow | None
    version: int
    keys: tuple[str, ...]
    conditions: tuple[Condition, ...]
    groups: tuple[int, ...]


class Plan(msgspec.Struct, frozen=True):
    """How a question is answered: from rows in `[start, end)`, cut into windows by `stretches`."""

    start: int
    end: int
    stretches: tuple[Stretch, ...]
    selections: tuple[Selection, ...]

    def reach(self, selection: Selection) -> Window:
        """Return the range whose events decide what a selection comes to.

        It is wider than the plan's where the range cuts an event time window, because the event
        that counts there may lie outside the range.
        """
        if selection.event_time_window is None:
            return Window(self.start, self.end)
        return widen(self.start, self.end, selection.event_time_window)


class Found(msgspec.Struct, frozen=True, gc=False):
    """One row of what a selection finds: the number of a window, the values of its groups."""

    window: int
    groups: tuple[str, ...]
    usage: Decimal


_NOTHING = (Found(0, (), ZERO),)


def windows_of(query: MeterUsageQuery) -> Sequence[Window]:
    """Return the whole windows that a question is about; where it wants none, the range."""
    if query.window is None:
        return [Window(query.start, query.end)]
    return zoned(query.start, query.end, query.window, zones.zone(query.zone))


def plan(query: MeterUsageQuery, windows: Sequence[Window]) -> Plan:
    """Decide from which rows a question is answered; `windows` are those of `windows_of`.

    A range that holds no slot has no stretches, and nothing is found in it.
    """
    start, end = query.start, query.end
    edges = [window.start for window in windows] + [window.end for window in windows[-1:]]
    if not query.exact:
        start, end = slot_at(start), slot_at(end)
        edges = [slot_at(edge) for edge in edges]
    return Plan(start, end, tuple(stretches(edges)), tuple(_selections(query)))


def answer(
    query: MeterUsageQuery, windows: Sequence[Window], found: Sequence[Iterable[Found]]
) -> list[UsageRow]:
    """Make the answer of what the selections of the plan have found, one after the other."""
    found = [_added(chain.from_iterable(found))] if query.together else _told_apart(query, found)
    rows = [
        (one.window, number, one)
        for number, some in enumerate(found)
        for one in (some if _cut(query, number) else list(some) or _NOTHING)
    ]
    rows.sort(key=lambda row: (row[0], row[1], row[2].groups))
    spans = [(max(one.start, query.start), min(one.end, query.end)) for one in windows]
    if query.together:
        return [UsageRow(None, *spans[window], one.usage, {}, {}) for window, _, one in rows]
    keys = [(one.dimension_group_by_keys, one.tenant_group_by_keys) for one in query.questions]
    made: list[UsageRow] = []
    for window, number, one in rows:
        dimensions, tenants = keys[number]
        made.append(
            UsageRow(
                number,
                *spans[window],
                one.usage,
                dict(zip(dimensions, one.groups, strict=False)),
                dict(zip(tenants, one.groups[len(dimensions) :], strict=True)) if tenants else {},
            )
        )
    return made


def _selections(query: MeterUsageQuery) -> list[Selection]:
    selections = [
        _selection(number, one, slotted=_slotted(one, query))
        for number, one in enumerate(query.questions)
    ]
    return _joined(selections, by_meter=not query.together)


def _slotted(question: MeterQuestion, query: MeterUsageQuery) -> bool:
    """Tell whether the slots of the question's meter know all that is asked."""
    tenants = question.tenant_group_by_keys or question.tenant_filters
    summed = question.meter.slotted and not query.exact and query.as_of is None
    return summed and not tenants


def _selection(number: int, question: MeterQuestion, *, slotted: bool) -> Selection:
    meter = question.meter
    used = (*question.groups, *(one.key for one in question.filters))
    keys = meter.dimension_keys or () if slotted else tuple(dict.fromkeys(used))
    return Selection(
        questions=(number,),
        slotted=slotted,
        meters=(meter.id,),
        by_meter=False,
        formula=meter.formula,
        event_time_window=meter.event_time_window,
        version=meter.dimension_version,
        keys=keys,
        conditions=tuple(
            Condition(keys.index(one.key), one.values, one.excludes) for one in question.filters
        ),
        groups=tuple(keys.index(key) for key in question.groups),
    )


def _joined(selections: Iterable[Selection], *, by_meter: bool) -> list[Selection]:
    """Let one statement add up all meters whose slots differ in nothing else."""
    alike: dict[Selection, list[Selection]] = {}
    for one in selections:
        anyone = one
        if one.slotted:
            anyone = msgspec.structs.replace(one, questions=(), meters=(), keys=())
        alike.setdefault(anyone, []).append(one)
    return [
        msgspec.structs.replace(
            max(some, key=lambda one: len(one.keys)),
            questions=tuple(number for one in some for number in one.questions),
            meters=tuple(id_ for one in some for id_ in one.meters),
            by_meter=by_meter and len(some) > 1,
        )
        for some in alike.values()
    ]


def _told_apart(query: MeterUsageQuery, found: Sequence[Iterable[Found]]) -> list[Iterable[Found]]:
    """Return what was found for each question."""
    apart: list[Iterable[Found]] = [()] * len(query.questions)
    for selection, some in zip(_selections(query), found, strict=True):
        if not selection.by_meter:
            apart[selection.questions[0]] = some
            continue
        of_meters: dict[str, list[Found]] = {}
        for one in some:
            id_, *groups = one.groups
            of_meters.setdefault(id_, []).append(Found(one.window, tuple(groups), one.usage))
        for number, id_ in zip(selection.questions, selection.meters, strict=True):
            apart[number] = of_meters.get(id_, ())
    return apart


def _added(found: Iterable[Found]) -> list[Found]:
    """Add up what was found, window by window."""
    sums: dict[int, Decimal] = {}
    for one in found:
        sums[one.window] = SUM.combine(sums.get(one.window, SUM.empty), one.usage)
    return [Found(window, (), usage) for window, usage in sums.items()]


def _cut(query: MeterUsageQuery, number: int) -> bool:
    """Tell whether the usage of a question is cut into windows or groups."""
    return query.window is not None or (not query.together and bool(query.questions[number].groups))
