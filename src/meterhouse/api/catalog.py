"""The catalog of what is sold: what requests about products and about prices have in common."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa
from msgspec import UNSET, UnsetType

from meterhouse import limits
from meterhouse.api.call import Call
from meterhouse.billing.price import Price, Product
from meterhouse.ledger import meters, prices, products
from meterhouse.ledger.announce import announce
from meterhouse.render.catalog import render_price, render_product
from meterhouse.wire import envelope, price_errors
from meterhouse.wire.ids import new_id
from meterhouse.wire.metadata import merge_metadata
from meterhouse.wire.params import Length, Metadata, Params

PRICE_EXPANDABLE = frozenset({"currency_options", "product", "tiers"})
PRICE_EXPANDABLE_IN_LIST = frozenset(f"data.{name}" for name in PRICE_EXPANDABLE)

ProductName = Annotated[str, Length(limits.PRODUCT_NAME_CHARS_MAX)]
UnitLabel = Annotated[str, Length(limits.UNIT_LABEL_CHARS_MAX)]
Descriptor = Annotated[str, Length(limits.STATEMENT_DESCRIPTOR_CHARS_MAX)]


class ProductData(Params):
    """A product that is made with its price."""

    name: ProductName
    id: str | None = None
    active: bool = True
    metadata: Metadata | UnsetType | None = UNSET
    statement_descriptor: Descriptor | None = None
    tax_code: str | None = None
    unit_label: UnitLabel | None = None


def new_product(call: Call, params: ProductData) -> Product:
    """Return the product that comes with a price."""
    details = {"statement_descriptor": params.statement_descriptor, "tax_code": params.tax_code}
    return Product(
        id=params.id or new_id("prod"),
        scope=call.scope.id,
        active=params.active,
        name=params.name,
        unit_label=params.unit_label,
        default_price=None,
        metadata=merge_metadata({}, params.metadata),
        details={name: value for name, value in details.items() if value is not None},
        created=call.now,
        updated=call.now,
    )


def shown_prices(
    connection: sa.Connection, call: Call, rows: Sequence[Price], expand: frozenset[str]
) -> list[dict[str, Any]]:
    """Return prices as they are shown, with their products where those are expanded."""
    livemode = call.scope.livemode
    sold: dict[str, Product] = {}
    if "product" in expand:
        sold = products.by_ids(connection, call.scope.id, {row.product for row in rows})
    return [
        render_price(
            row,
            livemode=livemode,
            expand=expand,
            product=render_product(sold[row.product], livemode=livemode) if sold else None,
        )
        for row in rows
    ]


def add_product(connection: sa.Connection, call: Call, product: Product) -> None:
    """Store a new product, and announce it."""
    if not products.create_product(connection, product):
        raise price_errors.product_exists()
    announce(
        connection,
        call.cause,
        "product.created",
        f"/v1/products/{product.id}",
        render_product(product, livemode=call.scope.livemode),
    )
    call.note(connection, "product.created", product.id)


def add_price(
    connection: sa.Connection, call: Call, price: Price, *, transfer: bool = False
) -> None:
    """Store a new price, whose product exists, and announce it."""
    recurring = price.recurring
    if recurring and recurring.meter is not None:
        meter = meters.find_meter(connection, call.scope.id, recurring.meter)
        if meter is None:
            raise envelope.no_such("billing meter", recurring.meter, "recurring[meter]")
        if not meter.active:
            raise price_errors.inactive_meter(meter.id)
    take_lookup_key(connection, call, price, transfer=transfer)
    prices.create_price(connection, price)
    announce(
        connection,
        call.cause,
        "price.created",
        f"/v1/prices/{price.id}",
        render_price(price, livemode=call.scope.livemode),
    )
    call.note(connection, "price.created", price.id)


def take_lookup_key(connection: sa.Connection, call: Call, price: Price, *, transfer: bool) -> None:
    """Make sure that no other price has the lookup key of `price`."""
    if price.lookup_key is None:
        return
    holder = prices.find_lookup_key(connection, call.scope.id, price.lookup_key)
    if holder is None:
        return
    if not transfer:
        raise price_errors.lookup_key_taken(holder.id)
    update_price(connection, call, msgspec.structs.replace(holder, lookup_key=None), holder)


def update_price(connection: sa.Connection, call: Call, price: Price, before: Price) -> None:
    """Store what a price has become, and announce it; nothing where nothing has changed."""
    if price == before:
        return
    prices.update_price(connection, price)
    livemode = call.scope.livemode
    announce(
        connection,
        call.cause,
        "price.updated",
        f"/v1/prices/{price.id}",
        render_price(price, livemode=livemode),
        render_price(before, livemode=livemode),
    )
    call.note(connection, "price.updated", price.id)
