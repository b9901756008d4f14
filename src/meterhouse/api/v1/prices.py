"""`/v1/prices` (https://docs.stripe.com/api/prices)."""

from typing import Annotated, Any, Literal

import msgspec
import sqlalchemy as sa
from msgspec import UNSET, UnsetType

from meterhouse import limits
from meterhouse.api import catalog
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.once import once
from meterhouse.api.price import CurrencyOptions, PriceParams, options_of, price_of
from meterhouse.billing.price import Interval, Price, TaxBehavior, UsageType
from meterhouse.ledger import prices, products
from meterhouse.ledger.prices import Filter
from meterhouse.wire import envelope, param_errors, price_errors
from meterhouse.wire.expand import check_expand, expanded
from meterhouse.wire.metadata import merge_metadata
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.params import Items, Length, Metadata, Params, RequestParams, TimeRange

LookupKey = Annotated[str, Length(limits.LOOKUP_KEY_CHARS_MAX)]


class PriceCreate(PriceParams):
    """The parameters of a new price."""

    product: str | None = None
    product_data: catalog.ProductData | None = None


class PriceUpdate(RequestParams):
    """What can be changed of a price."""

    active: bool | None = None
    currency_options: CurrencyOptions | UnsetType | None = UNSET
    lookup_key: LookupKey | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    nickname: str | UnsetType | None = UNSET
    tax_behavior: TaxBehavior | None = None
    transfer_lookup_key: bool = False


class RecurringFilter(Params):
    """Which recurring prices."""

    interval: Interval | None = None
    meter: str | None = None
    usage_type: UsageType | None = None


class PriceList(PageParams):
    """The parameters of the list."""

    active: bool | None = None
    created: TimeRange | None = None
    currency: str | None = None
    lookup_keys: Annotated[list[str], Items(limits.LOOKUP_KEYS_ITEMS_MAX)] | None = None
    product: str | None = None
    recurring: RecurringFilter | None = None
    type: Literal["one_time", "recurring"] | None = None


async def create(call: Call) -> Answer:
    """Create a price, and its product where that is told."""
    params = call.params(PriceCreate)
    check_expand(params.expand, catalog.PRICE_EXPANDABLE)
    if params.product is not None and params.product_data is not None:
        raise param_errors.exclusive_params("product", "product_data")
    if params.product is None and params.product_data is None:
        raise price_errors.no_product()
    made = params.product_data and catalog.new_product(call, params.product_data)
    price = price_of(call, params, made.id if made else params.product or "")

    def work(connection: sa.Connection) -> Answer:
        if made:
            catalog.add_product(connection, call, made)
        elif products.find_product(connection, call.scope.id, price.product, lock=True) is None:
            raise envelope.no_such("product", price.product, "product")
        catalog.add_price(connection, call, price, transfer=params.transfer_lookup_key)
        return _shown(connection, call, price, params)

    return await once(call, work)


async def retrieve(call: Call) -> Answer:
    """Show a price."""
    params = call.params(RequestParams)
    check_expand(params.expand, catalog.PRICE_EXPANDABLE)

    def work(connection: sa.Connection) -> Answer:
        return _shown(connection, call, _find(connection, call), params)

    return await call.read(work)


async def update(call: Call) -> Answer:
    """Change what can be changed of a price: not what it costs."""
    params = call.params(PriceUpdate)
    check_expand(params.expand, catalog.PRICE_EXPANDABLE)

    def work(connection: sa.Connection) -> Answer:
        before = _find(connection, call, lock=True)
        price = _changed(before, params)
        if before.active and not price.active and _is_default(connection, price):
            raise price_errors.is_default_price()
        _check_options(connection, before, price)
        if price.lookup_key != before.lookup_key:
            catalog.take_lookup_key(connection, call, price, transfer=params.transfer_lookup_key)
        catalog.update_price(connection, call, price, before)
        return _shown(connection, call, price, params)

    return await once(call, work)


async def list_(call: Call) -> Answer:
    """List prices, newest first."""
    params = call.params(PriceList)
    check_expand(params.expand, catalog.PRICE_EXPANDABLE_IN_LIST)
    recurring = params.recurring or RecurringFilter()
    wanted = Filter(
        active=params.active,
        currency=params.currency and params.currency.lower(),
        lookup_keys=None if params.lookup_keys is None else tuple(params.lookup_keys),
        product=params.product,
        recurring=None if params.type is None else params.type == "recurring",
        interval=recurring.interval,
        meter=recurring.meter,
        usage_type=recurring.usage_type,
        created=params.created.window() if params.created else (None, None),
    )

    def work(connection: sa.Connection) -> Answer:
        scope = call.scope.id
        if wanted.product and products.find_product(connection, scope, wanted.product) is None:
            raise envelope.no_such("product", wanted.product, "product")
        page = prices.list_prices(connection, scope, params, wanted)
        if page is None:
            raise envelope.no_such("price", params.cursor, params.cursor_param)
        rows, has_more = page
        expand = expanded(params.expand, listed=True)
        return ok(
            list_object(call.path, catalog.shown_prices(connection, call, rows, expand), has_more)
        )

    return await call.read(work)


def _find(connection: sa.Connection, call: Call, *, lock: bool = False) -> Price:
    price = prices.find_price(connection, call.scope.id, call.ids[0], lock=lock)
    if price is None:
        raise price_errors.no_such_price(call.ids[0])
    return price


def _changed(price: Price, params: PriceUpdate) -> Price:
    changes: dict[str, Any] = {"metadata": merge_metadata(price.metadata, params.metadata)}
    for name in ("active", "tax_behavior"):
        if getattr(params, name) is not None:
            changes[name] = getattr(params, name)
    for name in ("lookup_key", "nickname"):
        if getattr(params, name) is not UNSET:
            changes[name] = getattr(params, name)
    if params.currency_options is None:
        changes["options"] = {}
    elif not isinstance(params.currency_options, UnsetType):
        changes["options"] = {
            **price.options,
            **options_of(params.currency_options, price.pricing),
        }
    return msgspec.structs.replace(price, **changes)


def _check_options(connection: sa.Connection, before: Price, price: Price) -> None:
    """Refuse to take from somebody the amounts that they are billed by."""
    for currency, option in before.options.items():
        new = price.options.get(currency)
        if new is None or new.pricing != option.pricing:
            if prices.is_billed(connection, price.id):
                raise price_errors.option_in_use(currency)
            return


def _is_default(connection: sa.Connection, price: Price) -> bool:
    product = products.find_product(connection, price.scope, price.product)
    return product is not None and product.default_price == price.id


def _shown(connection: sa.Connection, call: Call, price: Price, params: RequestParams) -> Answer:
    return ok(catalog.shown_prices(connection, call, [price], expanded(params.expand))[0])
