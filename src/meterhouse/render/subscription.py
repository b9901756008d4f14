"""Subscriptions and their items as Stripe shows them, at each version as it showed them then."""

from collections.abc import Collection, Mapping
from datetime import date
from typing import Any

from meterhouse.billing.period import Period
from meterhouse.billing.price import Price
from meterhouse.billing.subscription import Item, Subscription
from meterhouse.render.catalog import render_plan, render_price
from meterhouse.render.instant import seconds, seconds_or_none
from meterhouse.wire.page import list_object
from meterhouse.wire.version import DEFAULT_VERSION, ApiVersion

Documents = Mapping[str, dict[str, Any]]

_ITEMS_HAVE_PERIODS = date(2025, 3, 31)
_BILLING_MODE = date(2025, 6, 30)
_PRORATION_DISCOUNTS = date(2025, 9, 30)
_CUSTOMER_ACCOUNT = date(2026, 1, 28)
_BILLING_SCHEDULES = date(2026, 5, 27)
_FEEDBACK_OPTION = date(2026, 8, 26)
_STATUS_DETAILS = date(2026, 9, 30)

INVOICE_SETTINGS: Mapping[str, Any] = {
    "account_tax_ids": None,
    "custom_fields": None,
    "description": None,
    "footer": None,
    "issuer": {"type": "self"},
}
PAYMENT_SETTINGS: Mapping[str, Any] = {
    "payment_method_options": None,
    "payment_method_types": None,
    "save_default_payment_method": "off",
}
CANCELLATION_DETAILS: Mapping[str, Any] = {
    "comment": None,
    "feedback": None,
    "feedback_option": None,
    "reason": None,
}
_DEFAULTS: Mapping[str, Any] = {
    "application": None,
    "application_fee_percent": None,
    "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
    "billing_cycle_anchor_config": None,
    "billing_schedules": [],
    "cancellation_details": CANCELLATION_DETAILS,
    "customer_account": None,
    "default_payment_method": None,
    "default_source": None,
    "default_tax_rates": [],
    "description": None,
    "discounts": [],
    "invoice_settings": INVOICE_SETTINGS,
    "managed_payments": None,
    "next_pending_invoice_item_invoice": None,
    "on_behalf_of": None,
    "pause_collection": None,
    "payment_settings": PAYMENT_SETTINGS,
    "pending_invoice_item_interval": None,
    "pending_setup_intent": None,
    "pending_update": None,
    "schedule": None,
    "status_details": None,
    "transfer_data": None,
    "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
}
# Kept among the details and shown by another name than they have.
_NOT_SHOWN = frozenset({"mode_updated", "proration_discounts"})


