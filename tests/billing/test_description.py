from decimal import Decimal

import pytest

from meterhouse.billing.charge import charges
from meterhouse.billing.description import describe, describe_free_trial
from meterhouse.billing.price import Pricing, Recurrence
from tests.billing.samples import package, tiered, unit

MONTH, DAY, QUARTER = Recurrence("month"), Recurrence("day"), Recurrence("month", 3)
GITPOD = tiered("graduated", [(1000, "0", 900), (None, "3.6", 0)])
BASIC = tiered("graduated", [(100_000, None, 999), (None, "0.02", None)])
MENDER = tiered("graduated", [(50, "0", 3200), (None, "64", None)])
SEATS = tiered("volume", [(1, "1800", None), (None, "1600", None)])


@pytest.mark.parametrize(
    ("pricing", "recurrence", "product", "quantity", "texts"),
    [
        (unit("4"), MONTH, ("Tokens", "token"), "25", ["25 token × Tokens (at $0.04 / month)"]),
        (
            unit("2000"),
            MONTH,
            ("Gold Special", None),
            "1",
            ["1 × Gold Special (at $20.00 / month)"],
        ),
        (
            unit("10000"),
            QUARTER,
            ("Quarterly Price", None),
            "1",
            ["1 × Quarterly Price (at $100.00 every 3 months)"],
        ),
        (
            package("8", 60),
            MONTH,
            ("Voice Engine + TTS", None),
            "9892",
            ["9892 × Voice Engine + TTS (at $0.08 per 60 units / month)"],
        ),
        (
            GITPOD,
            MONTH,
            ("Gitpod Usage", "credit"),
            "1031",
            [
                "1000 credit × Gitpod Usage (Tier 1 at $0.00 / month)",
                "Gitpod Usage (Tier 1 at $9.00 / month)",
                "31 credit × Gitpod Usage (Tier 2 at $0.036 / month)",
                "Gitpod Usage (Tier 2 at $0.00 / month)",
            ],
        ),
        (
            BASIC,
            DAY,
            ("Basic", "character"),
            "0",
            ["0 character × Basic (Tier 1 at $0.00 / day)", "Basic (Tier 1 at $9.99 / day)"],
        ),
        (
            SEATS,
            MONTH,
            ("Point-Free Monthly", "seat"),
            "1",
            ["1 seat × Point-Free Monthly (Tier 1 at $18.00 / month)"],
        ),
        (
            MENDER,
            MONTH,
            ("Mender Basic", "device"),
            "50",
            [
                "50 device × Mender Basic (Tier 1 at $0.00 / month)",
                "Mender Basic (Tier 1 at $32.00 / month)",
            ],
        ),
        (unit("0.5", "jpy"), MONTH, ("Name", None), "2.50", ["2.5 × Name (at ¥0.5 / month)"]),
    ],
)
def test_lines_read_as_they_were_seen(
    pricing: Pricing,
    recurrence: Recurrence,
    product: tuple[str, str | None],
    quantity: str,
    texts: list[str],
) -> None:
    lines = charges(pricing, Decimal(quantity))
    assert [describe(one, pricing, recurrence, *product) for one in lines] == texts


def test_a_trial_is_free() -> None:
    text = describe_free_trial(Decimal(10), "Hypernian tokens", None)
    assert text == "Free trial for 10 × Hypernian tokens"
