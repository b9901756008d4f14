import re
from decimal import Decimal
from typing import Any

import pytest

from meterhouse.billing.money import print_decimal
from meterhouse.billing.price import Pricing, Recurrence, Tier, Transform
from meterhouse.dashboard import simulator
from meterhouse.dashboard.simulator import HEIGHT, WIDTH, Line

MONTH = Recurrence("month")
GRADUATED = Pricing(
    currency="usd",
    tiers=(Tier(1_000, Decimal(0), 900), Tier(None, Decimal("3.6"), 0)),
    tiers_mode="graduated",
)
VOLUME = Pricing(
    currency="usd",
    tiers=(Tier(5, Decimal(700)), Tier(10, Decimal(650)), Tier(None, Decimal(600))),
    tiers_mode="volume",
)
PACKAGES = Pricing(currency="jpy", unit_amount=Decimal(8), transform=Transform(60, "up"))
PLAIN = Pricing(currency="usd", unit_amount=Decimal("0.5"))


def test_lines_are_those_of_an_invoice() -> None:
    found = simulator.lines(GRADUATED, MONTH, "Gitpod Usage", "credit", Decimal(1031))
    assert found == [
        Line("1000 credit × Gitpod Usage (Tier 1 at $0.00 / month)", 0),
        Line("Gitpod Usage (Tier 1 at $9.00 / month)", 900),
        Line("31 credit × Gitpod Usage (Tier 2 at $0.036 / month)", 112),
        Line("Gitpod Usage (Tier 2 at $0.00 / month)", 0),
    ]
    assert simulator.lines(PLAIN, None, "Setup", None, Decimal(3)) == [Line("Setup", 2)]
    assert simulator.lines(PLAIN, MONTH, "Calls", None, Decimal(-7)) == [
        Line("0 × Calls (at $0.005 / month)", 0)
    ]


@pytest.mark.parametrize(
    ("text", "usage"),
    [
        ("1,000.5", "1000.5"),
        ("-3", "-3"),
        (".25", "0.25"),
        ("7.", "7"),
        ("0" * 15, "0"),
        ("9" * 15 + "." + "9" * 12, "9" * 15 + "." + "9" * 12),
        ("9" * 16, None),
        ("0." + "1" * 13, None),
        ("", None),
        (".", None),
        ("--1", None),
        ("1e5", None),
        ("NaN", None),
        ("Infinity", None),
        ("٣", None),
        ("²", None),
        ("1.2.3", None),
    ],
)
def test_a_usage_is_read(text: str, usage: str | None) -> None:
    assert simulator.read_usage(text) == (None if usage is None else Decimal(usage))


@pytest.mark.parametrize("pricing", [GRADUATED, VOLUME, PACKAGES, PLAIN])
@pytest.mark.parametrize("usage", ["0", "0.000000000001", "7", "150", "1031", "9" * 15])
def test_a_curve_stays_within_its_picture(pricing: Pricing, usage: str) -> None:
    drawn = simulator.curve(pricing, Decimal(usage))
    points = [tuple(map(int, re.split(",", one))) for one in drawn.points.split()]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    assert points == sorted(points, key=lambda one: one[0])
    assert points[0][0] == 0
    assert points[-1][0] == WIDTH
    assert 0 <= drawn.marked < WIDTH
    assert drawn.end >= Decimal(usage)
    assert simulator.cost(pricing, drawn.end) <= drawn.highest


def test_a_curve_jumps_where_a_price_does() -> None:
    points = simulator.curve(PACKAGES, Decimal(150)).points.split()  # up to 200: four packages
    assert points[:2] == ["0,300", "0,225"]
    assert points[points.index("300,150") - 1] == "300,225"
    drawn = simulator.curve(VOLUME, Decimal(7))
    assert drawn.end == 10
    assert f"500,{HEIGHT - 3500 * HEIGHT // 6500}" in drawn.points.split()  # 5 at 7.00
    assert f"500,{HEIGHT - 3250 * HEIGHT // 6500}" in drawn.points.split()  # and more at 6.50


@pytest.mark.parametrize(
    ("pricing", "first"), [(GRADUATED, 1_250), (VOLUME, 12), (PACKAGES, 600), (PLAIN, 1_000)]
)
def test_a_price_shows_itself_by_a_usage(pricing: Pricing, first: int) -> None:
    assert simulator.first_usage(pricing) == first


def test_examples_are_where_tiers_meet() -> None:
    told = [(0, 900), (1_000, 900), (1_001, 904), (2_000, 4_500)]
    found = simulator.examples(GRADUATED, Decimal(2_000))
    assert found == [(Decimal(at), amount) for at, amount in told]
    assert [at for at, _ in simulator.examples(VOLUME, Decimal(10))] == [0, 5, 6, 10]


@pytest.mark.parametrize(
    ("pricing", "told"),
    [
        (GRADUATED, ["No usage at all costs $9.00: the first tier's flat amount is always owed."]),
        (
            Pricing(
                currency="eur",
                tiers=(Tier(1_000, Decimal(700)), Tier(None, Decimal(500))),
                tiers_mode="volume",
            ),
            ["More costs less: 1,000 cost €7,000.00, 1,001 cost €5,005.00."],
        ),
        (PACKAGES, []),
        (PLAIN, []),
    ],
)
def test_what_would_surprise_is_told(pricing: Pricing, told: list[str]) -> None:
    assert simulator.warnings(pricing) == told


def amounts(unit: str | None, tiers: Any = None) -> dict[str, Any]:
    return {"unit_amount_decimal": unit} | ({"tiers": tiers} if tiers else {})


def test_a_price_of_the_api_is_read_in_each_of_its_currencies() -> None:
    def tier(unit: str) -> dict[str, Any]:
        return {"up_to": None, "unit_amount_decimal": unit, "flat_amount": None}

    price = {
        "currency": "usd",
        "transform_quantity": None,
        "tiers_mode": "volume",
        "recurring": {"interval": "month", "interval_count": 3},
        "currency_options": {"jpy": amounts(None, [tier("2.5")])},
        **amounts(None, [tier("0.000000000001")]),
    }
    assert simulator.pricing_of(price).tiers == (Tier(None, Decimal("0.000000000001")),)
    assert simulator.pricing_of(price, "jpy").tiers == (Tier(None, Decimal("2.5")),)
    assert simulator.recurrence_of(price) == Recurrence("month", 3)
    packages = {
        "currency": "usd",
        "transform_quantity": {"divide_by": 60, "round": "down"},
        "tiers_mode": None,
        "recurring": None,
        **amounts("8"),
    }
    read = simulator.pricing_of(packages)
    assert (read.transform, print_decimal(read.unit_amount or Decimal(0))) == (
        Transform(60, "down"),
        "8",
    )
    assert simulator.recurrence_of(packages) is None
