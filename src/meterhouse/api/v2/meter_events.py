"""`/v2/billing/meter_events`: one event, checked before it is taken.

https://docs.stripe.com/api/v2/billing/meter-event/create
"""

from typing import Any

import sqlalchemy as sa

from meterhouse.api.call import Answer, Call
from meterhouse.api.meter_event import Sent, accept
from meterhouse.api.v2.event import EventName, Identifier, Payload, Timestamp
from meterhouse.errors import Refusal
from meterhouse.ledger import meters
from meterhouse.metering.model import MeterEvent
from meterhouse.metering.part import Kind
from meterhouse.metering.problem import Problem, meter_problem, no_customer, value_problem
from meterhouse.metering.validation import Catalog
from meterhouse.metering.value import read_value
from meterhouse.wire.document import Document
from meterhouse.wire.envelope_v2 import invalid_field, meter_event_refused
from meterhouse.wire.ids import new_identifier
from meterhouse.wire.timestamp import print_timestamp, read_timestamp

# How the endpoint calls what the judge would find.
_CODES = {
    "archived_meter": "archived_meter",
    "meter_event_invalid_value": "payload_invalid_value",
    "meter_event_no_customer_defined": "payload_no_customer_defined",
    "meter_event_value_not_found": "payload_no_value_defined",
    "meter_event_value_too_many_digits": "payload_invalid_value",
    "no_meter": "no_meter",
}


class MeterEventCreate(Document):
    """The body of a request."""

    event_name: EventName
    payload: Payload
    identifier: Identifier | None = None
    timestamp: Timestamp | None = None


async def create(call: Call) -> Answer:
    """Accept a meter event; the answer comes when it is on disk."""
    sent = call.document(MeterEventCreate)
    one = Sent(
        sent.event_name,
        sent.identifier or new_identifier(),
        sent.payload,
        None if sent.timestamp is None else _instant(sent.timestamp),
    )

    def show(event: MeterEvent) -> dict[str, Any]:
        return {
            "object": "v2.billing.meter_event",
            "created": print_timestamp(call.now),
            "event_name": event.event_name,
            "identifier": event.identifier,
            "livemode": call.scope.livemode,
            "payload": event.payload,
            "timestamp": print_timestamp(event.timestamp),
        }

    return await accept(call, one, show, _refuse)


def _instant(timestamp: Timestamp) -> int:
    try:
        return read_timestamp(timestamp)
    except ValueError as error:
        raise invalid_field(f"timestamp {error}.") from None


def _refuse(connection: sa.Connection, event: MeterEvent) -> Refusal | None:
    """Judge an event as far as the endpoint does at once."""
    name = {(event.scope, event.event_name)}
    active = meters.active_by_names(connection, name)
    archived = {} if active else meters.archived_by_names(connection, name)
    catalog = Catalog(meters={}, active=active, archived=archived, customers={})
    problem = _problem(event, catalog)
    return None if problem is None else meter_event_refused(_CODES[problem.code])


def _problem(event: MeterEvent, catalog: Catalog) -> Problem | None:
    kind = Kind(event.scope, event.event_name, event.meter)
    meter = catalog.meter_of(*kind)
    problem = meter_problem(kind, meter)
    if problem is not None or meter is None:
        return problem
    if not meter.customer_of(event.payload):
        return no_customer(meter)
    text = event.payload.get(meter.value_key, "")
    return value_problem(text, read_value(text, whole=event.whole), meter, whole=event.whole)
