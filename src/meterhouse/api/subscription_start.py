"""How a subscription begins, as a request tells it (https://docs.stripe.com/api/subscriptions/create)."""

from collections.abc import Mapping
from typing import Annotated, Any

import sqlalchemy as sa
from msgspec.structs import replace

from meterhouse import limits
from meterhouse.api.call import Call
from meterhouse.api.subscribed import Told, check_items, is_licensed, new_items, recurrences
from meterhouse.api.subscription import customer_of, now_of, whole_second
from meterhouse.api.subscription_ends import ending
from meterhouse.api.subscription_params import (
    Flexible,
    NewItem,
    Refused,
    SubscriptionWrite,
    collected,
    details_of,
    trial_until,
)
from meterhouse.api.thresholds import threshold_of
from meterhouse.billing import change
from meterhouse.billing.anchor import AnchorDay, anchor_on
from meterhouse.billing.period import Period, beginning, period_at
from meterhouse.billing.price import Price
from meterhouse.billing.subscription import BillingMode, Item, Subscription
from meterhouse.invoicing.turn import Turn
from meterhouse.ledger import subscriptions
from meterhouse.metering.window import MILLISECONDS
from meterhouse.wire import param_errors, subscription_errors, test_clock_errors
from meterhouse.wire.metadata import merge_metadata
from meterhouse.wire.params import Between, Items, Params, Timestamp
from meterhouse.wire.version import MAJORS


class AnchorConfig(Params):
    """The day, and the time of day, that periods begin on; what is not told is as it is now."""

    day_of_month: Annotated[int, Between(1, 31)]
    hour: Annotated[int, Between(0, 23)] | None = None
    minute: Annotated[int, Between(0, 59)] | None = None
    month: Annotated[int, Between(1, 12)] | None = None
    second: Annotated[int, Between(0, 59)] | None = None


class Mode(Params):
    """How changes in the midst of a period are billed."""

    type: BillingMode
    flexible: Flexible | None = None


class SubscriptionCreate(SubscriptionWrite):
    """The parameters of a new subscription."""

    customer: str
    backdate_start_date: Timestamp | None = None
    billing_cycle_anchor: Timestamp | None = None
    billing_cycle_anchor_config: AnchorConfig | None = None
    billing_mode: Mode | None = None
    currency: str | None = None
    customer_account: Refused = None
    items: Annotated[list[NewItem], Items(limits.SUBSCRIPTION_ITEMS_MAX)] | None = None
    trial_period_days: Annotated[int, Between(0, limits.PRICE_TRIAL_DAYS_MAX)] | None = None


def check(params: SubscriptionCreate) -> None:
    """Refuse parameters that do not go together."""
    if not params.items:
        raise param_errors.missing_param("items")
    if params.payment_behavior == "pending_if_incomplete":
        raise subscription_errors.useless_payment_behavior()
    told = params.trial_end is not None or params.trial_period_days is not None
    if params.trial_from_plan and told:
        raise subscription_errors.trial_twice()
    for one, other in (
        ("trial_end", "trial_period_days"),
        ("billing_cycle_anchor", "billing_cycle_anchor_config"),
        ("backdate_start_date", "billing_cycle_anchor_config"),
    ):
        if getattr(params, one) is not None and getattr(params, other) is not None:
            raise param_errors.exclusive_params(one, other)


def begun(
    connection: sa.Connection,
    *,
    lock: bool,
    call: Call,
    params: SubscriptionCreate,
    told: list[Told],
    subscription_id: str,
    now: int | None = None,
) -> Turn:
    """Return the turn that begins a subscription, at present if no other instant is told."""
    known = customer_of(connection, call, params.customer, lock=False)
    present = now_of(connection, call, known.test_clock, lock=lock)
    now = whole_second(present if now is None else now)
    customer = customer_of(connection, call, params.customer, lock=lock)
    items, priced = new_items(connection, call, told, now)
    mode = params.billing_mode.type if params.billing_mode else default_mode(call)
    collection, days = collected(params, "charge_automatically", None)
    trial = _trial(params, items, priced, now)
    start = _start(params, now)
    one = Subscription(
        id=subscription_id,
        scope=call.scope.id,
        customer=customer.id,
        test_clock=customer.test_clock,
        status="trialing" if trial else "active",
        currency=(params.currency or priced[items[0].price].pricing.currency).lower(),
        mode=mode,
        anchor=trial.end if trial else start if mode == "flexible" else now,
        start=start,
        items=items,
        collection=collection,
        days_until_due=days,
        trial=trial,
        threshold=threshold_of(params.billing_thresholds, None),
        metadata=merge_metadata({}, params.metadata),
        details=_details(params, now),
        created=now,
    )
    check_items(one, priced)
    one = _anchored(one, params, priced, now)
    _check_backdating(one, params, recurrences(priced), now)
    started = change.started(
        one, recurrences(priced), now, billed=params.proration_behavior != "none"
    )
    ends = ending(started.subscription, params, recurrences(priced), now)
    return Turn(
        before=None,
        change=change.Change(ends, started.settled),
        at=now,
        events=("created",),
        invoice="subscription_create",
        draft=collection == "send_invoice",
    )


