"""Refusals about products and prices, in Stripe's words where they are known.

https://docs.stripe.com/api/prices. Where they are not, a plain sentence names the parameter.
"""

from collections.abc import Iterable

from meterhouse.errors import Refusal
from meterhouse.wire.envelope import quote


def no_such_price(price: str) -> Refusal:
    """Refuse an id in the path that no price has."""
    return Refusal(
        f"No such price: '{quote(price)}'", status=404, code="resource_missing", param="price"
    )


def product_exists() -> Refusal:
    """Refuse an id that another product has."""
    return Refusal("Product already exists.", code="resource_already_exists", param="id")


def product_has_prices() -> Refusal:
    """Refuse to delete a product that has prices, active or not."""
    return Refusal("This product cannot be deleted because it has one or more user-created prices.")


def not_its_price(price: str, product: str) -> Refusal:
    """Refuse a default price that belongs to another product."""
    return Refusal(
        f"The price '{quote(price)}' does not belong to the product '{quote(product)}'.",
        param="default_price",
    )


def is_default_price() -> Refusal:
    """Refuse to archive the price that a product is sold at unless another is named."""
    return Refusal(
        "This price cannot be archived because it is the default price of its product.",
        param="active",
    )


def inactive_default_price(price: str) -> Refusal:
    """Refuse a default price that is archived."""
    return Refusal(f"The price '{quote(price)}' is inactive.", param="default_price")


def no_product() -> Refusal:
    """Refuse a price of nothing."""
    return Refusal("You must specify either `product` or `product_data` when creating a price.")


def no_amount() -> Refusal:
    """Refuse a price without an amount."""
    return Refusal("Prices require an `unit_amount` or `unit_amount_decimal` parameter to be set.")


def invalid_currency(text: str, known: Iterable[str], param: str = "currency") -> Refusal:
    """Refuse what is no currency."""
    return Refusal(
        f"Invalid currency: {quote(text)}. Stripe currently supports these currencies: "
        f"{', '.join(sorted(known))}",
        param=param,
    )


def negative_amount(param: str) -> Refusal:
    """Refuse an amount below zero."""
    return Refusal("Invalid non-negative integer", code="parameter_invalid_integer", param=param)


def invalid_decimal(text: str, decimals_max: int, param: str) -> Refusal:
    """Refuse what is no amount."""
    return Refusal(
        f"Invalid decimal: {quote(text)}; must be at least 0, with at most {decimals_max} decimal "
        "places",
        code="parameter_invalid_decimal",
        param=param,
    )


def not_of_tiers(param: str) -> Refusal:
    """Refuse a parameter that a price with tiers cannot have."""
    return Refusal(f"`{param}` cannot be set when `billing_scheme` is `tiered`.", param=param)


def only_of_tiers(param: str) -> Refusal:
    """Refuse a parameter that only a price with tiers has."""
    return Refusal(f"`{param}` can only be set when `billing_scheme` is `tiered`.", param=param)


def once_by_tiers() -> Refusal:
    """Refuse tiers of what is billed once."""
    return Refusal(
        "Prices with `type=one_time` are not supported with tiered billing.", param="interval"
    )


def tier_without_amount(number: int, parent: str) -> Refusal:
    """Refuse a tier that tells no amount."""
    return Refusal(
        "Each tier must have a unit amount or a flat amount.", param=f"{parent}[{number}]"
    )


def tiers_end() -> Refusal:
    """Refuse tiers of which the last one ends, or another does not."""
    return Refusal("The last tier, and no other, must have `up_to` set to `inf`.", param="tiers")


def tiers_not_rising(number: int, parent: str) -> Refusal:
    """Refuse a tier that ends where the one before does, or earlier."""
    return Refusal(
        "Each tier must end above the one before it.", param=f"{parent}[{number}][up_to]"
    )


def interval_too_long(adjective: str, count_max: int) -> Refusal:
    """Refuse an interval of more than three years."""
    return Refusal(
        f"The interval_count for {adjective} prices can't be greater than {count_max}",
        param="recurring[interval_count]",
    )


def metered_without_meter() -> Refusal:
    """Refuse a metered price of no meter."""
    return Refusal(
        "Starting with Stripe version `2025-03-31.basil`, metered prices must be backed by meters."
    )


def licensed_with_meter() -> Refusal:
    """Refuse a meter of a price that is not billed by usage."""
    return Refusal(
        "A `meter` can only be set when `usage_type` is `metered`.", param="recurring[meter]"
    )


def inactive_meter(meter: str) -> Refusal:
    """Refuse a meter that takes no more events."""
    return Refusal(f"The meter '{quote(meter)}' is inactive.", param="recurring[meter]")


def lookup_key_taken(price: str) -> Refusal:
    """Refuse a lookup key that another price has."""
    return Refusal(f"A price (`{quote(price)}`) already uses that lookup key.", param="lookup_key")


def own_currency_option(currency: str) -> Refusal:
    """Refuse an option in the currency that the price has anyhow."""
    return Refusal(
        f"The currency of the price cannot be one of its options: {quote(currency)}",
        param=f"currency_options[{quote(currency)}]",
    )


def option_in_use(currency: str) -> Refusal:
    """Refuse to change what a price that somebody is billed by costs in another currency."""
    return Refusal(
        "Somebody is, or was, billed by this price, so what it costs in a currency can neither be "
        "changed nor removed.",
        param=f"currency_options[{quote(currency)}]",
    )
