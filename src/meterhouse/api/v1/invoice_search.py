"""`/v1/invoices/search` (https://docs.stripe.com/api/invoices/search)."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from meterhouse.api import invoice as common
from meterhouse.api.call import Answer, Call
from meterhouse.api.search import Searchable, answer
from meterhouse.billing.invoice import Invoice
from meterhouse.ledger import invoices
from meterhouse.render.instant import seconds
from meterhouse.wire.page import PageParams
from meterhouse.wire.search import Kind, Search

_FIELDS: Mapping[str, Kind] = {
    "created": "numeric",
    "currency": "token",
    "customer": "token",
    "last_finalization_error_code": "token",
    "last_finalization_error_type": "token",
    "metadata": "token",
    "number": "string",
    "receipt_number": "string",
    "status": "token",
    "subscription": "token",
    "total": "numeric",
}
# What the list itself leaves out the rest by.
_LISTED = ("customer", "status", "subscription")


async def search(call: Call) -> Answer:
    """Search invoices, newest first. Of a draft the total is the one that was counted last."""
    return await answer(call, _INVOICES)


def _listed(
    connection: sa.Connection, scope: int, page: PageParams, asked: Search
) -> tuple[list[Invoice], bool] | None:
    """List by what of a search has to hold and a list knows."""
    values: dict[str, Any] = {
        clause.field: clause.value
        for clause in asked.clauses
        if clause.field in _LISTED
        and clause.value is not None
        and not clause.negated
        and not asked.any
    }
    return invoices.list_invoices(connection, scope, page, invoices.Filter(**values))


def _values(one: Invoice) -> dict[str, str | int | None]:
    return {
        "created": seconds(one.created),
        "currency": one.currency,
        "customer": one.customer,
        "last_finalization_error_code": None,
        "last_finalization_error_type": None,
        "number": one.number,
        "receipt_number": None,
        "status": one.status,
        "subscription": one.subscription,
        "total": one.total,
    }


async def _shown(call: Call, found: list[Invoice], expand: Sequence[str]) -> list[dict[str, Any]]:
    rows = await common.current(call, found)
    return await call.read(common.shown, call, rows, expand, listed=True)


_INVOICES = Searchable("invoices", _FIELDS, common.EXPANDABLE_IN_LIST, _listed, _values, _shown)
