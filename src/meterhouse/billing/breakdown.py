"""How an amount is shared out among parts of what was used, and which tier a unit falls into.

What a reader may rely on: the shares add up to the whole, exactly. Each is what is due to it by
proportion, rounded down to the last place that is kept; what is left over then goes, one of that
place at a time, to the shares that lost most by it, of two alike to the first (the method of the
largest remainder).
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from meterhouse.billing.money import EXACT
from meterhouse.billing.price import Pricing


def allotted(whole: Decimal, weights: Sequence[Decimal], places: int = 0) -> list[Decimal]:
    """Share `whole`, which has so many decimal places, out by weights whose sum is positive.

    A negative weight has a negative share.
    """
    total = Fraction(sum(map(Fraction, weights)))
    units = int(EXACT.scaleb(whole, places))
    exact = [units * Fraction(weight) / total for weight in weights]
    shares = [share.__floor__() for share in exact]
    lost = sorted(range(len(exact)), key=lambda place: shares[place] - exact[place])
    for place in lost[: units - sum(shares)]:
        shares[place] += 1
    return [EXACT.scaleb(Decimal(share), -places) for share in shares]


def tier_of(pricing: Pricing, quantity: Decimal) -> int | None:
    """Return the number of the tier that the last unit of a quantity falls into, from 1 on."""
    for number, tier in enumerate(pricing.tiers, 1):
        if tier.up_to is None or quantity <= tier.up_to:
            return number
    return None