def check_few_on_clock(connection: sa.Connection, call: Call, new: Subscription) -> None:
    """Refuse a subscription more than Stripe lets a customer of a test clock have."""
    most = limits.TEST_CLOCK_SUBSCRIPTIONS_ITEMS_MAX
    if call.services.config.limits != "stripe" or new.test_clock is None:
        return
    if len(subscriptions.of_customer(connection, new.scope, new.customer)) >= most:
        raise test_clock_errors.too_many_subscriptions(most)


def default_mode(call: Call) -> BillingMode:
    """Return the billing mode of a subscription that is made without one."""
    return "flexible" if call.version.date >= MAJORS["clover"] else "classic"


def _details(params: SubscriptionCreate, now: int) -> dict[str, Any]:
    details = details_of(params, {}) | {"mode_updated": now}
    if params.billing_mode and params.billing_mode.flexible:
        details["proration_discounts"] = params.billing_mode.flexible.proration_discounts
    config = params.billing_cycle_anchor_config
    if config is not None:
        names = ("day_of_month", "hour", "minute", "month", "second")
        details["billing_cycle_anchor_config"] = {name: getattr(config, name) for name in names}
    return details


def _start(params: SubscriptionCreate, now: int) -> int:
    if params.backdate_start_date is None:
        return now
    start = params.backdate_start_date * 1000
    if start > now:
        raise subscription_errors.future_instant("backdate_start_date")
    return start


def _trial(
    params: SubscriptionCreate, items: tuple[Item, ...], priced: Mapping[str, Price], now: int
) -> Period | None:
    """Return when nothing is charged; None where that is never so."""
    days = params.trial_period_days
    if params.trial_from_plan:
        told = [priced[item.price].recurring for item in items]
        days = max((one.trial_period_days or 0 for one in told if one), default=0)
    if days:
        return Period(now, now + days * MILLISECONDS["day"])
    return trial_until(params.trial_end, now)


def _anchored(
    one: Subscription, params: SubscriptionCreate, priced: Mapping[str, Price], now: int
) -> Subscription:
    """Return a new subscription whose periods are counted from where a request says."""
    often = list(recurrences(priced).values())
    if params.billing_cycle_anchor_config is not None:
        if any(each.interval not in ("month", "year") for each in often):
            raise subscription_errors.anchor_needs_months()
        config = params.billing_cycle_anchor_config
        day = AnchorDay(
            config.day_of_month, config.month, config.hour, config.minute, config.second
        )
        one = replace(one, anchor=anchor_on(day, one.trial.end if one.trial else now, often))
    elif params.billing_cycle_anchor is not None:
        anchor = params.billing_cycle_anchor * 1000
        begins = one.trial.end if one.trial else now
        if anchor < begins or anchor == now:
            raise subscription_errors.past_instant(
                "billing_cycle_anchor", params.billing_cycle_anchor
            )
        if anchor > min(beginning(begins, each, 1) for each in often):
            raise subscription_errors.late_anchor()
        one = replace(one, anchor=anchor)
    else:
        return one
    stub = any(period_at(one.anchor, each, now).start != now for each in often)
    if stub and not one.trial and params.proration_behavior != "none" and _has_licensed(one):
        raise subscription_errors.needs_prorations("proration_behavior")
    return one


def _check_backdating(
    one: Subscription, params: SubscriptionCreate, often: change.Recurrences, now: int
) -> None:
    """Refuse a start in the past that is too far, or would charge for a part of a period."""
    if one.start == now:
        return
    most = limits.SUBSCRIPTION_BACKDATED_LINES_MAX
    if any(beginning(one.start, each, most) < now for each in often.values()):
        raise subscription_errors.too_many_periods(most)
    whole = one.mode == "flexible" and one.anchor == one.start
    if one.trial is not None or (
        _has_licensed(one) and (not whole or params.proration_behavior == "none")
    ):
        raise param_errors.not_supported("backdate_start_date")


def _has_licensed(one: Subscription) -> bool:
    return any(map(is_licensed, one.items))
