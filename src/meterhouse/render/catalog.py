"""Products and prices as Stripe shows them; each function gives a document of plain values."""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

from meterhouse.billing.money import print_decimal
from meterhouse.billing.price import Price, Pricing, Product, Recurring, TaxBehavior, Tier
from meterhouse.render.instant import seconds

_PRODUCT_DEFAULTS: Mapping[str, Any] = {
    "description": None,
    "images": [],
    "marketing_features": [],
    "package_dimensions": None,
    "shippable": None,
    "statement_descriptor": None,
    "tax_code": None,
    "tax_details": None,
    "type": "service",
    "url": None,
}


def render_product(
    one: Product, *, livemode: bool, default_price: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Render a product (https://docs.stripe.com/api/products/object).

    `default_price` is that price as it is shown, where it is to be expanded.
    """
    return {
        "id": one.id,
        "object": "product",
        "active": one.active,
        "created": seconds(one.created),
        "default_price": default_price or one.default_price,
        "livemode": livemode,
        "metadata": one.metadata,
        "name": one.name,
        "unit_label": one.unit_label,
        "updated": seconds(one.updated),
        **_PRODUCT_DEFAULTS,
        **one.details,
    }


def render_price(
    one: Price,
    *,
    livemode: bool,
    expand: Collection[str] = (),
    product: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Render a price (https://docs.stripe.com/api/prices/object).

    Tiers and other currencies show only where they are in `expand`; `product` is its product as it
    is shown, where that is to be expanded.
    """
    pricing = one.pricing
    transform = pricing.transform
    document: dict[str, Any] = {
        "id": one.id,
        "object": "price",
        "active": one.active,
        "billing_scheme": pricing.scheme,
        "created": seconds(one.created),
        "currency": pricing.currency,
        "custom_unit_amount": None,
        "livemode": livemode,
        "lookup_key": one.lookup_key,
        "metadata": one.metadata,
        "nickname": one.nickname,
        "product": product or one.product,
        "recurring": one.recurring and _recurring(one.recurring),
        "tax_behavior": one.tax_behavior,
        "tiers_mode": pricing.tiers_mode,
        "transform_quantity": transform
        and {"divide_by": transform.divide_by, "round": transform.round},
        "type": one.type,
        **_amounts("unit_amount", pricing.unit_amount),
    }
    if "tiers" in expand and pricing.tiers:
        document["tiers"] = _tiers(pricing.tiers)
    if "currency_options" in expand:
        own = {pricing.currency: _option(pricing, one.tax_behavior, expand)}
        document["currency_options"] = own | {
            currency: _option(option.pricing, option.tax_behavior, expand)
            for currency, option in one.options.items()
        }
    return document


def render_plan(
    one: Price,
    *,
    livemode: bool,
    expand: Collection[str] = (),
    product: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Render a recurring price as the plan that it was before there were prices.

    `expand` and `product` are as for the price (https://docs.stripe.com/api/plans/object).
    """
    price = render_price(one, livemode=livemode, expand=expand, product=product)
    recurring = price["recurring"]
    same = ("active", "billing_scheme", "created", "currency", "metadata", "nickname", "product")
    document = {
        "id": one.id,
        "object": "plan",
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        **{name: price[name] for name in (*same, "tiers_mode")},
        **recurring,
        "livemode": livemode,
        "transform_usage": price["transform_quantity"],
    }
    return document | {"tiers": price["tiers"]} if "tiers" in price else document


def _recurring(one: Recurring) -> dict[str, Any]:
    return {
        "interval": one.recurrence.interval,
        "interval_count": one.recurrence.count,
        "meter": one.meter,
        "trial_period_days": one.trial_period_days,
        "usage_type": one.usage_type,
    }


def _option(pricing: Pricing, behavior: TaxBehavior, expand: Collection[str]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "custom_unit_amount": None,
        "tax_behavior": behavior,
        **_amounts("unit_amount", pricing.unit_amount),
    }
    if "tiers" in expand and pricing.tiers:
        document["tiers"] = _tiers(pricing.tiers)
    return document


def _tiers(tiers: Sequence[Tier]) -> list[dict[str, Any]]:
    return [
        {
            **_amounts(
                "flat_amount", None if one.flat_amount is None else Decimal(one.flat_amount)
            ),
            **_amounts("unit_amount", one.unit_amount),
            "up_to": one.up_to,
        }
        for one in tiers
    ]


def _amounts(name: str, amount: Decimal | None) -> dict[str, Any]:
    """Show an amount exactly, and as a whole number where it is one."""
    if amount is None:
        return {name: None, f"{name}_decimal": None}
    whole = int(amount) if amount == amount.to_integral_value() else None
    return {name: whole, f"{name}_decimal": print_decimal(amount)}
