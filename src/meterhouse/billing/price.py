"""Prices, as plain values: what a quantity costs, and how often it is billed.

Amounts are in minor units. What a price may look like is checked where it is made; here it is in
order: tiers go up, and the last one has no end.

https://docs.stripe.com/api/prices/object
"""

from decimal import Decimal
from typing import Literal

import msgspec

Interval = Literal["day", "month", "week", "year"]
Rounding = Literal["down", "up"]
TiersMode = Literal["graduated", "volume"]
UsageType = Literal["licensed", "metered"]


class Tier(msgspec.Struct, frozen=True):
    """What units cost up to the one numbered `up_to`, which is None for the last tier.

    `unit_amount` or `flat_amount` may be None, which costs nothing; a flat amount of 0 is printed.
    """

    up_to: int | None
    unit_amount: Decimal | None = None
    flat_amount: int | None = None


class Transform(msgspec.Struct, frozen=True):
    """Units are sold in packages of `divide_by`; a part of one counts as `round` says."""

    divide_by: int
    round: Rounding


class Recurrence(msgspec.Struct, frozen=True):
    """How often something is billed: every `count` intervals."""

    interval: Interval
    count: int = 1


class Pricing(msgspec.Struct, frozen=True, kw_only=True):
    """What a quantity costs: so much a unit, so much a package, or by tiers."""

    currency: str
    unit_amount: Decimal | None = None
    transform: Transform | None = None
    tiers: tuple[Tier, ...] = ()
    tiers_mode: TiersMode | None = None
