"""`/v1/customers/{id}/sources`, `/subscriptions` and `/tax_ids`.

https://docs.stripe.com/api/customers. Whoever reads customers whole asks for them; nothing is paid
or taxed here, so there is nothing in the first and the last.
"""

import sqlalchemy as sa

from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.subscription import EXPANDABLE_IN_LIST, page_of_customer
from meterhouse.api.subscription_now import shown_now
from meterhouse.billing.subscription import Subscription
from meterhouse.ledger import customers
from meterhouse.wire import envelope
from meterhouse.wire.expand import check_expand
from meterhouse.wire.page import PageParams, list_object


class SourceList(PageParams):
    """The parameters of the list of sources; `object` is a kind of them."""

    object: str | None = None


async def sources(call: Call) -> Answer:
    """List a customer's cards and bank accounts."""
    return await _nothing(call, call.params(SourceList), "source")


async def subscriptions(call: Call) -> Answer:
    """List a customer's subscriptions that are not over, newest first."""
    params = call.params(PageParams)
    check_expand(params.expand, EXPANDABLE_IN_LIST)

    def read(connection: sa.Connection) -> tuple[list[Subscription], bool]:
        _require(connection, call)
        return page_of_customer(connection, call, call.ids[0], params)

    rows, has_more = await call.read(read)
    return ok(list_object(call.path, await shown_now(call, rows, params.expand), has_more))


async def tax_ids(call: Call) -> Answer:
    """List a customer's tax ids."""
    return await _nothing(call, call.params(PageParams), "tax id")


async def _nothing(call: Call, params: PageParams, noun: str) -> Answer:
    """Answer with no objects; whatever would be in them may be expanded."""
    await call.read(_require, call)
    if params.cursor:
        raise envelope.no_such(noun, params.cursor, params.cursor_param)
    return ok(list_object(call.path, [], has_more=False))


def _require(connection: sa.Connection, call: Call) -> None:
    customer = customers.find_customer(connection, call.scope.id, call.ids[0])
    if customer is None or customer.deleted_at is not None:
        raise envelope.no_such("customer", call.ids[0])
