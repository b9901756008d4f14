"""`/v1/billing/meter_events` (https://docs.stripe.com/api/billing/meter-event/create)."""

from typing import Annotated

from meterhouse import limits
from meterhouse.api.call import Answer, Call
from meterhouse.api.meter_event import accept, new_event, timestamp_refusal
from meterhouse.api.once import replay_or_refuse
from meterhouse.wire.expand import check_expand
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
    refusal = timestamp_refusal(timestamp * 1000, call.now)
    if refusal is not None:
        return await replay_or_refuse(call, refusal)
    event = new_event(call, params.event_name, params.identifier, params.payload, timestamp * 1000)
    document = {
        "object": "billing.meter_event",
        "created": call.now // 1000,
        "event_name": event.event_name,
        "identifier": event.identifier,
        "livemode": call.scope.livemode,
        "payload": event.payload,
        "timestamp": timestamp,
    }
    return await accept(call, event, document)
