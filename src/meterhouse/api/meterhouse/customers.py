"""`/meterhouse/v1/customers`: customers by any part of what they are called."""

from typing import Annotated

from meterhouse import limits
from meterhouse.api import render
from meterhouse.api.call import Answer, Call, ok
from meterhouse.ledger import customers
from meterhouse.wire import envelope
from meterhouse.wire.expand import check_expand
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.params import Length


class CustomerSearch(PageParams):
    """The parameters of the list; `text` is a part of an id, email, name or description."""

    text: Annotated[str, Length(limits.CUSTOMER_SEARCH_CHARS_MAX)] | None = None


async def list_(call: Call) -> Answer:
    """List customers, newest first; each as API v1 shows it."""
    params = call.params(CustomerSearch)
    check_expand(params.expand)
    page = await call.house.stores.read(
        customers.list_customers, call.scope.id, params, text=params.text
    )
    if page is None:
        raise envelope.no_such("customer", params.cursor, params.cursor_param)
    rows, has_more = page
    data = [render.customer(row, livemode=call.scope.livemode) for row in rows]
    return ok(list_object(call.path, data, has_more))
