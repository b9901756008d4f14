"""The judge: does an acknowledged event count, and if not, why not.

Events are judged together, column by column: Python looks at what is distinct among them (names,
customers, texts of values), never at one event after the other. `STEPS` is the whole judgement, in
order; the first step that objects to an event decides. What a reader may rely on: judging is a
function of the event and the catalog alone. An event is measured against the instant at which it
was received, not against the present, so a late judgement is the same one; that of a customer with
a test clock against the time of that.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from hashlib import blake2b
from typing import NamedTuple, Self

import msgspec
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from meterhouse.metering.coded import NONE, Coded, Mask, Numbers, distinct, empty
from meterhouse.metering.columns import VALUE, Events
from meterhouse.metering.model import Meter, TimedBy
from meterhouse.metering.problem import (
    FUTURE_MAX,
    PAST_MAX,
    Problem,
    customer_problem,
    meter_problem,
    missing_dimensions,
    no_customer,
    untimely,
    value_problem,
)
from meterhouse.metering.value import ONE, read_value

_NEVER = 2**62  # an instant that never comes


class Catalog(msgspec.Struct, frozen=True):
    """What judging needs to know. It covers all that the events to be judged name.

    `meters` are all of them by id. `active` and `archived` find a meter by scope and event name;
    where several archived meters share a name it is the one deactivated last. `customers` are the
    known ones by scope and id, each with the instant of its deletion or None; `frozen` tells what
    time it is for those who live by a test clock.
    """

    meters: Mapping[str, Meter]
    active: Mapping[tuple[int, str], Meter]
    archived: Mapping[tuple[int, str], Meter]
    customers: Mapping[tuple[int, str], int | None]
    frozen: Mapping[tuple[int, str], int] = {}

    def meter_of(self, scope: int, event_name: str, checked: str | None) -> Meter | None:
        """Return the meter that a request was checked against, else the one of an event name."""
        if checked is not None:
            return self.meters[checked]
        name = (scope, event_name)
        return self.active.get(name) or self.archived.get(name)


class Objections(NamedTuple):
    """What a step has against some `events`: of each the number of its problem among `problems`.

    What it has against events that an earlier step objected to does not matter.
    """

    events: Numbers
    numbers: Numbers
    problems: Sequence[Problem]


_NO_OBJECTIONS = Objections(np.array([], np.int64), np.array([], np.int64), ())


class Accepted(NamedTuple):
    """Events that count: whose usage of which meter, and how much.

    A value is 1 on a meter that counts and has no value in its payload to keep.
    """

    events: Events
    meters: Coded[Meter]
    customers: Coded[str]
    values: pa.Decimal128Array

    def take(self, numbers: Numbers) -> "Accepted":
        """Return some of them."""
        return Accepted(
            self.events.take(numbers),
            self.meters.take(numbers),
            self.customers.take(numbers),
            self.values.take(pa.array(numbers)),
        )


class Rejected(NamedTuple):
    """Events that do not count, and why not. The meter is `NONE` where none was found."""

    events: Events
    meters: Coded[Meter]
    problems: Coded[Problem]

    @property
    def codes(self) -> Coded[str]:
        """The codes of their problems."""
        places = {
            code: number
            for number, code in enumerate({one.code: 0 for one in self.problems.values})
        }
        numbers = np.array([places[one.code] for one in self.problems.values], np.int64)
        return Coded(numbers[self.problems.numbers], list(places))

    @classmethod
    def joined(cls, one: Self, other: Self) -> Self:
        """Return the events of both."""
        return cls(
            one.events.joined(other.events),
            one.meters.joined(other.meters),
            one.problems.joined(other.problems),
        )


class Cases:
    """Events on their way through the steps, with what these have found out so far.

    Everything is a column and has an item for each event. The item means nothing where a step
    objected: `standing` tells the others apart.
    """

    meters: Coded[Meter]
    values: pa.Decimal128Array

    def __init__(self, events: Events) -> None:
        self.events = events
        self.standing: Mask = np.ones(len(events), np.bool_)
        self.problems = Coded[Problem](np.full(len(events), NONE), ())

    @cached_property
    def customers(self) -> Coded[str]:
        """The customers that the payloads name for the meters, empty where they name none."""
        keys = [meter.customer_key for meter in self.meters.values]
        return self.events.coded_values(keys, self.meters.numbers)

    @cached_property
    def customer_numbers(self) -> tuple[list[tuple[int, str]], Numbers]:
        """The distinct customers of all scopes, and of each event the number of its own."""
        scopes, names = self.events.scopes, self.customers
        [scope, name], numbers = distinct(scopes.numbers, names.numbers)
        found = zip(scope.tolist(), name.tolist(), strict=True)
        return [(scopes.values[one], names.values[two]) for one, two in found], numbers

    def of_meters(self, values: Sequence[int]) -> Numbers:
        """Return of each event what stands at its meter's place; without a meter it is 0."""
        found: Numbers = np.array([*values, 0], np.int64)[self.meters.numbers]
        return found

    def object(self, objections: Objections) -> None:
        """Note what a step has found, where no earlier one has objected."""
        new = self.standing[objections.events]
        events, told = objections.events[new], len(self.problems.values)
        self.problems.numbers[events] = objections.numbers[new] + told
        problems = (*self.problems.values, *objections.problems)
        self.problems = self.problems._replace(values=problems)
        self.standing[events] = False


