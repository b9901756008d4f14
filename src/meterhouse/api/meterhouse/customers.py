"""`/meterhouse/v1/customers`: customers by any part of what they are called."""

from typing import Annotated

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.api.call import Answer, Call
from meterhouse.api.v1.customers import listed
from meterhouse.ledger.customer_search import customers_called
from meterhouse.ledger.customers import list_customers
from meterhouse.wire.expand import check_expand
from meterhouse.wire.page import PageParams
from meterhouse.wire.params import Length


class CustomerSearch(PageParams):
    """The parameters of the list; `text` is a part of an id, email, name or description."""

    text: Annotated[str, Length(limits.CUSTOMER_SEARCH_CHARS_MAX)] | None = None


async def list_(call: Call) -> Answer:
    """List customers, newest first; each as API v1 shows it."""
    params = call.params(CustomerSearch)
    check_expand(params.expand)
    scope, text = call.scope.id, params.text

    def work(connection: sa.Connection) -> Answer:
        if text is None:
            page = list_customers(connection, scope, params)
        else:
            page = customers_called(connection, scope, text, params)
        return listed(connection, call, params, page)

    return await call.read(work)
