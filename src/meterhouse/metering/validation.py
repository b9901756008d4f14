"""The judge: does an acknowledged event count, and if not, why not.

Events of one kind are judged together, column by column. `STEPS` is the whole judgement, in order;
the first step that objects to an event decides. What a reader may rely on: judging is a function of
the event and the catalog alone. An event is measured against the instant at which it was received,
not against the present, so a late judgement is the same one; that of a customer with a test clock
against the time of that.

The codes are those of Stripe's error reports
(https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api#error-codes). Where
Stripe's sentence is known it stands here word for word.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from hashlib import blake2b
from itertools import compress, repeat
from operator import attrgetter
from typing import Literal, NamedTuple, cast

import msgspec

from meterhouse.limits import (
    DIMENSION_COMBINATIONS_MAX,
    EVENT_FUTURE_MINUTES_MAX,
    EVENT_PAST_DAYS_MAX,
    EVENT_VALUE_DIGITS_MAX,
)
from meterhouse.metering.model import AcceptedEvent, Meter, MeterEvent, RejectedEvent
from meterhouse.metering.value import ONE, InvalidValue, read_value

TimestampProblem = Literal["timestamp_in_future", "timestamp_too_far_in_past"]

_PAST_MAX = EVENT_PAST_DAYS_MAX * 86_400_000
_FUTURE_MAX = EVENT_FUTURE_MINUTES_MAX * 60_000

_position = attrgetter("position")


class Kind(NamedTuple):
    """What events that are judged together have in common; its fields are those of an event."""

    scope: int
    event_name: str
    meter: str | None
    whole: bool


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


class Problem(NamedTuple):
    """Why an event does not count: the code, and a sentence for a person."""

    code: str
    message: str


class Cases:
    """Events of one kind on their way through the steps, with what these have found out so far.

    Everything is a column: `customers` and `values` have an item for each of the `events`, which
    means nothing where a step objected.
    """

    __slots__ = (
        "customers",
        "events",
        "kind",
        "meter",
        "meter_id",
        "payloads",
        "positions",
        "values",
    )

    meter: Meter
    customers: list[str]
    values: list[Decimal]

    def __init__(self, kind: Kind, positions: Sequence[int], events: Sequence[MeterEvent]) -> None:
        self.kind = kind
        self.positions = positions
        self.events = events
        self.payloads = [event.payload for event in events]
        self.meter_id: str | None = None


Problems = dict[int, Problem]  # by the numbers of the events in their cases


def find_meter(cases: Cases, catalog: Catalog) -> Problems:
    """Find the meter: the one that the requests were checked against, else by the event name.

    A meter that a request was checked against counts even where it was deactivated since: the
    sender was told that the event is in.
    """
    scope, event_name, checked, _ = cases.kind
    meter = catalog.meter_of(scope, event_name, checked)
    if meter is None:
        message = f"No meter was found matching event_name {event_name}."
        return dict.fromkeys(range(len(cases.events)), Problem("no_meter", message))
    cases.meter = meter
    cases.meter_id = meter.id
    if checked is None and not meter.active:
        message = f"The meter matching event_name {event_name} has been deactivated."
        return dict.fromkeys(range(len(cases.events)), Problem("archived_meter", message))
    return {}


def check_timestamps(cases: Cases, catalog: Catalog) -> Problems:
    """Check that the use happened neither too long ago nor in the future."""
    if catalog.frozen:
        return _check_by_clocks(cases, catalog.frozen)
    ages = [event.received_at - event.timestamp for event in cases.events]
    if max(ages) <= _PAST_MAX and min(ages) >= -_FUTURE_MAX:
        return {}
    return {
        number: _timestamp_problem(event.received_at, code)
        for number, event in enumerate(cases.events)
        if event.timed_by != "clock"
        and (code := timestamp_problem(event.timestamp, event.received_at))
    }


def _check_by_clocks(cases: Cases, frozen: Mapping[tuple[int, str], int]) -> Problems:
    """Check timestamps where some customers live by test clocks, each by its own present.

    What came without a timestamp happened then.
    """
    scope, key = cases.kind.scope, cases.meter.customer_key
    events = list(cases.events)
    problems: Problems = {}
    for number, event in enumerate(events):
        clocked = frozen.get((scope, event.payload.get(key, "")))
        if event.timed_by == "clock":
            continue
        if clocked is not None and event.timed_by == "receipt":
            events[number] = msgspec.structs.replace(event, timestamp=clocked, timed_by="clock")
            continue
        now = event.received_at if clocked is None else clocked
        code = timestamp_problem(event.timestamp, now)
        if code:
            problems[number] = _timestamp_problem(now, code)
    cases.events = events
    return problems


def read_customers(cases: Cases, _: Catalog) -> Problems:
    """Read the customers' ids from the payloads; an empty one is none."""
    key = cases.meter.customer_key
    cases.customers = [payload.get(key, "") for payload in cases.payloads]
    if all(cases.customers):
        return {}
    message = f"Customer mapping key {key} not found in payload."
    problem = Problem("meter_event_no_customer_defined", message)
    return {number: problem for number, one in enumerate(cases.customers) if not one}


