"""Problems: why an event does not count, in the code and the sentence that its sender hears.

The codes are those of Stripe's error reports
(https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api#error-codes). Where
Stripe's sentence is known it stands here word for word.
"""

from decimal import Decimal
from typing import Literal, NamedTuple

from meterhouse.limits import (
    DIMENSION_COMBINATIONS_MAX,
    EVENT_FUTURE_MINUTES_MAX,
    EVENT_PAST_DAYS_MAX,
    EVENT_VALUE_DIGITS_MAX,
)
from meterhouse.metering.model import Meter
from meterhouse.metering.part import Kind
from meterhouse.metering.value import InvalidValue

TimestampProblem = Literal["timestamp_in_future", "timestamp_too_far_in_past"]

PAST_MAX = EVENT_PAST_DAYS_MAX * 86_400_000
FUTURE_MAX = EVENT_FUTURE_MINUTES_MAX * 60_000


class Problem(NamedTuple):
    """Why an event does not count: the code, and a sentence for a person."""

    code: str
    message: str


def meter_problem(kind: Kind, meter: Meter | None) -> Problem | None:
    """Say what is wrong with the meter that events of a kind are for."""
    if meter is None:
        return Problem("no_meter", f"No meter was found matching event_name {kind.event_name}.")
    if kind.meter is None and not meter.active:
        message = f"The meter matching event_name {kind.event_name} has been deactivated."
        return Problem("archived_meter", message)
    return None


def untimely(now: int, late: int) -> Problem:
    """Say that an event measured at `now` came too `late`, or else too early."""
    if not late:
        return Problem("timestamp_in_future", "The event timestamp cannot be in future.")
    earliest = -(-earliest_timestamp(now) // 1000)
    return Problem(
        "timestamp_too_far_in_past",
        f"The event timestamp cannot be more than {EVENT_PAST_DAYS_MAX} days in past. "
        f"Expected a timestamp greater than or equal to {earliest}.",
    )


def no_customer(meter: Meter) -> Problem:
    """Say that a payload does not tell whose usage it is."""
    message = f"Customer mapping key {meter.customer_key} not found in payload."
    return Problem("meter_event_no_customer_defined", message)


def customer_problem(customer: str, *, known: bool) -> Problem:
    """Say what is wrong with a customer who does not simply exist."""
    if known:
        message = f"The customer {customer} has been deleted."
    else:
        message = f"No customer was found matching {customer}."
    return Problem("meter_event_customer_not_found", message)


def value_problem(
    text: str, value: Decimal | InvalidValue, meter: Meter, *, whole: bool
) -> Problem | None:
    """Say what is wrong with a value as it was sent and read; a meter that counts needs none."""
    if isinstance(value, Decimal) or meter.formula == "count":
        return None
    if not text:
        message = f"Value settings key {meter.value_key} not found in payload."
        return Problem("meter_event_value_not_found", message)
    if value is InvalidValue.TOO_MANY_DIGITS:
        message = (
            f"The value in the event payload can have at most {EVENT_VALUE_DIGITS_MAX} digits. "
            f"Received {text}."
        )
    else:
        kind = "whole" if whole else "decimal"
        message = f"The value in the event payload must be a {kind} number. Received {text}."
    return Problem(value.code, message)


def missing_dimensions(meter: Meter, places: int) -> Problem:
    """Tell which dimensions are missing: those whose places are bits of a number."""
    keys = [key for place, key in enumerate(meter.dimension_keys or ()) if places >> place & 1]
    message = f"Dimension payload keys {', '.join(keys)} not found in payload."
    return Problem("missing_dimension_payload_keys", message)


def reject_combination(customer: str) -> Problem:
    """Reject an event whose new combination of dimension values would be one too many."""
    return Problem(
        "meter_event_dimension_count_too_high",
        f"The customer {customer} has reached the limit of {DIMENSION_COMBINATIONS_MAX} "
        "combinations of dimension values on this meter.",
    )


def earliest_timestamp(now: int) -> int:
    """Return the earliest timestamp, in milliseconds, that an event received at `now` may have."""
    return now - PAST_MAX


def timestamp_problem(timestamp: int, now: int) -> TimestampProblem | None:
    """Return the code of what is wrong with `timestamp` at `now`, both in milliseconds."""
    age = now - timestamp
    if age > PAST_MAX:
        return "timestamp_too_far_in_past"
    if age < -FUTURE_MAX:
        return "timestamp_in_future"
    return None
