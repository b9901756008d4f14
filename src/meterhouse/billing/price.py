"""Prices, as plain values: what a quantity costs, and how often it is billed.

Amounts are in minor units. What a price may look like is checked where it is made; here it is in
order: tiers go up, and the last one has no end.

https://docs.stripe.com/api/prices/object
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

import msgspec

BillingScheme = Literal["per_unit", "tiered"]
Interval = Literal["day", "month", "week", "year"]
Rounding = Literal["down", "up"]
TiersMode = Literal["graduated", "volume"]
TaxBehavior = Literal["exclusive", "inclusive", "unspecified"]
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

    @property
    def scheme(self) -> BillingScheme:
        """How Stripe calls the one way or the other."""
        return "per_unit" if self.tiers_mode is None else "tiered"


class Recurring(msgspec.Struct, frozen=True, kw_only=True):
    """That something is billed again and again; `meter` is whose usage is the quantity."""

    recurrence: Recurrence
    usage_type: UsageType = "licensed"
    meter: str | None = None
    trial_period_days: int | None = None


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """What a price is in another currency than its own."""

    pricing: Pricing
    tax_behavior: TaxBehavior = "unspecified"


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """A price of a product: once, or `recurring`. What it comes to never changes once it is made.

    `options` are by currency. `lookup_key` names it as long as no other price takes the key over.
    """

    id: str
    scope: int
    product: str
    active: bool
    pricing: Pricing
    recurring: Recurring | None
    options: Mapping[str, Option]
    lookup_key: str | None
    nickname: str | None
    tax_behavior: TaxBehavior
    metadata: dict[str, str]
    created: int

    @property
    def type(self) -> Literal["one_time", "recurring"]:
        """How Stripe calls the one kind or the other."""
        return "one_time" if self.recurring is None else "recurring"


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """What is sold. Its name and its unit label stand in the texts of lines.

    `details` are those members of the object that are only given back, as the wire has them.
    """

    id: str
    scope: int
    active: bool
    name: str
    unit_label: str | None
    default_price: str | None
    metadata: dict[str, str]
    details: dict[str, Any]
    created: int
    updated: int