def find_customers(cases: Cases, catalog: Catalog) -> Problems:
    """Find the customers, who must have existed when the events were received."""
    scope, known = cases.kind.scope, catalog.customers
    # None tells that one exists; whoever else there is was deleted, or never was.
    others = {one for one in set(cases.customers) if known.get((scope, one), 0) is not None}
    if not others:
        return {}
    return {
        number: problem
        for number, one in enumerate(cases.customers)
        if one in others and (problem := _customer_problem(one, cases.events[number], known))
    }


def find_values(cases: Cases, _: Catalog) -> Problems:
    """Read the values from the payloads. A meter that counts keeps a good one and needs none."""
    key, whole = cases.meter.value_key, cases.kind.whole
    texts = [payload.get(key, "") for payload in cases.payloads]
    read = {text: read_value(text, whole=whole) for text in set(texts)}
    if cases.meter.formula == "count":
        read = {text: value if isinstance(value, Decimal) else ONE for text, value in read.items()}
    cases.values = [cast("Decimal", read[text]) for text in texts]
    problems = {
        text: _value_problem(text, value, cases)
        for text, value in read.items()
        if isinstance(value, InvalidValue)
    }
    if not problems:
        return {}
    return {number: problems[text] for number, text in enumerate(texts) if text in problems}


def check_dimensions(cases: Cases, _: Catalog) -> Problems:
    """Check that every dimension that the meter declares has a value that is not empty."""
    missing: defaultdict[int, list[str]] = defaultdict(list)
    for key in cases.meter.dimension_keys or ():
        values = [payload.get(key) for payload in cases.payloads]
        if not all(values):
            for number, value in enumerate(values):
                if not value:
                    missing[number].append(key)
    return {
        number: Problem(
            "missing_dimension_payload_keys",
            f"Dimension payload keys {', '.join(keys)} not found in payload.",
        )
        for number, keys in missing.items()
    }


STEPS: tuple[Callable[[Cases, Catalog], Problems], ...] = (
    find_meter,
    check_timestamps,
    read_customers,
    find_customers,
    find_values,
    check_dimensions,
)


def by_kind(events: Iterable[tuple[int, MeterEvent]]) -> list[Cases]:
    """Make cases of events, which come with their positions and in the order of these."""
    kinds: defaultdict[tuple[int, str, str | None, bool], list[tuple[int, MeterEvent]]]
    kinds = defaultdict(list)
    for pair in events:
        _, event = pair
        kinds[event.scope, event.event_name, event.meter, event.whole].append(pair)
    return [Cases(Kind(*kind), *zip(*pairs, strict=True)) for kind, pairs in kinds.items()]