def find_meter(cases: Cases, catalog: Catalog) -> Objections:
    """Find the meter: the one that the requests were checked against, else by the event name.

    A meter that a request was checked against counts even where it was deactivated since: the
    sender was told that the event is in.
    """
    of, kinds = cases.events.kinds
    found = [catalog.meter_of(*kind) for kind in kinds]
    known = {meter.id: meter for meter in found if meter is not None}
    places = {id_: number for number, id_ in enumerate(known)}
    numbers = [NONE if meter is None else places[meter.id] for meter in found]
    cases.meters = Coded(np.array(numbers, np.int64)[of], list(known.values()))
    wrong = [
        (number, problem)
        for number, (kind, meter) in enumerate(zip(kinds, found, strict=True))
        if (problem := meter_problem(kind, meter)) is not None
    ]
    return _of_distinct(of, wrong, len(kinds))


def check_timestamps(cases: Cases, catalog: Catalog) -> Objections:
    """Check that the use happened neither too long ago nor in the future.

    Customers with a test clock have a present of their own. What came without a timestamp happened
    then.
    """
    events = cases.events
    now, timestamps = events.received, events.timestamps
    ages = now - timestamps
    if not catalog.frozen and _timely(ages).all():
        return _NO_OBJECTIONS
    if catalog.frozen:
        customers, of = cases.customer_numbers
        clocks = np.array([catalog.frozen.get(one, NONE) for one in customers], np.int64)[of]
        clocked = (clocks != NONE) & cases.standing
        now = np.where(clocked, clocks, now)
        receipt = clocked & _timed_by(events, "receipt")
        timestamps = np.where(receipt, clocks, timestamps)
        cases.events = events.timed(timestamps)
        ages = now - timestamps
    wrong = np.flatnonzero(~_timely(ages) & ~_timed_by(events, "clock"))
    [instants, late], of = distinct(now[wrong], (ages[wrong] > 0).astype(np.int64))
    problems = [untimely(*pair) for pair in zip(instants.tolist(), late.tolist(), strict=True)]
    return Objections(wrong, of, problems)


def read_customers(cases: Cases, _: Catalog) -> Objections:
    """Read the customers' ids from the payloads; an empty one is none."""
    names = cases.customers
    missing = [number for number, name in enumerate(names.values) if not name]
    if not missing:
        return _NO_OBJECTIONS
    wrong = np.flatnonzero(names.numbers == missing[0])
    problems = [no_customer(meter) for meter in cases.meters.values]
    return Objections(wrong, cases.meters.numbers[wrong], problems)


def find_customers(cases: Cases, catalog: Catalog) -> Objections:
    """Find the customers; one who was deleted before the event was received counts no more."""
    customers, of = cases.customer_numbers
    known = catalog.customers
    deleted = [known.get(one, NONE) for one in customers]
    if all(at is None for at in deleted):
        return _NO_OBJECTIONS
    instants = np.array([_NEVER if at is None else at for at in deleted], np.int64)
    wrong = np.flatnonzero(instants[of] <= cases.events.received)
    problems = [
        customer_problem(customer, known=at != NONE)
        for (_, customer), at in zip(customers, deleted, strict=True)
    ]
    return Objections(wrong, of[wrong], problems)


