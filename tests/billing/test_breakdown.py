from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.billing.breakdown import allotted, tier_of
from meterhouse.billing.price import Pricing, Tier

WEIGHTS = st.decimals(-(10**20), 10**20, places=15)


@pytest.mark.parametrize(
    ("whole", "weights", "shares"),
    [
        (100, (1, 1, 1), (34, 33, 33)),
        (100, (2, 1), (67, 33)),
        (1, (1, 1, 1), (1, 0, 0)),
        (-100, (1, 1, 1), (-33, -33, -34)),
        (0, (5, 7), (0, 0)),
        (7, (3, 0, -1), (11, 0, -4)),
        (10**15, ("0.000000000000001", "999999999999999"), (0, 10**15)),
    ],
)
def test_shares(whole: int, weights: tuple[str | int, ...], shares: tuple[int, ...]) -> None:
    found = allotted(Decimal(whole), [Decimal(weight) for weight in weights])
    assert found == [Decimal(share) for share in shares]


@given(
    st.decimals(-(10**30), 10**30, places=12),
    st.lists(WEIGHTS, min_size=1, max_size=20).filter(lambda weights: sum(weights) > 0),
    st.sampled_from([12]),
)
def test_shares_add_up_and_are_never_more_than_one_place_off(
    whole: Decimal, weights: list[Decimal], places: int
) -> None:
    shares = allotted(whole, weights, places)
    assert sum(map(Fraction, shares)) == Fraction(whole)
    total = sum(map(Fraction, weights))
    for share, weight in zip(shares, weights, strict=True):
        off = Fraction(share) - Fraction(whole) * Fraction(weight) / total
        assert abs(off) < Fraction(1, 10**places)


@pytest.mark.parametrize(
    ("quantity", "tier"), [("0", 1), ("10", 1), ("10.000001", 2), ("20", 2), ("21", 3)]
)
def test_the_tier_of_a_unit(quantity: str, tier: int) -> None:
    tiers = (Tier(10, Decimal(1), None), Tier(20, Decimal(1), None), Tier(None, Decimal(1), None))
    pricing = Pricing(currency="usd", tiers=tiers, tiers_mode="graduated")
    assert tier_of(pricing, Decimal(quantity)) == tier
    assert tier_of(Pricing(currency="usd", unit_amount=Decimal(1)), Decimal(quantity)) is None
