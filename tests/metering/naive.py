"""The judgement of one event after the other, as plainly as its rules can be said.

The sentences are written out here once more: a batch of columns has to come to the same, to the
letter. Values are `read_value`'s business, which has tests of its own.
"""

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from meterhouse.metering.model import Meter, MeterEvent
from meterhouse.metering.validation import Catalog
from meterhouse.metering.value import InvalidValue, read_value
from tests.metering.rows import AcceptedEvent, RejectedEvent
from tests.metering.samples import DAY, MINUTE

Wrong = tuple[str, str] | tuple[()]


def judge_plainly(
    position: int, event: MeterEvent, catalog: Catalog
) -> AcceptedEvent | RejectedEvent:
    meter = catalog.meter_of(event.scope, event.event_name, event.meter)
    code = _no_meter(event, meter)
    if code or meter is None:
        return RejectedEvent(position, event, meter.id if meter else None, *code)
    customer = event.payload.get(meter.customer_key, "")
    event, now = _timed(event, catalog.frozen.get((event.scope, customer)))
    value = _value(event.payload, meter, whole=event.whole)
    code = (
        _untimely(event, now)
        or _no_customer(event, meter, customer, catalog)
        or (value if isinstance(value, tuple) else ())
        or _no_dimensions(event, meter)
    )
    if code or isinstance(value, tuple):
        return RejectedEvent(position, event, meter.id, *code)
    return AcceptedEvent(position, event, meter.id, customer, value)


def _no_meter(event: MeterEvent, meter: Meter | None) -> Wrong:
    if meter is None:
        return "no_meter", f"No meter was found matching event_name {event.event_name}."
    if event.meter is None and not meter.active:
        message = f"The meter matching event_name {event.event_name} has been deactivated."
        return "archived_meter", message
    return ()


def _untimely(event: MeterEvent, now: int) -> Wrong:
    if event.timed_by == "clock":
        return ()
    if now - event.timestamp > 35 * DAY:
        message = (
            "The event timestamp cannot be more than 35 days in past. "
            f"Expected a timestamp greater than or equal to {-((35 * DAY - now) // 1000)}."
        )
        return "timestamp_too_far_in_past", message
    if event.timestamp - now > 5 * MINUTE:
        return "timestamp_in_future", "The event timestamp cannot be in future."
    return ()


def _no_customer(event: MeterEvent, meter: Meter, customer: str, catalog: Catalog) -> Wrong:
    if not customer:
        message = f"Customer mapping key {meter.customer_key} not found in payload."
        return "meter_event_no_customer_defined", message
    if (event.scope, customer) not in catalog.customers:
        return "meter_event_customer_not_found", f"No customer was found matching {customer}."
    deleted = catalog.customers[event.scope, customer]
    if deleted is not None and deleted <= event.received_at:
        return "meter_event_customer_not_found", f"The customer {customer} has been deleted."
    return ()


def _no_dimensions(event: MeterEvent, meter: Meter) -> Wrong:
    missing = [key for key in meter.dimension_keys or () if not event.payload.get(key)]
    message = f"Dimension payload keys {', '.join(missing)} not found in payload."
    return ("missing_dimension_payload_keys", message) if missing else ()


def _timed(event: MeterEvent, frozen: int | None) -> tuple[MeterEvent, int]:
    """Return an event with its timestamp, and the present that it is measured by."""
    if frozen is None or event.timed_by == "clock":
        return event, event.received_at
    if event.timed_by == "receipt":
        return msgspec.structs.replace(event, timestamp=frozen), frozen
    return event, frozen


def _value(payload: Mapping[str, str], meter: Meter, *, whole: bool) -> Decimal | tuple[str, str]:
    text = payload.get(meter.value_key, "")
    value = read_value(text, whole=whole)
    if isinstance(value, Decimal):
        return value
    if meter.formula == "count":
        return Decimal(1)
    if not text:
        return (
            "meter_event_value_not_found",
            f"Value settings key {meter.value_key} not found in payload.",
        )
    if value is InvalidValue.TOO_MANY_DIGITS:
        return (
            "meter_event_value_too_many_digits",
            f"The value in the event payload can have at most 15 digits. Received {text}.",
        )
    kind = "whole" if whole else "decimal"
    return (
        "meter_event_invalid_value",
        f"The value in the event payload must be a {kind} number. Received {text}.",
    )
