from decimal import Decimal

from meterhouse.billing.price import Pricing, Tier
from meterhouse.billing.what_if import Cost, Used, reckon

TIERS = (Tier(10, Decimal(0), 900), Tier(None, Decimal("3.6"), None))


def test_each_period_begins_with_the_first_tier() -> None:
    graduated = Pricing(currency="usd", tiers=TIERS, tiers_mode="graduated")
    by_unit = Pricing(currency="usd", unit_amount=Decimal("0.5"))
    used = [
        Used(0, "cus_1", Decimal(41)),
        Used(0, "cus_1", Decimal(5)),
        Used(1, "cus_1", Decimal(-2)),
        Used(1, "cus_2", Decimal(3)),
    ]
    assert reckon([graduated, by_unit], used, Decimal(1)) == {
        "cus_1": [Cost(Decimal(46), 900 + 112 + 900), Cost(Decimal(-2), 0)],
        "cus_2": [Cost(Decimal(0), 0), Cost(Decimal(3), 2)],
    }
    doubled = reckon([graduated, by_unit], used, Decimal("2.5"))
    assert doubled["cus_1"][0] == Cost(Decimal(115), 900 + 333 + 900 + 9)
