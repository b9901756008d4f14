"""Invoice items, as requests tell them: by an amount, a unit amount, or a price, of a quantity.

https://docs.stripe.com/api/invoiceitems/create. Lines of drafts are told in the same way.
"""

import re
from decimal import Decimal
from typing import Annotated, Any, NamedTuple

import msgspec
import sqlalchemy as sa
from msgspec import UNSET, UnsetType

from meterhouse import limits
from meterhouse.api import catalog
from meterhouse.api.call import Call
from meterhouse.api.price import AmountParams, default_price_of, read_currency
from meterhouse.billing.bill import item_part, pricing_in
from meterhouse.billing.charge import billable, charges
from meterhouse.billing.invoice import InvoiceItem, Line
from meterhouse.billing.money import EXACT, rounded
from meterhouse.billing.period import Period
from meterhouse.billing.price import Price, TaxBehavior
from meterhouse.invoicing.bill import catalog_of
from meterhouse.ledger import prices, products
from meterhouse.wire import envelope, invoice_errors, price_errors
from meterhouse.wire.ids import new_id
from meterhouse.wire.metadata import merge_metadata
from meterhouse.wire.param_errors import exclusive_params
from meterhouse.wire.params import (
    Between,
    Forgotten,
    Metadata,
    Params,
    RequestParams,
    Timestamp,
    Unsupported,
)

Amount = Annotated[int, Between(-limits.PRICE_AMOUNT_LIMIT, limits.PRICE_AMOUNT_LIMIT)]
Quantity = Annotated[int, Between(0, limits.PRICE_AMOUNT_LIMIT)]

# stripe-python writes a small `Decimal` with an exponent.
_DECIMAL = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,12})?(?:[eE][+-]?[0-9]{1,2})?")
# The ways to tell what it costs, of which one is enough.
_WAYS = ("amount", "price", "price_data", "pricing", "unit_amount", "unit_amount_decimal")


class PeriodParams(Params):
    """What it is for."""

    end: Timestamp
    start: Timestamp


class PricingParams(Params):
    """A price of the catalog."""

    price: str


class PriceData(Params):
    """A price that is made with it."""

    currency: str
    product: str
    tax_behavior: TaxBehavior = "unspecified"
    unit_amount: Quantity | None = None
    unit_amount_decimal: str | None = None


class ItemWrite(RequestParams):
    """What an item, and a line of a draft, can be told."""

    amount: Amount | None = None
    description: str | UnsetType | None = UNSET
    discountable: Forgotten | None = None
    discounts: Unsupported | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET
    period: PeriodParams | None = None
    price: str | None = None
    price_data: PriceData | None = None
    pricing: PricingParams | None = None
    quantity: Quantity | None = None
    quantity_decimal: str | None = None
    tax_amounts: Unsupported | UnsetType | None = UNSET
    tax_behavior: Forgotten | None = None
    tax_code: Forgotten | UnsetType | None = UNSET
    tax_rates: Unsupported | UnsetType | None = UNSET
    unit_amount: Amount | None = None
    unit_amount_decimal: str | None = None


class _Cost(NamedTuple):
    """What an item comes to, and how it is told where nothing else is."""

    amount: int
    unit_amount: Decimal
    price: str | None = None
    product: str | None = None


def blank_item(
    scope: int, customer: str, test_clock: str | None, currency: str, now: int
) -> InvoiceItem:
    """Return a new item of a customer, which nobody has told anything of."""
    return InvoiceItem(
        id=new_id("ii"),
        scope=scope,
        customer=customer,
        subscription=None,
        subscription_item=None,
        invoice=None,
        test_clock=test_clock,
        currency=currency,
        description=None,
        amount=0,
        quantity=Decimal(1),
        unit_amount=Decimal(0),
        price=None,
        period=Period(now, now),
        created=now,
    )


def check_item(params: ItemWrite) -> None:
    """Refuse what is told twice."""
    ways = [name for name in _WAYS if getattr(params, name) is not None]
    if len(ways) > 1:
        raise exclusive_params(*ways)
    if params.quantity is not None and params.quantity_decimal is not None:
        raise exclusive_params("quantity", "quantity_decimal")
    if params.amount is not None:
        for name in ("quantity", "quantity_decimal"):
            if getattr(params, name) is not None:
                raise exclusive_params("amount", name)


def tells_cost(params: ItemWrite) -> bool:
    """Tell whether a request says what an item costs, be it nothing."""
    return any(getattr(params, name) is not None for name in _WAYS)


def currency_of(connection: sa.Connection, call: Call, params: ItemWrite) -> str | None:
    """Return the currency of the price that is told, None where none is."""
    if params.price_data is not None:
        return read_currency(params.price_data.currency, "price_data[currency]")
    named = _named(params)
    return None if named is None else _price(connection, call, *named).pricing.currency


def told(
    connection: sa.Connection, call: Call, item: InvoiceItem, params: ItemWrite
) -> InvoiceItem:
    """Return what an item becomes by what was checked; one that is new needs to be told a cost."""
    if item.usage_in is not None:
        _check_usage(params)
    values: dict[str, Any] = {"metadata": merge_metadata(item.metadata, params.metadata)}
    if params.description is not UNSET:
        values["description"] = params.description
    if params.period is not None:
        start, end = params.period.start * 1000, params.period.end * 1000
        if end < start:
            raise invoice_errors.period_backwards()
        values["period"] = Period(start, end)
    quantity = _quantity(params, item)
    if quantity != item.quantity or tells_cost(params):
        cost = _cost(connection, call, item, params, quantity)
        if abs(cost.amount) > limits.PRICE_AMOUNT_LIMIT:
            raise invoice_errors.amount_too_large()
        values |= {
            "amount": cost.amount,
            "unit_amount": cost.unit_amount,
            "price": cost.price,
            "quantity": quantity,
        }
        if cost.product is not None and (values.get("description") or item.description) is None:
            values["description"] = cost.product
    return msgspec.structs.replace(item, **values)


