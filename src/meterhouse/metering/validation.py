"""The judge: does an acknowledged event count, and if not, why not.

`STEPS` is the whole judgement, in order; the first step that objects decides. What a reader may
rely on: judging is a function of the event and the catalog alone. An event is measured against the
instant at which it was received, not against the present, so a late judgement is the same one.

The codes are those of Stripe's error reports
(https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api#error-codes). Where
Stripe's sentence is known it stands here word for word.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from hashlib import blake2b
from typing import Literal, NamedTuple

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


class Catalog(msgspec.Struct, frozen=True):
    """What judging needs to know. It covers all that the events to be judged name.

    `meters` are all of them by id. `active` and `archived` find a meter by scope and event name;
    where several archived meters share a name it is the one deactivated last. `customers` are the
    known ones by scope and id, each with the instant of its deletion or None.
    """

    meters: Mapping[str, Meter]
    active: Mapping[tuple[int, str], Meter]
    archived: Mapping[tuple[int, str], Meter]
    customers: Mapping[tuple[int, str], int | None]


class Problem(NamedTuple):
    """Why an event does not count: the code, and a sentence for a person."""

    code: str
    message: str


class Case:
    """An event on its way through the steps, with what they have found out so far."""

    __slots__ = ("catalog", "customer", "event", "meter", "meter_id", "value")

    meter: Meter
    customer: str
    value: Decimal

    def __init__(self, event: MeterEvent, catalog: Catalog) -> None:
        self.event = event
        self.catalog = catalog
        self.meter_id: str | None = None


def find_meter(case: Case) -> Problem | None:
    """Find the meter: the one that the request was checked against, else by the event name.

    A meter that a request was checked against counts even where it was deactivated since: the
    sender was told that the event is in.
    """
    event, catalog = case.event, case.catalog
    if event.meter is not None:
        meter: Meter | None = catalog.meters[event.meter]
    else:
        name = (event.scope, event.event_name)
        meter = catalog.active.get(name) or catalog.archived.get(name)
    if meter is None:
        message = f"No meter was found matching event_name {event.event_name}."
        return Problem("no_meter", message)
    case.meter = meter
    case.meter_id = meter.id
    if event.meter is None and not meter.active:
        message = f"The meter matching event_name {event.event_name} has been deactivated."
        return Problem("archived_meter", message)
    return None


def check_timestamp(case: Case) -> Problem | None:
    """Check that the use happened neither too long ago nor in the future."""
    event = case.event
    code = timestamp_problem(event.timestamp, event.received_at)
    if code is None:
        return None
    if code == "timestamp_in_future":
        return Problem(code, "The event timestamp cannot be in future.")
    earliest = -(-earliest_timestamp(event.received_at) // 1000)
    return Problem(
        code,
        f"The event timestamp cannot be more than {EVENT_PAST_DAYS_MAX} days in past. "
        f"Expected a timestamp greater than or equal to {earliest}.",
    )


def read_customer(case: Case) -> Problem | None:
    """Read the customer's id from the payload; an empty one is none."""
    key = case.meter.customer_key
    customer = case.event.payload.get(key)
    if not customer:
        message = f"Customer mapping key {key} not found in payload."
        return Problem("meter_event_no_customer_defined", message)
    case.customer = customer
    return None


def find_customer(case: Case) -> Problem | None:
    """Find the customer, who must have existed when the event was received."""
    event, customers = case.event, case.catalog.customers
    key = (event.scope, case.customer)
    deleted_at = customers.get(key)
    if deleted_at is None:
        if key in customers:
            return None
        message = f"No customer was found matching {case.customer}."
        return Problem("meter_event_customer_not_found", message)
    if deleted_at > event.received_at:
        return None
    message = f"The customer {case.customer} has been deleted."
    return Problem("meter_event_customer_not_found", message)


def find_value(case: Case) -> Problem | None:
    """Read the value from the payload. A meter that counts keeps a good one and needs none."""
    event, meter = case.event, case.meter
    text = event.payload.get(meter.value_key)
    value = read_value(text, whole=event.whole) if text else None
    if isinstance(value, Decimal):
        case.value = value
        return None
    if meter.formula == "count":
        case.value = ONE
        return None
    if value is None:
        message = f"Value settings key {meter.value_key} not found in payload."
        return Problem("meter_event_value_not_found", message)
    if value is InvalidValue.TOO_MANY_DIGITS:
        message = (
            f"The value in the event payload can have at most {EVENT_VALUE_DIGITS_MAX} digits. "
            f"Received {text}."
        )
    else:
        kind = "whole" if event.whole else "decimal"
        message = f"The value in the event payload must be a {kind} number. Received {text}."
    return Problem(value.code, message)


def check_dimensions(case: Case) -> Problem | None:
    """Check that every dimension that the meter declares has a value that is not empty."""
    keys = case.meter.dimension_keys
    if not keys:
        return None
    payload = case.event.payload
    missing = [key for key in keys if not payload.get(key)]
    if not missing:
        return None
    message = f"Dimension payload keys {', '.join(missing)} not found in payload."
    return Problem("missing_dimension_payload_keys", message)


STEPS: tuple[Callable[[Case], Problem | None], ...] = (
    find_meter,
    check_timestamp,
    read_customer,
    find_customer,
    find_value,
    check_dimensions,
)


def judge(position: int, event: MeterEvent, catalog: Catalog) -> AcceptedEvent | RejectedEvent:
    """Judge one acknowledged event by all the `STEPS`.

    The number of dimension combinations is not judged here, because it depends on the events
    before: see `dimension_digest` and `reject_combination`.
    """
    case = Case(event, catalog)
    for step in STEPS:
        problem = step(case)
        if problem is not None:
            return RejectedEvent(position, event, case.meter_id, problem.code, problem.message)
    return AcceptedEvent(position, event, case.meter.id, case.customer, case.value)


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


def dimension_digest(meter: Meter, payload: Mapping[str, str]) -> int:
    """Return a number of 63 bits that stands for the values of the meter's dimensions.

    The payload has all the keys: it is that of an accepted event.
    """
    digest = blake2b(digest_size=8)
    for key in meter.dimension_keys or ():
        value = payload[key].encode()
        # The length in front keeps ("a", "bc") apart from ("ab", "c").
        digest.update(b"%d:" % len(value) + value)
    return int.from_bytes(digest.digest(), "little") >> 1


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
