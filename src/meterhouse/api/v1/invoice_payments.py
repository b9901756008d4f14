"""`/v1/invoice_payments` (https://docs.stripe.com/api/invoice-payment): there are none.

No money moves here, so no invoice has a payment: one that was paid was paid elsewhere.
"""

from meterhouse.api.call import Answer, Call, ok
from meterhouse.wire import envelope
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.params import Forgotten


class PaymentList(PageParams):
    """The parameters of the list."""

    created: Forgotten | None = None
    invoice: Forgotten | None = None
    payment: Forgotten | None = None
    status: Forgotten | None = None


async def list_(call: Call) -> Answer:
    """List no payments."""
    params = call.params(PaymentList)
    if params.cursor:
        raise envelope.no_such("invoice payment", params.cursor, params.cursor_param)
    return ok(list_object(call.path, [], has_more=False))