def find_values(cases: Cases, _: Catalog) -> Objections:
    """Read the values from the payloads. A meter that counts keeps a good one and needs none."""
    meters, events = cases.meters, cases.events
    keys = [meter.value_key for meter in meters.values]
    texts = events.coded_values(keys, meters.numbers)
    whole = events.which([head.whole for head in events.heads.values]).astype(np.int64)
    [text, is_whole, of_meter], of = distinct(
        texts.numbers, whole, np.where(cases.standing, meters.numbers, 0)
    )
    read: list[Decimal] = []
    wrong: list[tuple[int, Problem]] = []
    for number, one in enumerate(
        zip(text.tolist(), is_whole.tolist(), of_meter.tolist(), strict=True)
    ):
        sent, meter = texts.values[one[0]], meters.values[one[2]]
        value = read_value(sent, whole=bool(one[1]))
        problem = value_problem(sent, value, meter, whole=bool(one[1]))
        read.append(value if isinstance(value, Decimal) else ONE)
        if problem is not None:
            wrong.append((number, problem))
    cases.values = pa.array(read, VALUE).take(pa.array(of))
    return _of_distinct(of, wrong, len(read))


def check_dimensions(cases: Cases, _: Catalog) -> Objections:
    """Check that every dimension that the meter declares has a value that is not empty."""
    meters = cases.meters
    missing = np.zeros(len(cases.events), np.int64)  # a bit for each place among the dimensions
    for place, values in enumerate(dimension_values(cases.events, meters)):
        declared = cases.of_meters(
            [len(meter.dimension_keys or ()) > place for meter in meters.values]
        )
        missing |= (empty(values) & (declared == 1)).astype(np.int64) << place
    wrong = np.flatnonzero(missing)
    if not len(wrong):
        return _NO_OBJECTIONS
    [bits, of_meter], of = distinct(missing[wrong], meters.numbers[wrong])
    problems = [
        missing_dimensions(meters.values[meter], places)
        for places, meter in zip(bits.tolist(), of_meter.tolist(), strict=True)
    ]
    return Objections(wrong, of, problems)


STEPS: tuple[Callable[[Cases, Catalog], Objections], ...] = (
    find_meter,
    check_timestamps,
    read_customers,
    find_customers,
    find_values,
    check_dimensions,
)


def judge(events: Events, catalog: Catalog) -> tuple[Accepted, Rejected]:
    """Judge acknowledged events by all the `STEPS`; both keep the order of the events.

    The number of dimension combinations is not judged here, because it depends on the events
    before: see `dimension_digest` and `reject_combination`.
    """
    cases = Cases(events)
    for step in STEPS:
        cases.object(step(cases, catalog))
        if not cases.standing.any():
            break
    return _accepted(cases), _rejected(cases)


def _accepted(cases: Cases) -> Accepted:
    if not cases.standing.any():
        nothing = np.array([], np.int64)
        values = pa.array([], VALUE)
        return Accepted(cases.events.take(nothing), Coded(nothing, ()), Coded(nothing, ()), values)
    whole = Accepted(cases.events, cases.meters, cases.customers, cases.values)
    return whole if cases.standing.all() else whole.take(np.flatnonzero(cases.standing))


def _rejected(cases: Cases) -> Rejected:
    wrong = np.flatnonzero(~cases.standing)
    return Rejected(cases.events.take(wrong), cases.meters.take(wrong), cases.problems.take(wrong))


def _of_distinct(
    of: Numbers, wrong: Sequence[tuple[int, Problem]], distinct_values: int
) -> Objections:
    """Object to the events whose distinct value, by its number, is `wrong`."""
    if not wrong:
        return _NO_OBJECTIONS
    places = np.full(distinct_values, NONE)
    places[[number for number, _ in wrong]] = np.arange(len(wrong))
    numbers = places[of]
    events = np.flatnonzero(numbers != NONE)
    return Objections(events, numbers[events], [problem for _, problem in wrong])


def _timed_by(events: Events, word: TimedBy) -> Mask:
    return events.which([head.timed_by == word for head in events.heads.values])


def _timely(ages: Numbers) -> Mask:
    timely: Mask = (ages <= PAST_MAX) & (ages >= -FUTURE_MAX)
    return timely


def dimension_values(events: Events, meters: Coded[Meter]) -> list[pa.Array]:
    """Return, for each place among the dimensions of meters, the values that events have there.

    They are empty where there is none.
    """
    keys = [meter.dimension_keys or () for meter in meters.values]
    return [
        events.values([some[place] if place < len(some) else None for some in keys], meters.numbers)
        for place in range(max(map(len, keys), default=0))
    ]


def dimension_digest(values: Sequence[str]) -> int:
    """Return a number of 63 bits that stands for the values of a meter's dimensions, in order."""
    encoded = [value.encode() for value in values]
    # The length in front keeps ("a", "bc") apart from ("ab", "c").
    text = b"".join([b"%d:%b" % (len(value), value) for value in encoded])
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little") >> 1
