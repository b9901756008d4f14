"""`/v1/billing/meter_event_adjustments`.

https://docs.stripe.com/api/billing/meter-event-adjustment/create
"""

from typing import Annotated, Any, Literal

from meterhouse import limits
from meterhouse.api.call import Answer, Call
from meterhouse.api.meter_event_adjustment import cancel
from meterhouse.ledger.adjustments import Adjustment
from meterhouse.wire.expand import check_expand
from meterhouse.wire.param_errors import missing_param
from meterhouse.wire.params import Length, Params, RequestParams


class Cancel(Params):
    """Which event to cancel."""

    identifier: Annotated[str, Length(limits.EVENT_IDENTIFIER_CHARS_MAX)]


class AdjustmentCreate(RequestParams):
    """The parameters of an adjustment."""

    event_name: Annotated[str, Length(limits.METER_EVENT_NAME_CHARS_MAX)]
    type: Literal["cancel"]
    cancel: Cancel | None = None


async def create(call: Call) -> Answer:
    """Cancel the event with an identifier, if it was received in the last 24 hours and counts."""
    params = call.params(AdjustmentCreate)
    check_expand(params.expand)
    if params.cancel is None:
        raise missing_param("cancel[identifier]")

    def show(adjustment: Adjustment) -> dict[str, Any]:
        return {
            "object": "billing.meter_event_adjustment",
            "cancel": {"identifier": adjustment.identifier},
            "event_name": adjustment.event_name,
            "livemode": call.scope.livemode,
            "status": adjustment.status,
            "type": "cancel",
        }

    return await cancel(call, params.event_name, params.cancel.identifier, show)
