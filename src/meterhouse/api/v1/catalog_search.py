"""`/v1/products/search` and `/v1/prices/search` (https://docs.stripe.com/search).

A catalog is small beside customers: it is looked at object by object, newest first, and each is
found as soon as it is stored.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.api import catalog
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.v1 import products as v1_products
from meterhouse.billing.price import Price, Product
from meterhouse.ledger import prices, products
from meterhouse.wire.expand import check_expand, expanded
from meterhouse.wire.page import PageParams, SearchParams, search_object
from meterhouse.wire.param_errors import bad_search_page
from meterhouse.wire.search import Kind, matches, read_search

_PRODUCT_FIELDS: Mapping[str, Kind] = {
    "active": "token",
    "description": "string",
    "metadata": "token",
    "name": "string",
    "shippable": "token",
    "url": "string",
}
_PRICE_FIELDS: Mapping[str, Kind] = {
    "active": "token",
    "currency": "token",
    "lookup_key": "string",
    "metadata": "token",
    "product": "string",
    "type": "token",
}
_TOTAL = "total_count"

SoldT = TypeVar("SoldT", Price, Product)
ListPage = Callable[[PageParams], tuple[list[SoldT], bool] | None]


async def products_by_query(call: Call) -> Answer:
    """Search products, newest first."""
    params = call.params(SearchParams)
    check_expand(params.expand, {*v1_products.EXPANDABLE_IN_LIST, _TOTAL})
    search = read_search(params.query, "products", _PRODUCT_FIELDS)

    def work(connection: sa.Connection) -> Answer:
        found, has_more, total = _found(
            lambda page: products.list_products(connection, call.scope.id, page, products.Filter()),
            params,
            lambda one: matches(search, _texts_of_product(one), one.metadata),
        )
        shown = v1_products.shown(connection, call, found, expanded(params.expand, listed=True))
        return ok(search_object(call.path, shown, has_more=has_more, total=total))

    return await call.read(work)


async def prices_by_query(call: Call) -> Answer:
    """Search prices, newest first."""
    params = call.params(SearchParams)
    check_expand(params.expand, {*catalog.PRICE_EXPANDABLE_IN_LIST, _TOTAL})
    search = read_search(params.query, "prices", _PRICE_FIELDS)

    def work(connection: sa.Connection) -> Answer:
        found, has_more, total = _found(
            lambda page: prices.list_prices(connection, call.scope.id, page, prices.Filter()),
            params,
            lambda one: matches(search, _texts_of_price(one), one.metadata),
        )
        expand = expanded(params.expand, listed=True)
        shown = catalog.shown_prices(connection, call, found, expand)
        return ok(search_object(call.path, shown, has_more=has_more, total=total))

    return await call.read(work)


def _found(
    list_page: ListPage[SoldT], params: SearchParams, wanted: Callable[[SoldT], bool]
) -> tuple[list[SoldT], bool, int | None]:
    """Return a page of what is wanted, whether there is more, and how many if that was asked."""
    after = params.cut().starting_after
    found = list(islice(filter(wanted, _after(list_page, params, after)), params.limit + 1))
    total = None
    if _TOTAL in params.expand:
        total = sum(map(wanted, _after(list_page, params, None)))
    return found[: params.limit], len(found) > params.limit, total


def _after(list_page: ListPage[SoldT], params: SearchParams, cursor: str | None) -> Iterator[SoldT]:
    """Yield what is listed after a cursor, to the end; refuse a cursor that names nothing."""
    more = True
    while more:
        rows = list_page(PageParams(limit=limits.PAGE_LIMIT_MAX, starting_after=cursor))
        if rows is None:
            raise bad_search_page(params.page or "")
        some, more = rows
        yield from some
        cursor = some[-1].id if some else None


def _texts_of_product(one: Product) -> dict[str, str | None]:
    shippable = one.details.get("shippable")
    return {
        "active": _word(one.active),
        "description": one.details.get("description"),
        "name": one.name,
        "shippable": None if shippable is None else _word(shippable),
        "url": one.details.get("url"),
    }


def _texts_of_price(one: Price) -> dict[str, str | None]:
    return {
        "active": _word(one.active),
        "currency": one.pricing.currency,
        "lookup_key": one.lookup_key,
        "product": one.product,
        "type": one.type,
    }


def _word(true: Any) -> str:
    return "true" if true else "false"
