"""`/v1/products` (https://docs.stripe.com/api/products)."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
import sqlalchemy as sa
from msgspec import UNSET, UnsetType

from meterhouse import limits
from meterhouse.api import catalog
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.catalog import Descriptor, ProductName, UnitLabel
from meterhouse.api.once import once
from meterhouse.api.price import AmountParams, default_price_of
from meterhouse.billing.price import Price, Product
from meterhouse.ledger import prices, products
from meterhouse.ledger.announce import announce
from meterhouse.ledger.products import Filter
from meterhouse.render.catalog import render_price, render_product
from meterhouse.wire import envelope, param_errors, price_errors
from meterhouse.wire.deleted import deleted
from meterhouse.wire.expand import check_expand, expanded
from meterhouse.wire.ids import new_id
from meterhouse.wire.metadata import merge_metadata
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.params import Items, Length, Metadata, Params, RequestParams, TimeRange

_EXPANDABLE = frozenset({"default_price", "tax_code"})
EXPANDABLE_IN_LIST = frozenset(f"data.{name}" for name in _EXPANDABLE)
_DETAILS = (
    "description",
    "images",
    "marketing_features",
    "package_dimensions",
    "shippable",
    "statement_descriptor",
    "tax_code",
    "tax_details",
    "url",
)


class Feature(Params):
    """A line of a price list."""

    name: Annotated[str, Length(limits.PRODUCT_FEATURE_CHARS_MAX)]


class Dimensions(Params):
    """The size of a package, in inches, and its weight, in ounces."""

    height: str
    length: str
    weight: str
    width: str


class TaxDetails(Params):
    """How it would be taxed."""

    tax_code: str | None = None


class ProductWrite(RequestParams, kw_only=True):
    """The parameters of a new product, and of a change to one; an empty string unsets."""

    active: bool | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    images: Annotated[list[str], Items(limits.PRODUCT_IMAGES_ITEMS_MAX)] | UnsetType | None = UNSET
    marketing_features: (
        Annotated[list[Feature], Items(limits.PRODUCT_FEATURES_ITEMS_MAX)] | UnsetType | None
    ) = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    package_dimensions: Dimensions | UnsetType | None = UNSET
    shippable: bool | UnsetType = UNSET
    statement_descriptor: Descriptor | UnsetType = UNSET
    tax_code: str | UnsetType | None = UNSET
    tax_details: TaxDetails | UnsetType | None = UNSET
    unit_label: UnitLabel | UnsetType | None = UNSET
    url: str | UnsetType | None = UNSET


class ProductCreate(ProductWrite, kw_only=True):
    """The parameters of a new product."""

    name: ProductName
    id: Annotated[str, Length(limits.PRODUCT_ID_CHARS_MAX)] | None = None
    default_price_data: AmountParams | None = None
    type: Literal["good", "service"] = "service"


class ProductUpdate(ProductWrite):
    """The parameters of a change to a product."""

    name: ProductName | UnsetType = UNSET
    default_price: str | UnsetType | None = UNSET


class ProductList(PageParams):
    """The parameters of the list."""

    active: bool | None = None
    created: TimeRange | None = None
    ids: list[str] | None = None
    shippable: bool | None = None
    type: Literal["good", "service"] | None = None
    url: str | None = None


async def create(call: Call) -> Answer:
    """Create a product, and its default price where that is told."""
    params = call.params(ProductCreate)
    check_expand(params.expand, _EXPANDABLE)
    details = {} if params.type == "service" else {"type": params.type}
    product = _changed(
        Product(
            id=params.id or new_id("prod"),
            scope=call.scope.id,
            active=True,
            name=params.name,
            unit_label=None,
            default_price=None,
            metadata={},
            details=details,
            created=call.now,
            updated=call.now,
        ),
        params,
    )
    price = params.default_price_data and default_price_of(
        call, params.default_price_data, product.id
    )
    if price:
        product = msgspec.structs.replace(product, default_price=price.id)

    def work(connection: sa.Connection) -> Answer:
        catalog.add_product(connection, call, product)
        if price:
            catalog.add_price(connection, call, price)
        return _shown(connection, call, product, params)

    return await once(call, work)


async def retrieve(call: Call) -> Answer:
    """Show a product."""
    params = call.params(RequestParams)
    check_expand(params.expand, _EXPANDABLE)

    def work(connection: sa.Connection) -> Answer:
        return _shown(connection, call, _find(connection, call), params)

    return await call.read(work)


async def update(call: Call) -> Answer:
    """Change a product."""
    params = call.params(ProductUpdate)
    check_expand(params.expand, _EXPANDABLE)

    def work(connection: sa.Connection) -> Answer:
        before = _find(connection, call, lock=True)
        product = _changed(before, params)
        if product.default_price not in (None, before.default_price):
            _check_default_price(connection, product)
        if product != before:
            product = msgspec.structs.replace(product, updated=call.now)
            products.update_product(connection, product)
            _announce(connection, call, "updated", product, before)
        return _shown(connection, call, product, params)

    return await once(call, work)


async def delete(call: Call) -> Answer:
    """Delete a product that never had a price."""
    check_expand(call.params(RequestParams).expand)

    def work(connection: sa.Connection) -> Answer:
        product = _find(connection, call, lock=True)
        if prices.has_prices(connection, call.scope.id, product.id):
            raise price_errors.product_has_prices()
        products.delete_product(connection, product)
        _announce(connection, call, "deleted", product)
        return ok(deleted(product.id, "product"))

    return await call.services.stores.write(work)


async def list_(call: Call) -> Answer:
    """List products, newest first."""
    params = call.params(ProductList)
    check_expand(params.expand, EXPANDABLE_IN_LIST)
    if params.ids is not None and params.cursor:
        raise param_errors.exclusive_params("ids", params.cursor_param)
    details = {"shippable": params.shippable, "type": params.type, "url": params.url}
    wanted = Filter(
        active=params.active,
        ids=None if params.ids is None else tuple(params.ids),
        created=params.created.window() if params.created else (None, None),
        details={name: value for name, value in details.items() if value is not None},
    )

    def work(connection: sa.Connection) -> Answer:
        page = products.list_products(connection, call.scope.id, params, wanted)
        if page is None:
            raise envelope.no_such("product", params.cursor, params.cursor_param)
        rows, has_more = page
        expand = expanded(params.expand, listed=True)
        return ok(list_object(call.path, shown(connection, call, rows, expand), has_more))

    return await call.read(work)


def shown(
    connection: sa.Connection, call: Call, rows: Sequence[Product], expand: frozenset[str]
) -> list[dict[str, Any]]:
    """Return products as they are shown, with their default prices where those are expanded."""
    livemode = call.scope.livemode
    found: dict[str, Price] = {}
    if "default_price" in expand:
        ids = {row.default_price for row in rows if row.default_price}
        found = prices.by_ids(connection, call.scope.id, ids)
    return [
        render_product(
            row,
            livemode=livemode,
            default_price=render_price(found[row.default_price], livemode=livemode)
            if row.default_price in found
            else None,
        )
        for row in rows
    ]


def _find(connection: sa.Connection, call: Call, *, lock: bool = False) -> Product:
    product = products.find_product(connection, call.scope.id, call.ids[0], lock=lock)
    if product is None:
        raise envelope.no_such("product", call.ids[0])
    return product


def _check_default_price(connection: sa.Connection, product: Product) -> None:
    name = product.default_price or ""
    price = prices.find_price(connection, product.scope, name)
    if price is None:
        raise envelope.no_such("price", name, "default_price")
    if price.product != product.id:
        raise price_errors.not_its_price(name, product.id)
    if not price.active:
        raise price_errors.inactive_default_price(name)


def _changed(product: Product, params: ProductWrite) -> Product:
    given = msgspec.to_builtins(params)
    details = dict(product.details)
    for name in _DETAILS:
        if given.get(name, UNSET) is None:
            details.pop(name, None)
        elif name in given:
            details[name] = given[name]
    changes = {
        name: given[name]
        for name in ("active", "default_price", "name", "unit_label")
        if name in given
    }
    metadata = merge_metadata(product.metadata, params.metadata)
    return msgspec.structs.replace(product, metadata=metadata, details=details, **changes)


def _announce(
    connection: sa.Connection,
    call: Call,
    what: Literal["deleted", "updated"],
    product: Product,
    before: Product | None = None,
) -> None:
    livemode = call.scope.livemode
    announce(
        connection,
        call.cause,
        f"product.{what}",
        f"/v1/products/{product.id}",
        render_product(product, livemode=livemode),
        render_product(before, livemode=livemode) if before else None,
    )
    call.note(connection, f"product.{what}", product.id)


def _shown(
    connection: sa.Connection, call: Call, product: Product, params: RequestParams
) -> Answer:
    return ok(shown(connection, call, [product], expanded(params.expand))[0])
