"""`/v1/billing/meter_events` (https://docs.stripe.com/api/billing/meter-event/create)."""

from typing import Annotated, Any

from meterhouse import limits
from meterhouse.api.call import Answer, Call
from meterhouse.api.meter_event import Sent, accept
from meterhouse.metering.model import MeterEvent
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
    sent = Sent(
        params.event_name,
        params.identifier or new_identifier(),
        params.payload,
        None if params.timestamp is None else params.timestamp * 1000,
    )

    def show(event: MeterEvent) -> dict[str, Any]:
        return {
            "object": "billing.meter_event",
            "created": call.now // 1000,
            "event_name": event.event_name,
            "identifier": event.identifier,
            "livemode": call.scope.livemode,
            "payload": event.payload,
            "timestamp": event.timestamp // 1000,
        }

    return await accept(call, sent, show)
