"""Price tables that worked examples use, and subscriptions to prices."""

from decimal import Decimal
from typing import Any

from meterhouse.billing.bill import Catalog
from meterhouse.billing.period import Period
from meterhouse.billing.price import (
    Price,
    Pricing,
    Product,
    Recurrence,
    Recurring,
    Tier,
    TiersMode,
    Transform,
)
from meterhouse.billing.subscription import Item, Subscription

MONTHLY = Recurrence("month")

Row = tuple[int | None, str | None, int | None]

# up to, unit amount, flat amount
FONTS: list[Row] = [(5, "700", None), (10, "650", None), (None, "600", None)]
FLAT: list[Row] = [
    (5, "500", 1000),
    (10, "400", 2000),
    (15, "300", 3000),
    (20, "200", 4000),
    (None, "100", 5000),
]


def unit(amount: str, currency: str = "usd") -> Pricing:
    """So much a unit."""
    return Pricing(currency=currency, unit_amount=Decimal(amount))


def package(amount: str, divide_by: int, *, up: bool = True) -> Pricing:
    """So much a package."""
    transform = Transform(divide_by, "up" if up else "down")
    return Pricing(currency="usd", unit_amount=Decimal(amount), transform=transform)


def tiered(mode: TiersMode, rows: list[Row]) -> Pricing:
    """By tiers."""
    tiers = tuple(
        Tier(up_to, None if each is None else Decimal(each), flat) for up_to, each, flat in rows
    )
    return Pricing(currency="usd", tiers=tiers, tiers_mode=mode)


def price(
    id_: str,
    pricing: Pricing,
    *,
    metered: bool = True,
    every: Recurrence = MONTHLY,
    meter: str = "mtr",
) -> Price:
    """A recurring price of the product `prod_{id}`, on a meter if it is metered."""
    recurring = Recurring(
        recurrence=every,
        usage_type="metered" if metered else "licensed",
        meter=meter if metered else None,
    )
    return Price(
        id=id_,
        scope=1,
        product=f"prod_{id_}",
        active=True,
        pricing=pricing,
        recurring=recurring,
        options={},
        lookup_key=None,
        nickname=None,
        tax_behavior="unspecified",
        metadata={},
        created=0,
    )


def product(price_id: str, name: str, unit_label: str | None = None) -> Product:
    """The product of a price."""
    return Product(
        id=f"prod_{price_id}",
        scope=1,
        active=True,
        name=name,
        unit_label=unit_label,
        default_price=None,
        metadata={},
        details={},
        created=0,
        updated=0,
    )


def catalog(*prices: Price) -> Catalog:
    """A catalog of prices, whose products have the names of their ids."""
    return Catalog(
        {one.id: one for one in prices},
        {one.product: product(one.id, one.id.capitalize()) for one in prices},
    )


def item(
    price_id: str, period: Period, since: int | None = None, quantity: int | None = None
) -> Item:
    """An item of a subscription, whose id is `si_{price}`."""
    return Item(
        id=f"si_{price_id}",
        price=price_id,
        quantity=quantity,
        period=period,
        since=period.start if since is None else since,
        metadata={},
        created=0,
    )


def subscription(*items: Item, **members: Any) -> Subscription:
    """An active subscription in dollars that began with its first item."""
    values: dict[str, Any] = {
        "id": "sub",
        "scope": 1,
        "customer": "cus",
        "test_clock": None,
        "status": "active",
        "currency": "usd",
        "mode": "flexible",
        "anchor": items[0].period.start,
        "start": items[0].period.start,
        "items": items,
        "created": 0,
    }
    return Subscription(**(values | members))
