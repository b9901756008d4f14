"""A single meter event, whichever API it came by: what v1 and v2 do alike."""

from typing import Any

import sqlalchemy as sa

from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.once import record, replay
from meterhouse.errors import Refusal
from meterhouse.ingest.commit import Submission
from meterhouse.ledger import meters
from meterhouse.ledger.idempotency import Record
from meterhouse.metering.model import MeterEvent
from meterhouse.metering.validation import earliest_timestamp, timestamp_problem
from meterhouse.wire import envelope, refusals
from meterhouse.wire.envelope_v2 import too_many_concurrent_requests
from meterhouse.wire.ids import new_identifier


def new_event(
    call: Call,
    event_name: str,
    identifier: str | None,
    payload: dict[str, str],
    timestamp: int,
) -> MeterEvent:
    """Return the event that a request sends; `timestamp` is in milliseconds."""
    return MeterEvent(
        call.scope.id,
        identifier or new_identifier(),
        event_name,
        timestamp,
        call.now,
        payload,
        None,
        call.whole,
    )


def timestamp_refusal(timestamp: int, now: int) -> Refusal | None:
    """Return why an event of `timestamp` is refused at `now` (both milliseconds), if it is."""
    problem = timestamp_problem(timestamp, now)
    if problem is None:
        return None
    if problem == "timestamp_in_future":
        return refusals.timestamp_in_future()
    return refusals.timestamp_too_old(-(-earliest_timestamp(now) // 1000))


async def accept(call: Call, event: MeterEvent, document: dict[str, Any]) -> Answer:
    """Accept an event and answer with `document`; the answer comes when the event is on disk.

    Under the limits profile `stripe` a customer has one event at a time on its way to a meter.
    """
    if call.services.rate_limits is None:
        return await _accept(call, event, document)
    meter, customer = await call.read(_aim, event)
    with call.services.rate_limits.hold(call.scope, meter, customer) as free:
        if not free:
            raise envelope.lock_timeout() if call.api == "v1" else too_many_concurrent_requests()
        return await _accept(call, event, document)


async def _accept(call: Call, event: MeterEvent, document: dict[str, Any]) -> Answer:
    answer = ok(document)
    key = call.idempotency_key
    kept = None if key is None else record(call, key, answer)
    submission = Submission(event, call.version.decimals_allowed, kept)
    result = await call.services.acceptor.accept(submission)
    if isinstance(result, Record):
        return replay(result, call)
    if isinstance(result, Refusal):
        raise result
    return answer


def _aim(connection: sa.Connection, event: MeterEvent) -> tuple[str, str]:
    """Return the meter and the customer that an event is meant for."""
    name = (event.scope, event.event_name)
    meter = meters.active_by_names(connection, {name}).get(name)
    if meter is None:
        return event.event_name, event.identifier  # nobody else's; it is about to be refused
    return meter.id, event.payload.get(meter.customer_key, event.identifier)
