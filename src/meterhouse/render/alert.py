"""Alerts as Stripe shows them, and what tells that one was triggered."""

from decimal import ROUND_FLOOR, Decimal
from typing import Any

from meterhouse.billing.alert import Alert, Step, Trigger
from meterhouse.billing.money import print_decimal
from meterhouse.render.instant import seconds
from meterhouse.wire.version import ACACIA, DEFAULT_VERSION, ApiVersion


def render_alert(
    one: Alert,
    *,
    livemode: bool,
    version: ApiVersion,
    meter: dict[str, Any] | None = None,
    step: int = 0,
) -> dict[str, Any]:
    """Render an alert (https://docs.stripe.com/api/billing/alert/object), about one of its steps.

    `meter` is that of the alert where it is expanded. What Stripe cannot say of an alert of ours is
    left out: its steps as whole numbers, its dimensions.
    """
    document: dict[str, Any] = {
        "id": one.id,
        "object": "billing.alert",
        "alert_type": "usage_threshold",
        "livemode": livemode,
        "status": one.status,
        "title": one.title,
    }
    threshold = {
        "gte": _whole(one.lines[step].gte),
        "meter": meter or one.meter,
        "recurrence": one.recurs,
    }
    if version.date < ACACIA:
        document["filter"] = None if one.customer is None else {"customer": one.customer}
        document["usage_threshold_config"] = threshold
    else:
        filters = None
        if one.customer is not None:
            filters = [{"customer": one.customer, "type": "customer"}]
        document["usage_threshold"] = {"filters": filters, **threshold}
    return document


def render_triggered(one: Alert, trigger: Trigger, *, livemode: bool) -> dict[str, Any]:
    """Render what the event `billing.alert.triggered` tells.

    The value is whole, rounded down; where Stripe could not have made the alert, what it cannot
    say is told beside it.
    """
    document: dict[str, Any] = {
        "object": "billing.alert_triggered",
        "alert": render_alert(one, livemode=livemode, version=DEFAULT_VERSION, step=trigger.step),
        "created": seconds(trigger.created),
        "customer": trigger.customer,
        "livemode": livemode,
        "value": _whole(trigger.value),
    }
    if not one.plain:
        document["meterhouse"] = render_reached(one, trigger)
    return document


def render_reached(one: Alert, trigger: Trigger) -> dict[str, Any]:
    """Render exactly which step was reached, in which period, and by what."""
    percent = one.lines[trigger.step].percent
    period = None
    if one.recurs != "one_time":
        period = {"start": seconds(trigger.period_start), "end": seconds(trigger.period_end)}
    return {
        "gte": print_decimal(trigger.gte),
        "percent": None if percent is None else print_decimal(percent),
        "period": period,
        "value": print_decimal(trigger.value),
    }


def render_own(one: Alert, *, livemode: bool) -> dict[str, Any]:
    """Render all that there is to say of an alert, which Stripe's shape has no room for."""
    return {
        "id": one.id,
        "object": "meterhouse.alert",
        "budget": None if one.budget is None else print_decimal(one.budget),
        "created": seconds(one.created),
        "customer": one.customer,
        "dimensions": one.dimensions,
        "hard_limit": one.hard_limit,
        "livemode": livemode,
        "meter": one.meter,
        "recurrence": one.recurs,
        "status": one.status,
        "steps": [render_step(step) for step in one.lines],
        "title": one.title,
    }


def render_step(step: Step) -> dict[str, Any]:
    """Render a step: the usage that reaches it, and which part of the budget that is."""
    percent = step.percent
    return {
        "gte": print_decimal(step.gte),
        "percent": None if percent is None else print_decimal(percent),
    }


def render_trigger(one: Alert, trigger: Trigger, *, livemode: bool) -> dict[str, Any]:
    """Render a row of an alert's history."""
    return {
        "id": trigger.id,
        "object": "meterhouse.alert_trigger",
        "alert": one.id,
        "created": seconds(trigger.created),
        "customer": trigger.customer,
        "livemode": livemode,
        **render_reached(one, trigger),
    }


def _whole(number: Decimal) -> int:
    return int(number.to_integral_value(ROUND_FLOOR))
