"""`/v1/billing/credit_balance_transactions`: every change of what customers have been granted.

https://docs.stripe.com/api/billing/credit-balance-transaction
"""

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from meterhouse.api import credit as common
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.invoice import expand_members
from meterhouse.billing.credit import Transaction
from meterhouse.ledger import credit_transactions
from meterhouse.render.credit import render_transaction
from meterhouse.wire import envelope
from meterhouse.wire.expand import check_expand, expanded
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.params import RequestParams, Unsupported

_NOUN = "billing credit balance transaction"
# Where an invoice is named.
_INVOICE = {
    "credits_application_invoice_voided": "credit.credits_application_invoice_voided.invoice",
    "credits_applied": "debit.credits_applied.invoice",
}
_EXPANDABLE = frozenset({"credit_grant", "test_clock", *_INVOICE.values()})
_EXPANDABLE_IN_LIST = frozenset(f"data.{name}" for name in _EXPANDABLE)


class TransactionList(PageParams):
    """The parameters of the list."""

    credit_grant: str | None = None
    customer: str | None = None
    customer_account: Unsupported | None = None


async def retrieve(call: Call) -> Answer:
    """Show a transaction."""
    params = call.params(RequestParams)
    check_expand(params.expand, _EXPANDABLE)

    def work(connection: sa.Connection) -> Answer:
        found = credit_transactions.find_transaction(connection, call.scope.id, call.ids[0])
        if found is None:
            raise envelope.no_such(_NOUN, call.ids[0])
        return ok(_documents(connection, call, [found], params.expand)[0])

    return await call.read(work)


async def list_(call: Call) -> Answer:
    """List the transactions of a customer, newest first."""
    params = call.params(TransactionList)
    check_expand(params.expand, _EXPANDABLE_IN_LIST)

    def work(connection: sa.Connection) -> Answer:
        customer = common.customer_asked(connection, call, params.customer)
        grant = params.credit_grant
        if grant is not None:
            common.grant_asked(connection, call, grant, customer, "credit_grant")
        page = credit_transactions.list_transactions(
            connection, call.scope.id, params, customer.id, grant
        )
        if page is None:
            raise envelope.no_such(_NOUN, params.cursor, params.cursor_param)
        rows, has_more = page
        paths = [path.removeprefix("data.") for path in params.expand]
        return ok(list_object(call.path, _documents(connection, call, rows, paths), has_more))

    return await call.read(work)


def _documents(
    connection: sa.Connection, call: Call, rows: Sequence[Transaction], paths: Collection[str]
) -> list[dict[str, Any]]:
    documents = [render_transaction(row, livemode=call.scope.livemode) for row in rows]
    expand_members(connection, call, documents, expanded(paths))
    for kind, place in _INVOICE.items():
        if place in paths:
            told = [document[document["type"]] for document in documents]
            named = [one[kind] for one in told if one.get(kind)]
            expand_members(connection, call, named, {"invoice"})
    return documents
