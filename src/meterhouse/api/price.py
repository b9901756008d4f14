"""A price, as a request tells it: its parameters, and what they come to.

https://docs.stripe.com/api/prices/create. Whatever would change an amount and is not built is
refused, never ignored.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import UNSET, UnsetType

from meterhouse import limits
from meterhouse.api.call import Call
from meterhouse.billing.money import CURRENCIES, EXACT
from meterhouse.billing.price import (
    Interval,
    Option,
    Price,
    Pricing,
    Recurrence,
    Recurring,
    TaxBehavior,
    Tier,
    TiersMode,
    Transform,
    UsageType,
)
from meterhouse.wire import param_errors, price_errors
from meterhouse.wire.ids import new_id
from meterhouse.wire.metadata import merge_metadata
from meterhouse.wire.params import (
    Between,
    Items,
    Keys,
    Length,
    Metadata,
    Params,
    RequestParams,
)

Amount = Annotated[int, Between(-limits.PRICE_AMOUNT_LIMIT, limits.PRICE_AMOUNT_LIMIT)]

# stripe-python writes a small `Decimal` with an exponent.
_DECIMAL = re.compile(r"[0-9]{1,50}(?:\.[0-9]{1,50})?(?:[eE][+-]?[0-9]{1,2})?")
_ENDLESS = "inf"
# How many intervals make three years, and how Stripe calls prices of such an interval.
_INTERVALS_MAX: Mapping[Interval, tuple[int, str]] = {
    "day": (1095, "daily"),
    "month": (36, "monthly"),
    "week": (156, "weekly"),
    "year": (3, "yearly"),
}


class TierParams(Params):
    """A tier: what units cost up to one of them, or to the last."""

    up_to: str
    unit_amount: Amount | None = None
    unit_amount_decimal: str | None = None
    flat_amount: Amount | None = None
    flat_amount_decimal: str | None = None


class TransformParams(Params):
    """Packages."""

    divide_by: Annotated[int, Between(1, limits.PRICE_AMOUNT_LIMIT)]
    round: Literal["down", "up"]


class RecurringParams(Params):
    """How often it is billed, and what for."""

    interval: Interval
    interval_count: Annotated[int, Between(1, 10**6)] = 1
    meter: str | None = None
    trial_period_days: Annotated[int, Between(0, limits.PRICE_TRIAL_DAYS_MAX)] | None = None
    usage_type: UsageType = "licensed"


class OptionParams(Params):
    """What it costs in another currency."""

    custom_unit_amount: dict[str, str] | None = None
    tax_behavior: TaxBehavior = "unspecified"
    tiers: Annotated[list[TierParams], Items(limits.PRICE_TIERS_ITEMS_MAX)] | None = None
    unit_amount: Amount | None = None
    unit_amount_decimal: str | None = None


CurrencyOptions = Annotated[
    dict[str, OptionParams],
    Keys(limits.PRICE_CURRENCIES_KEYS_MAX, limits.METADATA_KEY_CHARS_MAX, 1),
]


class AmountParams(RequestParams):
    """What a price costs, wherever one is made."""

    currency: str
    currency_options: CurrencyOptions | None = None
    custom_unit_amount: dict[str, str] | None = None
    metadata: Metadata | UnsetType | None = UNSET
    recurring: RecurringParams | None = None
    tax_behavior: TaxBehavior = "unspecified"
    unit_amount: Amount | None = None
    unit_amount_decimal: str | None = None


class PriceParams(AmountParams):
    """The rest of what a price may have."""

    active: bool = True
    billing_scheme: Literal["per_unit", "tiered"] = "per_unit"
    lookup_key: Annotated[str, Length(limits.LOOKUP_KEY_CHARS_MAX)] | None = None
    nickname: str | None = None
    tiers: Annotated[list[TierParams], Items(limits.PRICE_TIERS_ITEMS_MAX)] | None = None
    tiers_mode: TiersMode | None = None
    transfer_lookup_key: bool = False
    transform_quantity: TransformParams | None = None


def price_of(call: Call, params: PriceParams, product: str) -> Price:
    """Return the price of `product` that a request asks for; refuse one that could not be billed.

    Whether its product and its meter exist is not known here, nor whose its lookup key is.
    """
    currency = read_currency(params.currency)
    recurring = _recurring(params.recurring) if params.recurring else None
    tiers = params.tiers
    if params.billing_scheme == "tiered":
        if recurring is None:
            raise price_errors.once_by_tiers()
        _check_tiered(params)
        pricing = Pricing(
            currency=currency, tiers=_tiers(tiers or [], "tiers"), tiers_mode=params.tiers_mode
        )
    else:
        for name in ("tiers", "tiers_mode"):
            if getattr(params, name) is not None:
                raise price_errors.only_of_tiers(name)
        pricing = _per_unit(params, currency, params.transform_quantity)
    return Price(
        id=new_id("price"),
        scope=call.scope.id,
        product=product,
        active=params.active,
        pricing=pricing,
        recurring=recurring,
        options=options_of(params.currency_options or {}, pricing),
        lookup_key=params.lookup_key,
        nickname=params.nickname,
        tax_behavior=params.tax_behavior,
        metadata=merge_metadata({}, params.metadata),
        created=call.now,
    )


def default_price_of(call: Call, params: AmountParams, product: str) -> Price:
    """Return the price that comes with a new product: so much a unit, once or again and again."""
    given = {
        name: getattr(params, name) for name in AmountParams.__struct_fields__ if name != "expand"
    }
    return price_of(call, PriceParams(**given), product)


def options_of(options: Mapping[str, OptionParams], own: Pricing) -> dict[str, Option]:
    """Return what a price of `own` pricing costs in other currencies."""
    return {
        currency: Option(
            pricing=_option(params, read_currency(currency, f"currency_options[{currency}]"), own),
            tax_behavior=params.tax_behavior,
        )
        for currency, params in options.items()
    }


def read_currency(text: str, param: str = "currency") -> str:
    """Return a currency, in small letters."""
    currency = text.lower()
    if currency not in CURRENCIES:
        raise price_errors.invalid_currency(text, CURRENCIES, param)
    return currency


def _option(params: OptionParams, currency: str, own: Pricing) -> Pricing:
    parent = f"currency_options[{currency}]"
    if currency == own.currency:
        raise price_errors.own_currency_option(currency)
    if own.tiers_mode is None:
        if params.tiers is not None:
            raise price_errors.only_of_tiers(f"{parent}[tiers]")
        return _per_unit(params, currency, own.transform, parent)
    if params.unit_amount is not None or params.unit_amount_decimal is not None:
        raise price_errors.not_of_tiers(f"{parent}[unit_amount]")
    tiers = _tiers(params.tiers or [], f"{parent}[tiers]")
    return Pricing(currency=currency, tiers=tiers, tiers_mode=own.tiers_mode)


def _per_unit(
    params: AmountParams | OptionParams,
    currency: str,
    transform: TransformParams | Transform | None,
    parent: str = "",
) -> Pricing:
    if params.custom_unit_amount is not None:
        raise param_errors.not_supported(_inside(parent, "custom_unit_amount"))
    amount = _amount(params.unit_amount, params.unit_amount_decimal, parent, "unit_amount")
    if amount is None:
        raise price_errors.no_amount()
    packages = Transform(transform.divide_by, transform.round) if transform else None
    return Pricing(currency=currency, unit_amount=amount, transform=packages)


def _check_tiered(params: PriceParams) -> None:
    for name in ("unit_amount", "unit_amount_decimal", "transform_quantity", "custom_unit_amount"):
        if getattr(params, name) is not None:
            raise price_errors.not_of_tiers(name)
    for name in ("tiers", "tiers_mode"):
        if not getattr(params, name):
            raise param_errors.missing_param(name)


def _tiers(tiers: Sequence[TierParams], parent: str) -> tuple[Tier, ...]:
    """Return tiers that go up, of which the last one has no end."""
    read: list[Tier] = []
    below = 0
    for number, params in enumerate(tiers):
        tier = _tier(params, f"{parent}[{number}]")
        if tier.unit_amount is None and tier.flat_amount is None:
            raise price_errors.tier_without_amount(number, parent)
        if (tier.up_to is None) != (number == len(tiers) - 1):
            raise price_errors.tiers_end()
        if tier.up_to is not None and tier.up_to <= below:
            raise price_errors.tiers_not_rising(number, parent)
        below = tier.up_to or 0
        read.append(tier)
    if not read:
        raise param_errors.missing_param(parent)
    return tuple(read)


def _tier(params: TierParams, parent: str) -> Tier:
    flat = _amount(params.flat_amount, params.flat_amount_decimal, parent, "flat_amount", places=0)
    return Tier(
        _up_to(params.up_to, f"{parent}[up_to]"),
        _amount(params.unit_amount, params.unit_amount_decimal, parent, "unit_amount"),
        None if flat is None else int(flat),
    )


def _up_to(text: str, param: str) -> int | None:
    if text == _ENDLESS:
        return None
    if (
        not text.isdecimal()
        or not text.isascii()
        or len(text) > len(str(limits.PRICE_AMOUNT_LIMIT))
    ):
        raise param_errors.invalid_integer(param, text)
    return int(text)


def _amount(
    whole: int | None,
    decimal: str | None,
    parent: str,
    name: str,
    places: int = limits.PRICE_DECIMALS_MAX,
) -> Decimal | None:
    """Return an amount that is told as a whole number, or as a text with decimals."""
    param, param_decimal = _inside(parent, name), _inside(parent, f"{name}_decimal")
    if whole is not None and decimal is not None:
        raise param_errors.exclusive_params(param, param_decimal)
    if whole is not None:
        if whole < 0:
            raise price_errors.negative_amount(param)
        return Decimal(whole)
    if decimal is None:
        return None
    amount = Decimal(decimal) if _DECIMAL.fullmatch(decimal) else None
    if amount is None or amount > limits.PRICE_AMOUNT_LIMIT or not _is_whole(amount, places):
        raise price_errors.invalid_decimal(decimal, places, param_decimal)
    return amount


def _is_whole(amount: Decimal, places: int) -> bool:
    """Tell whether an amount has so many decimal places at most."""
    last_places = EXACT.scaleb(amount, places)
    return last_places == last_places.to_integral_value()


def _recurring(params: RecurringParams) -> Recurring:
    count_max, adjective = _INTERVALS_MAX[params.interval]
    if params.interval_count > count_max:
        raise price_errors.interval_too_long(adjective, count_max)
    if params.usage_type == "metered" and params.meter is None:
        raise price_errors.metered_without_meter()
    if params.usage_type == "licensed" and params.meter is not None:
        raise price_errors.licensed_with_meter()
    return Recurring(
        recurrence=Recurrence(params.interval, params.interval_count),
        usage_type=params.usage_type,
        meter=params.meter,
        trial_period_days=params.trial_period_days,
    )


def _inside(parent: str, name: str) -> str:
    return f"{parent}[{name}]" if parent else name