def judge(
    kinds: Iterable[Cases], catalog: Catalog
) -> tuple[list[AcceptedEvent], list[RejectedEvent]]:
    """Judge acknowledged events by all the `STEPS`; return them in the order of their positions.

    The number of dimension combinations is not judged here, because it depends on the events
    before: see `dimension_digest` and `reject_combination`.
    """
    accepted: list[AcceptedEvent] = []
    rejected: list[RejectedEvent] = []
    for cases in kinds:
        problems = _problems(cases, catalog)
        rejected += [
            RejectedEvent(cases.positions[number], cases.events[number], cases.meter_id, *problem)
            for number, problem in problems.items()
        ]
        if len(problems) < len(cases.events):
            accepted += _without(problems, cases)
    accepted.sort(key=_position)
    rejected.sort(key=_position)
    return accepted, rejected


def _problems(cases: Cases, catalog: Catalog) -> Problems:
    problems: Problems = {}
    for step in STEPS:
        problems = step(cases, catalog) | problems
        if len(problems) == len(cases.events):
            break
    return problems


def _without(problems: Problems, cases: Cases) -> Iterable[AcceptedEvent]:
    meter = repeat(cases.meter.id)
    columns = (cases.positions, cases.events, meter, cases.customers, cases.values)
    accepted = map(AcceptedEvent, *columns)
    if not problems:
        return accepted
    return compress(accepted, [number not in problems for number in range(len(cases.events))])


def earliest_timestamp(now: int) -> int:
    """Return the earliest timestamp, in milliseconds, that an event received at `now` may have."""
    return now - _PAST_MAX


def timestamp_problem(timestamp: int, now: int) -> TimestampProblem | None:
    """Return the code of what is wrong with `timestamp` at `now`, both in milliseconds."""
    age = now - timestamp
    if age > _PAST_MAX:
        return "timestamp_too_far_in_past"
    if age < -_FUTURE_MAX:
        return "timestamp_in_future"
    return None


def _timestamp_problem(now: int, code: str) -> Problem:
    if code == "timestamp_in_future":
        return Problem(code, "The event timestamp cannot be in future.")
    earliest = -(-earliest_timestamp(now) // 1000)
    return Problem(
        code,
        f"The event timestamp cannot be more than {EVENT_PAST_DAYS_MAX} days in past. "
        f"Expected a timestamp greater than or equal to {earliest}.",
    )


def _customer_problem(
    customer: str, event: MeterEvent, known: Mapping[tuple[int, str], int | None]
) -> Problem | None:
    """Say what is wrong with a customer who does not simply exist."""
    deleted_at = known.get((event.scope, customer))
    if deleted_at is None:
        message = f"No customer was found matching {customer}."
    elif deleted_at > event.received_at:
        return None
    else:
        message = f"The customer {customer} has been deleted."
    return Problem("meter_event_customer_not_found", message)


def _value_problem(text: str, value: InvalidValue, cases: Cases) -> Problem:
    if not text:
        message = f"Value settings key {cases.meter.value_key} not found in payload."
        return Problem("meter_event_value_not_found", message)
    if value is InvalidValue.TOO_MANY_DIGITS:
        message = (
            f"The value in the event payload can have at most {EVENT_VALUE_DIGITS_MAX} digits. "
            f"Received {text}."
        )
    else:
        kind = "whole" if cases.kind.whole else "decimal"
        message = f"The value in the event payload must be a {kind} number. Received {text}."
    return Problem(value.code, message)


def dimension_digest(meter: Meter, payload: Mapping[str, str]) -> int:
    """Return a number of 63 bits that stands for the values of the meter's dimensions.

    The payload has all the keys: it is that of an accepted event.
    """
    values = [payload[key].encode() for key in meter.dimension_keys or ()]
    # The length in front keeps ("a", "bc") apart from ("ab", "c").
    text = b"".join([b"%d:%b" % (len(value), value) for value in values])
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little") >> 1


def reject_combination(accepted: AcceptedEvent) -> RejectedEvent:
    """Reject an event whose new combination of dimension values would be one too many."""
    return RejectedEvent(
        accepted.position,
        accepted.event,
        accepted.meter,
        "meter_event_dimension_count_too_high",
        f"The customer {accepted.customer} has reached the limit of {DIMENSION_COMBINATIONS_MAX} "
        "combinations of dimension values on this meter.",
    )
