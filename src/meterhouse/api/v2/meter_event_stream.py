"""`/v2/billing/meter_event_stream`: up to 100 events in one request.

Only the shape is judged here. Unknown meters, bad values, duplicates and all the rest are outcomes
of processing (https://docs.stripe.com/api/v2/billing/meter-event-stream/create).
"""

from typing import Annotated

from msgspec import Meta

from meterhouse import limits
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.once import record, replay
from meterhouse.api.v2.event import SentEvent
from meterhouse.errors import Refusal
from meterhouse.ingest.commit import StreamSubmission
from meterhouse.ledger.idempotency import Record
from meterhouse.metering.model import MeterEvent
from meterhouse.wire.document import Document
from meterhouse.wire.envelope_v2 import invalid_field
from meterhouse.wire.ids import new_identifier
from meterhouse.wire.timestamp import read_timestamp


class Stream(Document):
    """The body of a request."""

    events: Annotated[list[SentEvent], Meta(min_length=1, max_length=limits.STREAM_EVENTS_MAX)]


_TAKEN = ok({})


async def create(call: Call) -> Answer:
    """Take all the events or none; the answer comes when they are on disk."""
    # No event may live on as an object while it waits for the commit: see `StreamSubmission`.
    packed = call.services.acceptor.pack(_events(call, call.document(Stream).events))
    key = call.idempotency_key
    kept = None if key is None else record(call, key, _TAKEN)
    submission = StreamSubmission(call.scope.id, packed, kept)
    if call.services.rate_limits is not None:
        call.services.rate_limits.admit(
            "meter_event_stream", call.scope, connected=call.connected, amount=submission.events
        )
    result = await call.services.acceptor.accept(submission)
    if isinstance(result, Record):
        return replay(result, call)
    if isinstance(result, Refusal):
        raise result
    return _TAKEN


def _events(call: Call, sent: list[SentEvent]) -> list[MeterEvent]:
    scope, now, whole = call.scope.id, call.now, call.whole
    try:
        return [
            MeterEvent(
                scope,
                event.identifier or new_identifier(),
                event.event_name,
                now if event.timestamp is None else read_timestamp(event.timestamp),
                now,
                event.payload,
                None,
                whole,
                None,
                "receipt" if event.timestamp is None else "sender",
            )
            for event in sent
        ]
    except ValueError:
        raise _bad_timestamp(sent) from None


def _bad_timestamp(sent: list[SentEvent]) -> Refusal:
    """Find the first timestamp that cannot be read, which there is."""
    for index, event in enumerate(sent):
        try:
            read_timestamp(0 if event.timestamp is None else event.timestamp)
        except ValueError as error:
            return invalid_field(f"events[{index}].timestamp {error}.")
    raise AssertionError("every timestamp can be read")
