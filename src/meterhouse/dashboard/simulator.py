"""What a usage would come to under a price: lines as of an invoice, and a curve of cost over usage.

What a reader may rely on:

- Every amount is of the pure room `billing`, which also makes invoices: exact, in minor units.
- The curve has each point at which the cost jumps or turns, as far as there are not too many.
- Nothing here is a float; places in the picture are whole numbers.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from meterhouse import limits
from meterhouse.billing.charge import ZERO, billable, charges
from meterhouse.billing.description import describe
from meterhouse.billing.money import EXACT
from meterhouse.billing.price import Pricing, Recurrence, Tier, Transform
from meterhouse.dashboard.show import money, number

WIDTH, HEIGHT = 1000, 300  # of the picture
_STEPS = 100
_JUMPS_MAX = 60  # beyond which a staircase looks like a line
_LEAST = Decimal(1).scaleb(-limits.PRICE_DECIMALS_MAX)  # of a quantity that is billed
_PLAIN_USAGE = Decimal(1_000)  # that is shown first, where a price has neither tiers nor packages
_PACKAGES = 10
_ROUND = (1, 2, 5, 10)


class Line(NamedTuple):
    """A line as an invoice would have it."""

    description: str
    amount: int


class Curve(NamedTuple):
    """The cost of each usage up to `end`, of which none costs more than `highest`.

    `points` are those of an SVG's polyline, `marked` is where the usage that is asked about is.
    """

    end: Decimal
    highest: int
    points: str
    marked: int


def pricing_of(price: Mapping[str, Any], currency: str = "") -> Pricing:
    """Read what a price of the API costs, in its own currency or in another that it has."""
    currency = currency or price["currency"]
    amounts = price if currency == price["currency"] else price["currency_options"][currency]
    transform = price["transform_quantity"]
    return Pricing(
        currency=currency,
        unit_amount=_decimal(amounts["unit_amount_decimal"]),
        transform=Transform(**transform) if transform else None,
        tiers=tuple(_tier(one) for one in amounts.get("tiers") or ()),
        tiers_mode=price["tiers_mode"],
    )


def recurrence_of(price: Mapping[str, Any]) -> Recurrence | None:
    """Read how often a price of the API is billed; None where it is once."""
    told = price["recurring"]
    return Recurrence(told["interval"], told["interval_count"]) if told else None


def lines(
    pricing: Pricing,
    recurrence: Recurrence | None,
    name: str,
    unit_label: str | None,
    usage: Decimal,
) -> list[Line]:
    """Return the lines of a usage of the product of this name."""
    return [
        Line(
            describe(one, pricing, recurrence, name, unit_label) if recurrence else name,
            one.amount,
        )
        for one in charges(pricing, billable(usage))
    ]


def cost(pricing: Pricing, usage: Decimal) -> int:
    """Return what a usage costs, in minor units."""
    return sum(one.amount for one in charges(pricing, billable(usage)))


def first_usage(pricing: Pricing) -> Decimal:
    """Return a usage that shows what a price is like: it reaches the last tier."""
    bounds = _bounds(pricing)
    if bounds:
        return bounds[-1] + max(Decimal(1), bounds[-1] // 4)
    if pricing.transform:
        return Decimal(pricing.transform.divide_by * _PACKAGES)
    return _PLAIN_USAGE


def read_usage(text: str) -> Decimal | None:
    """Read a usage that somebody has typed, `1,000.5`; None where it is none."""
    digits = text.replace(",", "").replace(" ", "").replace("_", "")
    whole, _, decimals = digits.removeprefix("-").partition(".")
    if not (whole + decimals).isdecimal() or not digits.isascii():
        return None
    if len(whole) > limits.SIMULATED_DIGITS_MAX or len(decimals) > limits.PRICE_DECIMALS_MAX:
        return None
    return Decimal(digits)


def curve(pricing: Pricing, usage: Decimal) -> Curve:
    """Return the curve up to somewhat more than a usage."""
    end = _round_up(billable(usage) * 5 / 4 or first_usage(pricing))
    costs = [(at, cost(pricing, just)) for at, just in _places(pricing, end)]
    highest = max(amount for _, amount in costs) or 1
    points = " ".join(
        f"{_across(at, end)},{HEIGHT - amount * HEIGHT // highest}" for at, amount in costs
    )
    return Curve(end, highest, points, _across(billable(usage), end))


def examples(pricing: Pricing, end: Decimal) -> list[tuple[Decimal, int]]:
    """Return what some usages up to `end` cost: where the tiers end and the next begin."""
    starts = {ZERO, end}
    for bound in _bounds(pricing):
        starts |= {at for at in (bound, bound + 1) if at < end}
    return [(at, cost(pricing, at)) for at in sorted(starts)]


def warnings(pricing: Pricing) -> list[str]:
    """Say what of a price would surprise whoever pays it, or whoever is paid."""
    found = []
    nothing = cost(pricing, ZERO)
    if nothing:
        owed = money(nothing, pricing.currency)
        found.append(f"No usage at all costs {owed}: the first tier's flat amount is always owed.")
    for bound in _bounds(pricing):
        before, after = cost(pricing, bound), cost(pricing, bound + 1)
        if after < before:
            found.append(
                f"More costs less: {number(bound)} cost {money(before, pricing.currency)}, "
                f"{number(bound + 1)} cost {money(after, pricing.currency)}."
            )
    return found


def _tier(told: Mapping[str, Any]) -> Tier:
    return Tier(told["up_to"], _decimal(told["unit_amount_decimal"]), told["flat_amount"])


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _bounds(pricing: Pricing) -> list[Decimal]:
    """Return where tiers end."""
    return [Decimal(one.up_to) for one in pricing.tiers if one.up_to is not None]


def _places(pricing: Pricing, end: Decimal) -> Iterator[tuple[Decimal, Decimal]]:
    """Yield where the curve has a point, and the usage whose cost it shows.

    Where the cost may jump there are three: just before, there, and just after.
    """
    jumps = set(_jumps(pricing, end))
    steps = {EXACT.divide(end * step, Decimal(_STEPS)) for step in range(_STEPS + 1)}
    for at in sorted(jumps | steps):
        if at in jumps and at >= _LEAST:
            yield at, at - _LEAST
        yield at, at
        if at in jumps and at < end:
            yield at, at + _LEAST


def _jumps(pricing: Pricing, end: Decimal) -> list[Decimal]:
    jumps = [ZERO, *(bound for bound in _bounds(pricing) if bound < end)]
    if pricing.transform and end / pricing.transform.divide_by <= _JUMPS_MAX:
        size = pricing.transform.divide_by
        jumps += [Decimal(count * size) for count in range(1, int(end / size) + 1)]
    return jumps


def _round_up(quantity: Decimal) -> Decimal:
    """Return the next 1, 2 or 5 of its power of ten."""
    power = Decimal(1).scaleb(quantity.adjusted())
    return next(one * power for one in _ROUND if one * power >= quantity)


def _across(at: Decimal, end: Decimal) -> int:
    return int(at * WIDTH / end)