def line_of(connection: sa.Connection, item: InvoiceItem, line_id: str) -> Line:
    """Return the line that an item is on an invoice."""
    named = [item.price] if item.price is not None else []
    part = item_part(item, catalog_of(connection, item.scope, named), "flexible")
    if not isinstance(part, Line):
        raise TypeError("what is counted from usage has lines of its own")
    return msgspec.structs.replace(part, id=line_id)


def _check_usage(params: ItemWrite) -> None:
    for name in (*_WAYS, "period", "quantity", "quantity_decimal"):
        if getattr(params, name) is not None:
            raise invoice_errors.counted_from_usage(name)


def _quantity(params: ItemWrite, item: InvoiceItem) -> Decimal:
    if params.amount is not None:
        return Decimal(1)
    if params.quantity is not None:
        return Decimal(params.quantity)
    if params.quantity_decimal is None:
        return item.quantity
    return _decimal(params.quantity_decimal, "quantity_decimal", negative=False)


def _cost(
    connection: sa.Connection,
    call: Call,
    item: InvoiceItem,
    params: ItemWrite,
    quantity: Decimal,
) -> _Cost:
    """Return what so many come to, by what is told, or as it was told before."""
    if params.amount is not None:
        return _Cost(params.amount, Decimal(params.amount))
    unit = _unit(params)
    if unit is not None:
        return _by_unit(unit, quantity)
    price, param = _price_told(connection, call, item, params)
    if price is None:
        return _by_unit(item.unit_amount, quantity)
    return _priced(connection, item, price, quantity, param)


def _unit(params: ItemWrite) -> Decimal | None:
    if params.unit_amount is not None:
        return Decimal(params.unit_amount)
    if params.unit_amount_decimal is not None:
        return _decimal(params.unit_amount_decimal, "unit_amount_decimal", negative=True)
    return None


def _price_told(
    connection: sa.Connection, call: Call, item: InvoiceItem, params: ItemWrite
) -> tuple[Price | None, str]:
    """Return the price that is told, or else the item's own, and the parameter that it is about."""
    if params.price_data is not None:
        return _new_price(connection, call, params.price_data), "price_data[currency]"
    named = _named(params)
    if named is not None:
        return _price(connection, call, *named), named[1]
    if item.price is None:
        return None, ""
    return prices.find_price(connection, item.scope, item.price), "quantity"


def _by_unit(unit: Decimal, quantity: Decimal) -> _Cost:
    return _Cost(rounded(EXACT.multiply(unit, quantity)), unit)


def _priced(
    connection: sa.Connection, item: InvoiceItem, price: Price, quantity: Decimal, param: str
) -> _Cost:
    if price.pricing.currency != item.currency and item.currency not in price.options:
        raise invoice_errors.other_currency(price.pricing.currency, item.currency, param)
    (charge,) = charges(pricing_in(price, item.currency), billable(quantity))
    product = products.find_product(connection, item.scope, price.product)
    name = product.name if product else None
    return _Cost(charge.amount, charge.unit_amount, price.id, name)


def _named(params: ItemWrite) -> tuple[str, str] | None:
    """Return the price that is named, and the parameter that names it."""
    if params.pricing is not None:
        return params.pricing.price, "pricing[price]"
    return None if params.price is None else (params.price, "price")


def _price(connection: sa.Connection, call: Call, price_id: str, param: str) -> Price:
    price = prices.find_price(connection, call.scope.id, price_id)
    if price is None:
        raise envelope.no_such("price", price_id, param)
    if price.recurring is not None:
        raise invoice_errors.recurring_price(param)
    if not price.active:
        raise invoice_errors.inactive_price(param)
    return price


def _new_price(connection: sa.Connection, call: Call, data: PriceData) -> Price:
    """Store a price that is sold this once: it is archived from the beginning."""
    if products.find_product(connection, call.scope.id, data.product) is None:
        raise envelope.no_such("product", data.product, "price_data[product]")
    params = AmountParams(
        currency=data.currency,
        tax_behavior=data.tax_behavior,
        unit_amount=data.unit_amount,
        unit_amount_decimal=data.unit_amount_decimal,
    )
    made = default_price_of(call, params, data.product)
    price = msgspec.structs.replace(made, active=False)
    catalog.add_price(connection, call, price)
    return price


def _decimal(text: str, param: str, *, negative: bool) -> Decimal:
    number = Decimal(text) if _DECIMAL.fullmatch(text) else None
    if number is None or abs(number) > limits.PRICE_AMOUNT_LIMIT or (number < 0 and not negative):
        raise price_errors.invalid_decimal(text, limits.PRICE_DECIMALS_MAX, param)
    scaled = EXACT.scaleb(number, limits.PRICE_DECIMALS_MAX)
    if scaled != scaled.to_integral_value():
        raise price_errors.invalid_decimal(text, limits.PRICE_DECIMALS_MAX, param)
    return number
