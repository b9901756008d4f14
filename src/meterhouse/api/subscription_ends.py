"""When a subscription ends of itself, as requests tell it."""

from msgspec import UnsetType
from msgspec.structs import replace

from meterhouse.api.subscribed import is_licensed
from meterhouse.api.subscription_params import SubscriptionWrite, cancellation_of, read_instant
from meterhouse.billing.change import Recurrences
from meterhouse.billing.period import period_at
from meterhouse.billing.subscription import Subscription
from meterhouse.wire import param_errors, subscription_errors

REQUESTED = "cancellation_requested"  # why it ends


def ending(
    one: Subscription, params: SubscriptionWrite, often: Recurrences, now: int
) -> Subscription:
    """Return a subscription that ends when a request says, or does not any more."""
    undone = params.cancel_at_period_end is False or params.cancel_at is None
    if undone and one.cancel_at is not None:
        details = cancellation_of(one.details, None, reason=None)
        one = replace(
            one, cancel_at=None, cancel_at_period_end=False, canceled_at=None, details=details
        )
    if params.cancel_at_period_end:
        if one.period.end <= now:
            raise subscription_errors.not_while(one.status, "cancel_at_period_end")
        return _ends(one, one.period.end, now, at_period_end=True)
    if isinstance(params.cancel_at, UnsetType | None):
        return moved_end(one)
    ends = _instant(one, params.cancel_at)
    if ends <= now:
        raise subscription_errors.past_instant("cancel_at", ends // 1000)
    _check_boundary(one, params, often, ends)
    return _ends(one, ends, now, at_period_end=False)


def moved_end(one: Subscription) -> Subscription:
    """Return a subscription that ends, if at the end of its period, at that of the present one."""
    if one.cancel_at_period_end and one.status != "paused":
        return replace(one, cancel_at=one.period.end)
    return one


def _instant(one: Subscription, told: str) -> int:
    ends = [item.period.end for item in one.items]
    if told == "min_period_end":
        return min(ends)
    if told == "max_period_end":
        return max(ends)
    if told == "max_billed_until":
        raise param_errors.not_supported("cancel_at")
    return read_instant(told, "cancel_at")


def _ends(one: Subscription, at: int, now: int, *, at_period_end: bool) -> Subscription:
    return replace(
        one,
        cancel_at=at,
        cancel_at_period_end=at_period_end,
        canceled_at=now if one.canceled_at is None else one.canceled_at,
        details=cancellation_of(one.details, None, reason=REQUESTED),
    )


def _check_boundary(
    one: Subscription, params: SubscriptionWrite, often: Recurrences, ends: int
) -> None:
    """Refuse an end that would charge for a part of a period of what is licensed."""
    for item in filter(is_licensed, one.items):
        now = item.period.start < ends < item.period.end
        if now and (params.proration_behavior == "none" or one.status == "trialing"):
            continue
        if period_at(one.anchor, often[item.price], ends).start != ends:
            raise subscription_errors.needs_a_boundary("cancel_at")
