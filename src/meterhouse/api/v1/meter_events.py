"""`/v1/billing/meter_events` (https://docs.stripe.com/api/billing/meter-event/create)."""

from typing import Annotated

from meterhouse import limits
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.once import record, replay, replay_or_refuse
from meterhouse.errors import Refusal
from meterhouse.ledger.idempotency import Record
from meterhouse.metering.model import MeterEvent
from meterhouse.metering.validation import earliest_timestamp, timestamp_problem
from meterhouse.pipeline.accept import Submission
from meterhouse.wire import envelope
from meterhouse.wire.expand import check_expand
from meterhouse.wire.ids import new_identifier
from meterhouse.wire.params import Keys, Length, RequestParams, Timestamp


class MeterEventCreate(RequestParams):
    """The parameters of a meter event."""

    event_name: Annotated[str, Length(limits.METER_EVENT_NAME_CHARS_MAX)]
    payload: Annotated[
        dict[str, str],
        Keys(
            limits.EVENT_PAYLOAD_KEYS_MAX,
            limits.EVENT_PAYLOAD_KEY_CHARS_MAX,
            limits.EVENT_PAYLOAD_VALUE_CHARS_MAX,
        ),
    ]
    identifier: Annotated[str, Length(limits.EVENT_IDENTIFIER_CHARS_MAX)] | None = None
    timestamp: Timestamp | None = None


async def create(call: Call) -> Answer:
    """Accept a meter event; the answer comes when it is on disk."""
    params = call.params(MeterEventCreate)
    check_expand(params.expand)
    timestamp = call.now // 1000 if params.timestamp is None else params.timestamp
    refusal = _timestamp_refusal(timestamp * 1000, call.now)
    if refusal is not None:
        return await replay_or_refuse(call, refusal)
    decimals = call.version.decimals_allowed
    event = MeterEvent(
        call.scope.id,
        params.identifier or new_identifier(),
        params.event_name,
        timestamp * 1000,
        call.now,
        params.payload,
        None,
        not decimals or call.house.config.values == "whole",
    )
    answer = ok(
        {
            "object": "billing.meter_event",
            "created": call.now // 1000,
            "event_name": event.event_name,
            "identifier": event.identifier,
            "livemode": call.scope.livemode,
            "payload": event.payload,
            "timestamp": timestamp,
        }
    )
    key = call.idempotency_key
    kept = None if key is None else record(call, key, answer)
    result = await call.house.acceptor.accept(Submission(event, decimals, kept))
    if isinstance(result, Record):
        return replay(result, call)
    if isinstance(result, Refusal):
        raise result
    return answer


def _timestamp_refusal(timestamp: int, now: int) -> Refusal | None:
    problem = timestamp_problem(timestamp, now)
    if problem is None:
        return None
    if problem == "timestamp_in_future":
        return envelope.timestamp_in_future()
    return envelope.timestamp_too_old(-(-earliest_timestamp(now) // 1000))
