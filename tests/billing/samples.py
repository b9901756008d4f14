"""Price tables that worked examples use."""

from decimal import Decimal

from meterhouse.billing.price import Pricing, Tier, TiersMode, Transform

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
