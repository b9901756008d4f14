"""`/v1/invoices/search` (https://docs.stripe.com/api/invoices/search)."""

from collections.abc import Mapping
from typing import Any

from meterhouse.api import invoice as common
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.search import TOTAL, found_by
from meterhouse.billing.invoice import Invoice
from meterhouse.ledger import invoices
from meterhouse.ledger.invoices import Filter
from meterhouse.render.instant import seconds
from meterhouse.wire.expand import check_expand
from meterhouse.wire.page import SearchParams, search_object
from meterhouse.wire.search import Kind, Search, matches, read_search

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
    params = call.params(SearchParams)
    check_expand(params.expand, {*common.EXPANDABLE_IN_LIST, TOTAL})
    asked = read_search(params.query, "invoices", _FIELDS)
    wanted = _filter(asked)
    found, has_more, total = await call.read(
        lambda connection: found_by(
            lambda page: invoices.list_invoices(connection, call.scope.id, page, wanted),
            params,
            lambda one: matches(asked, _values(one), one.metadata),
        )
    )
    rows = await common.current(call, found)
    data = await call.read(common.shown, call, rows, params.expand, listed=True)
    return ok(search_object(call.path, data, has_more=has_more, total=total))


def _filter(asked: Search) -> Filter:
    """Return what of a search a list can do by itself: that which has to hold."""
    if asked.any:
        return Filter()
    values: dict[str, Any] = {
        clause.field: clause.value
        for clause in asked.clauses
        if clause.field in _LISTED and clause.value is not None and not clause.negated
    }
    return Filter(**values)


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
