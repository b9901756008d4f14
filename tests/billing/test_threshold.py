from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from meterhouse.billing import change
from meterhouse.billing.bill import Made, bill_of, made
from meterhouse.billing.owed import owed
from meterhouse.billing.period import Period
from meterhouse.billing.price import Pricing
from meterhouse.billing.subscription import Subscription, Threshold
from meterhouse.billing.threshold import Crossed, crossed, flat_amounts, is_compared, reason_of
from tests.billing.samples import FLAT, MONTHLY, catalog, item, price, subscription, tiered, unit

DAY = 86_400_000
MONTH = Period(1_669_852_800_000, 1_672_531_200_000)  # December 2022
AT = MONTH.start + 9 * DAY
UNTIL = AT + 1000
RECURRENCES = {"tokens": MONTHLY}


def watched(amount_gte: int | None = 10_000, usage_gte: int | None = None, **more: Any) -> Any:
    one = replace(item("tokens", MONTH), usage_gte=usage_gte)
    return subscription(one, threshold=Threshold(amount_gte=amount_gte), **more)


def billed(one: Subscription, pricing: Pricing, usage: str, before: int = 0) -> Made:
    """Bill what was used, less what was billed early."""
    priced = catalog(price("tokens", pricing))
    turn = change.threshold_reached(one, RECURRENCES, AT, UNTIL)
    bill = bill_of("usd", priced, owed(one, turn, priced))
    segments = [
        replace(segment, usage=Decimal(usage), billed_before=before) for segment in bill.segments
    ]
    return made(bill, segments, lambda text: text)


def test_a_period_that_goes_on_begins_where_it_began() -> None:
    one = watched()
    turn = change.threshold_reached(one, RECURRENCES, AT, UNTIL)
    assert turn.subscription == replace(one, billed_early=UNTIL)
    assert turn.settled == ((one.items[0], Period(MONTH.start, UNTIL), "early"),)


def test_a_period_that_begins_anew_is_counted_from_the_threshold() -> None:
    """Given the instant of a threshold, then usage of its whole second is billed with it."""
    one = replace(watched(), threshold=Threshold(resets=True))
    turn = change.threshold_reached(one, RECURRENCES, AT, UNTIL)
    assert turn.settled == ((one.items[0], Period(MONTH.start, UNTIL), "early"),)
    (anew,) = turn.subscription.items
    assert (turn.subscription.anchor, anew.since) == (AT, UNTIL)
    assert anew.period == Period(AT, AT + 31 * DAY)


def test_what_goes_by_the_end_of_a_period_moves_with_it() -> None:
    details = {"billing_cycle_anchor_config": {"day_of_month": 1}, "mode_updated": 1}
    one = watched(details=details, cancel_at=MONTH.end, cancel_at_period_end=True)
    anew = replace(one, threshold=Threshold(resets=True))
    after = change.threshold_reached(anew, RECURRENCES, AT, UNTIL).subscription
    assert (after.cancel_at, after.details) == (AT + 31 * DAY, {"mode_updated": 1})
    after = change.threshold_reached(one, RECURRENCES, AT, UNTIL).subscription
    assert (after.cancel_at, after.details) == (MONTH.end, details)


@pytest.mark.parametrize(
    ("changes", "at", "is_so"),
    [
        ({}, AT, True),
        ({"status": "past_due"}, AT, True),
        ({"status": "trialing"}, AT, False),
        ({"status": "paused"}, AT, False),
        ({"status": "canceled"}, AT, False),
        ({"threshold": None}, AT, False),
        ({"threshold": Threshold(resets=True)}, AT, False),
        ({"details": {"pause_collection": {"behavior": "void"}}}, AT, False),
        ({}, MONTH.end - DAY - 1, True),
        ({}, MONTH.end - DAY, False),
        ({"cancel_at": AT + DAY}, AT, False),
        ({"cancel_at": AT + DAY + 1}, AT, True),
    ],
)
def test_when_thresholds_are_compared(changes: dict[str, Any], at: int, is_so: bool) -> None:
    assert is_compared(replace(watched(), **changes), at) == is_so


GRADUATED = tiered("graduated", [(10_000, "50", None), (None, "40", None)])
VOLUME = tiered("volume", [(10_000, "50", None), (None, "40", None)])


@pytest.mark.parametrize(
    ("pricing", "amount_gte", "usage", "before", "total"),
    [
        (GRADUATED, 10_000, "199.98", 0, None),
        (GRADUATED, 10_000, "200", 0, 10_000),
        (GRADUATED, 10_000, "399", 10_000, None),
        (GRADUATED, 10_000, "400", 10_000, 10_000),
        (GRADUATED, 10_000, "10249", 500_000, None),
        (GRADUATED, 10_000, "10250", 500_000, 10_000),
        (VOLUME, 500_000, "10000", 0, 500_000),
        (VOLUME, 500_000, "10001", 500_000, None),
        (VOLUME, 500_000, "25000", 500_000, 500_000),
        (unit("4"), 1_000, "-5", 0, None),
    ],
)
def test_an_amount_that_is_not_billed_yet(
    pricing: Pricing, amount_gte: int, usage: str, before: int, total: int | None
) -> None:
    """Examples 38 to 40 of https://docs.stripe.com/billing/subscriptions/usage-based/thresholds."""
    one = watched(amount_gte)
    bill = billed(one, pricing, usage, before)
    found = crossed(one, bill, {})
    assert found == (None if total is None else Crossed(amount_gte, {}))
    if total is not None:
        assert bill.total == total


@pytest.mark.parametrize(
    ("usage", "before", "is_so"),
    [("1999", "0", False), ("2000", "0", True), ("3999.5", "2000", False), ("4000", "2000", True)],
)
def test_usage_that_is_not_billed_yet(usage: str, before: str, is_so: bool) -> None:
    one = watched(amount_gte=None, usage_gte=2_000)
    found = crossed(one, billed(one, unit("4"), usage), {"si_tokens": Decimal(before)})
    assert found == (Crossed(None, {"si_tokens": 2_000}) if is_so else None)


def test_why_an_invoice_was_made() -> None:
    one = watched(amount_gte=5_000, usage_gte=2_000)
    bill = billed(one, tiered("graduated", FLAT), "2000")
    found = crossed(one, bill, {})
    assert found is not None
    reason = reason_of(found, bill.lines)
    assert reason["amount_gte"] == 5_000
    assert reason["item_reasons"] == [
        {"line_item_ids": [line.id for line in bill.lines], "usage_gte": 2_000}
    ]
    assert len(set(reason["item_reasons"][0]["line_item_ids"])) == 10


def test_flat_amounts_that_are_owed_for_no_use_at_all() -> None:
    assert flat_amounts([tiered("graduated", FLAT), tiered("volume", FLAT), unit("4")]) == 2_000
