"""Charges: what a quantity costs under a price, line by line.

What a reader may rely on:

- The quantity is never negative: what was given back beyond what was used is worth nothing.
- Each charge is rounded by itself, so a sum of lines is exact. Graduated tiers are a line each.
- A tier that is reached has a line for its units, and one for its flat amount where it has one. The
  first tier is always reached: its flat amount is owed for no use at all.

https://docs.stripe.com/products-prices/pricing-models
"""

from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from meterhouse.billing.money import EXACT, rounded
from meterhouse.billing.price import Pricing, Tier, Transform
from meterhouse.limits import PRICE_DECIMALS_MAX

ZERO = Decimal(0)


class Charge(NamedTuple):
    """One line: `quantity` units at `unit_amount` each, which make `amount` in minor units.

    `tier` counts from 1 and is None without tiers. The line of a `flat` amount has the quantity 0,
    and that amount as its unit amount. A quantity is what was used, not a number of packages.
    """

    quantity: Decimal
    unit_amount: Decimal
    amount: int
    tier: int | None = None
    flat: bool = False


def billable(usage: Decimal) -> Decimal:
    """Return the quantity that a total of usage is billed as: not negative, of few decimals."""
    if usage <= 0:
        return ZERO
    last_places = usage.scaleb(PRICE_DECIMALS_MAX, EXACT)
    return last_places.to_integral_value(ROUND_HALF_UP).scaleb(-PRICE_DECIMALS_MAX, EXACT)


def charges(pricing: Pricing, quantity: Decimal) -> list[Charge]:
    """Return the lines of a quantity that is `billable`, in the order in which they are printed."""
    if pricing.tiers_mode == "volume":
        return list(_volume(pricing.tiers, quantity))
    if pricing.tiers_mode == "graduated":
        return list(_graduated(pricing.tiers, quantity))
    unit_amount = pricing.unit_amount or ZERO
    units = _packages(quantity, pricing.transform) if pricing.transform else quantity
    return [Charge(quantity, unit_amount, rounded(EXACT.multiply(units, unit_amount)))]


def _packages(quantity: Decimal, transform: Transform) -> Decimal:
    packages, rest = EXACT.divmod(quantity, Decimal(transform.divide_by))
    return packages + 1 if rest and transform.round == "up" else packages


def _volume(tiers: tuple[Tier, ...], quantity: Decimal) -> Iterator[Charge]:
    """Price every unit as the tier does that holds the last one."""
    for number, tier in enumerate(tiers, 1):
        if tier.up_to is None or quantity <= tier.up_to:
            yield from _of_tier(tier, number, quantity)
            return


def _graduated(tiers: tuple[Tier, ...], quantity: Decimal) -> Iterator[Charge]:
    """Price the units of each tier as that tier does."""
    below = ZERO
    for number, tier in enumerate(tiers, 1):
        if number > 1 and quantity <= below:
            return
        upper = quantity if tier.up_to is None else min(quantity, Decimal(tier.up_to))
        yield from _of_tier(tier, number, EXACT.subtract(upper, below))
        below = upper


def _of_tier(tier: Tier, number: int, units: Decimal) -> Iterator[Charge]:
    unit_amount = tier.unit_amount or ZERO
    yield Charge(units, unit_amount, rounded(EXACT.multiply(units, unit_amount)), number)
    if tier.flat_amount is not None:
        yield Charge(ZERO, Decimal(tier.flat_amount), tier.flat_amount, number, flat=True)