def render_subscription(
    one: Subscription,
    prices: Mapping[str, Price],
    *,
    livemode: bool,
    version: ApiVersion = DEFAULT_VERSION,
    expand: Collection[str] = (),
    products: Documents | None = None,
    members: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Render a subscription (https://docs.stripe.com/api/subscriptions/object).

    `prices` are those of its items, by their ids. Of `expand` those paths count that lie in a price
    of an item; `products` are shown where they are given. `members` are shown in place of their
    ids: the customer, for example.
    """
    items = [
        render_item(
            item,
            one,
            prices[item.price],
            livemode=livemode,
            version=version,
            expand=expand,
            products=products,
        )
        for item in one.items
    ]
    url = f"/v1/subscription_items?subscription={one.id}"
    document: dict[str, Any] = {
        "id": one.id,
        "object": "subscription",
        **_DEFAULTS,
        **{name: value for name, value in one.details.items() if name not in _NOT_SHOWN},
        "billing_cycle_anchor": seconds(one.anchor),
        "billing_mode": _billing_mode(one),
        "billing_thresholds": one.threshold
        and {
            "amount_gte": one.threshold.amount_gte,
            "reset_billing_cycle_anchor": one.threshold.resets,
        },
        "cancel_at": seconds_or_none(one.cancel_at),
        "cancel_at_period_end": one.cancel_at_period_end,
        "canceled_at": seconds_or_none(one.canceled_at),
        "collection_method": one.collection,
        "created": seconds(one.created),
        "currency": one.currency,
        "customer": one.customer,
        "days_until_due": one.days_until_due,
        "ended_at": seconds_or_none(one.ended_at),
        "items": list_object(url, items, has_more=False) | {"total_count": len(items)},
        "latest_invoice": one.latest_invoice,
        "livemode": livemode,
        "metadata": one.metadata,
        "start_date": seconds(one.start),
        "status": one.status,
        "test_clock": one.test_clock,
        "trial_end": one.trial and seconds(one.trial.end),
        "trial_start": one.trial and seconds(one.trial.start),
        **(members or {}),
    }
    if len(items) == 1:  # not in the types of any SDK, and yet read
        document["plan"] = items[0]["plan"]
        document["quantity"] = items[0].get("quantity")
    return _at_version(document, one.period if one.items else None, version)


def render_item(
    one: Item,
    subscription: Subscription,
    price: Price,
    *,
    livemode: bool,
    version: ApiVersion = DEFAULT_VERSION,
    expand: Collection[str] = (),
    products: Documents | None = None,
) -> dict[str, Any]:
    """Render an item (https://docs.stripe.com/api/subscription_items/object).

    One of a metered price has no quantity. `expand` and `products` are as for a subscription.
    """
    product = products and products.get(price.product)
    document: dict[str, Any] = {
        "id": one.id,
        "object": "subscription_item",
        "billing_thresholds": one.usage_gte and {"usage_gte": one.usage_gte},
        "created": seconds(one.created),
        "discounts": [],
        "metadata": one.metadata,
        "plan": render_plan(price, livemode=livemode, expand=expand, product=product),
        "price": render_price(price, livemode=livemode, expand=expand, product=product),
        "subscription": subscription.id,
        "tax_rates": [],
    }
    if one.quantity is not None:
        document["quantity"] = one.quantity
    if version.date >= _ITEMS_HAVE_PERIODS:
        document |= _period(one.period)
    if version.date >= _BILLING_SCHEDULES:
        document["billed_until"] = None
    if version.date >= _STATUS_DETAILS:
        document["current_trial"] = None
    return document


def _billing_mode(one: Subscription) -> dict[str, Any]:
    discounts = one.details.get("proration_discounts", "included")
    return {
        "flexible": {"proration_discounts": discounts} if one.mode == "flexible" else None,
        "type": one.mode,
        "updated_at": seconds_or_none(one.details.get("mode_updated")),
    }


def _at_version(
    document: dict[str, Any], period: Period | None, version: ApiVersion
) -> dict[str, Any]:
    """Leave out what a version did not have yet, and show what it still had."""
    at = version.date
    for since, name in (
        (_BILLING_MODE, "billing_mode"),
        (_CUSTOMER_ACCOUNT, "customer_account"),
        (_BILLING_SCHEDULES, "billing_schedules"),
        (_STATUS_DETAILS, "managed_payments"),
        (_STATUS_DETAILS, "status_details"),
    ):
        if at < since:
            del document[name]
    if at < _ITEMS_HAVE_PERIODS:
        document |= {"discount": None, **(_period(period) if period else {})}
    if at < _PRORATION_DISCOUNTS and "billing_mode" in document:
        mode = document["billing_mode"]
        document["billing_mode"] = {name: mode[name] for name in ("type", "updated_at")}
    if at < _FEEDBACK_OPTION:
        details = document["cancellation_details"]
        document["cancellation_details"] = {
            name: value for name, value in details.items() if name != "feedback_option"
        }
    if at >= _STATUS_DETAILS:
        behavior = {"billing_cycle_anchor": None, **document["trial_settings"]["end_behavior"]}
        document["trial_settings"] = {"end_behavior": behavior}
    return document


def _period(period: Period) -> dict[str, int]:
    return {
        "current_period_end": seconds(period.end),
        "current_period_start": seconds(period.start),
    }
