"""`/v1/products/search` and `/v1/prices/search` (https://docs.stripe.com/search).

A catalog is small beside customers: it is looked at object by object, newest first, and each is
found as soon as it is stored.
"""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from meterhouse.api import catalog
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.search import TOTAL, found_by
from meterhouse.api.v1 import products as v1_products
from meterhouse.billing.price import Price, Product
from meterhouse.ledger import prices, products
from meterhouse.wire.expand import check_expand, expanded
from meterhouse.wire.page import SearchParams, search_object
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


async def products_by_query(call: Call) -> Answer:
    """Search products, newest first."""
    params = call.params(SearchParams)
    check_expand(params.expand, {*v1_products.EXPANDABLE_IN_LIST, TOTAL})
    search = read_search(params.query, "products", _PRODUCT_FIELDS)

    def work(connection: sa.Connection) -> Answer:
        found, has_more, total = found_by(
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
    check_expand(params.expand, {*catalog.PRICE_EXPANDABLE_IN_LIST, TOTAL})
    search = read_search(params.query, "prices", _PRICE_FIELDS)

    def work(connection: sa.Connection) -> Answer:
        found, has_more, total = found_by(
            lambda page: prices.list_prices(connection, call.scope.id, page, prices.Filter()),
            params,
            lambda one: matches(search, _texts_of_price(one), one.metadata),
        )
        expand = expanded(params.expand, listed=True)
        shown = catalog.shown_prices(connection, call, found, expand)
        return ok(search_object(call.path, shown, has_more=has_more, total=total))

    return await call.read(work)


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
