"""`/v1/products/search` and `/v1/prices/search` (https://docs.stripe.com/search).

A catalog is small beside customers: it is looked at object by object, newest first, and each is
found as soon as it is stored.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from meterhouse.api import catalog
from meterhouse.api.call import Answer, Call
from meterhouse.api.search import Searchable, answer
from meterhouse.api.v1 import products as v1_products
from meterhouse.billing.price import Price, Product
from meterhouse.ledger import prices, products
from meterhouse.wire.expand import expanded
from meterhouse.wire.search import Kind

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
    return await answer(call, _PRODUCTS)


async def prices_by_query(call: Call) -> Answer:
    """Search prices, newest first."""
    return await answer(call, _PRICES)


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


async def _shown_products(
    call: Call, found: list[Product], expand: Sequence[str]
) -> list[dict[str, Any]]:
    return await call.read(v1_products.shown, call, found, expanded(expand, listed=True))


async def _shown_prices(
    call: Call, found: list[Price], expand: Sequence[str]
) -> list[dict[str, Any]]:
    return await call.read(catalog.shown_prices, call, found, expanded(expand, listed=True))


_PRODUCTS = Searchable(
    "products",
    _PRODUCT_FIELDS,
    v1_products.EXPANDABLE_IN_LIST,
    lambda connection, scope, page, _: products.list_products(
        connection, scope, page, products.Filter()
    ),
    _texts_of_product,
    _shown_products,
)
_PRICES = Searchable(
    "prices",
    _PRICE_FIELDS,
    catalog.PRICE_EXPANDABLE_IN_LIST,
    lambda connection, scope, page, _: prices.list_prices(connection, scope, page, prices.Filter()),
    _texts_of_price,
    _shown_prices,
)
