import msgspec
import pytest

from meterhouse.billing.period import Period
from meterhouse.billing.subscription import Item, Step, Subscription, next_step

DAY = 86_400_000
MONTH = Period(0, 31 * DAY)


def item(period: Period = MONTH) -> Item:
    return Item(
        id="si_1",
        price="price_1",
        quantity=None,
        period=period,
        since=period.start,
        metadata={},
        created=0,
    )


MONTHLY = Subscription(
    id="sub_1",
    scope=1,
    customer="cus_1",
    test_clock=None,
    status="active",
    currency="usd",
    mode="flexible",
    anchor=0,
    start=0,
    items=(item(),),
    created=0,
)
TRIAL = {"status": "trialing", "trial": Period(0, 14 * DAY)}


@pytest.mark.parametrize(
    ("changes", "notice", "step"),
    [
        ({}, 0, Step(31 * DAY, "renews")),
        ({}, 7 * DAY, Step(24 * DAY, "upcoming")),
        ({"upcoming_told": 31 * DAY}, 7 * DAY, Step(31 * DAY, "renews")),
        ({}, 40 * DAY, Step(0, "upcoming")),
        ({"cancel_at": 31 * DAY}, 0, Step(31 * DAY, "cancels")),
        ({"cancel_at": 31 * DAY + 1}, 0, Step(31 * DAY, "renews")),
        (TRIAL | {"trial_told": True, "cancel_at": 14 * DAY}, 0, Step(14 * DAY, "cancels")),
        ({"cancel_at": 30 * DAY}, 0, Step(30 * DAY, "cancels")),
        (TRIAL, 7 * DAY, Step(11 * DAY, "trial_will_end")),
        (TRIAL | {"trial": Period(0, 2 * DAY)}, 0, Step(0, "trial_will_end")),
        (TRIAL | {"trial_told": True}, 7 * DAY, Step(14 * DAY, "trial_ends")),
        ({"items": (item(), item(Period(0, 7 * DAY)))}, 0, Step(7 * DAY, "renews")),
        ({"status": "canceled"}, 0, None),
        ({"status": "paused"}, 0, None),
        ({"status": "paused", "cancel_at": 5 * DAY}, 0, Step(5 * DAY, "cancels")),
        ({"items": ()}, 0, None),
    ],
)
def test_what_is_next(changes: dict[str, object], notice: int, step: Step | None) -> None:
    assert next_step(msgspec.structs.replace(MONTHLY, **changes), notice) == step
