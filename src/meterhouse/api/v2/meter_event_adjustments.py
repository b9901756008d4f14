"""`/v2/billing/meter_event_adjustments`.

https://docs.stripe.com/api/v2/billing/meter-event-adjustment/create
"""

from typing import Any, Literal

from msgspec import Struct

from meterhouse.api.call import Answer, Call
from meterhouse.api.meter_event_adjustment import cancel
from meterhouse.api.v2.event import EventName, Identifier
from meterhouse.ledger.adjustments import Adjustment
from meterhouse.wire.document import Document
from meterhouse.wire.envelope_v2 import invalid_cancel_configuration
from meterhouse.wire.timestamp import print_timestamp


class Cancel(Struct, forbid_unknown_fields=True):
    """Which event to cancel."""

    identifier: Identifier | None = None


class AdjustmentCreate(Document):
    """The body of a request."""

    event_name: EventName
    type: Literal["cancel"]
    cancel: Cancel | None = None


async def create(call: Call) -> Answer:
    """Cancel the event with an identifier, if it was received in the last 24 hours and counts."""
    sent = call.document(AdjustmentCreate)
    if sent.cancel is None or sent.cancel.identifier is None:
        raise invalid_cancel_configuration()

    def show(adjustment: Adjustment) -> dict[str, Any]:
        return {
            "id": adjustment.id,
            "object": "v2.billing.meter_event_adjustment",
            "cancel": {"identifier": adjustment.identifier},
            "created": print_timestamp(adjustment.created),
            "event_name": adjustment.event_name,
            "livemode": call.scope.livemode,
            "status": adjustment.status,
            "type": "cancel",
        }

    return await cancel(call, sent.event_name, sent.cancel.identifier, show)
