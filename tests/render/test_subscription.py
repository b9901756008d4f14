import json
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from meterhouse.billing.period import Period
from meterhouse.billing.price import Price, Pricing, Recurrence, Recurring, Tier, Transform
from meterhouse.billing.subscription import Item, Subscription
from meterhouse.render.subscription import render_subscription
from meterhouse.wire.version import parse_version

METERED = Price(
    id="price_1",
    scope=1,
    product="prod_1",
    active=True,
    pricing=Pricing(currency="usd", unit_amount=Decimal("0.5"), transform=Transform(10, "up")),
    recurring=Recurring(recurrence=Recurrence("month", 2), usage_type="metered", meter="mtr_1"),
    options={},
    lookup_key=None,
    nickname=None,
    tax_behavior="unspecified",
    metadata={"a": "b"},
    created=1_788_000_000_000,
)
SEATS = replace(
    METERED,
    id="price_2",
    pricing=Pricing(currency="usd", tiers=(Tier(None, Decimal(5), None),), tiers_mode="volume"),
    recurring=Recurring(recurrence=Recurrence("month")),
)
PRICES = {"price_1": METERED, "price_2": SEATS}
ITEM = Item(
    id="si_1",
    price="price_1",
    quantity=None,
    period=Period(1_788_271_200_000, 1_790_863_200_000),
    since=1_788_271_200_000,
    metadata={},
    created=1_788_271_200_000,
)
PLAIN = Subscription(
    id="sub_1",
    scope=1,
    customer="cus_1",
    test_clock=None,
    status="active",
    currency="usd",
    mode="flexible",
    anchor=1_788_271_200_000,
    start=1_788_271_200_000,
    items=(ITEM,),
    details={"mode_updated": 1_788_271_200_000},
    created=1_788_271_200_000,
)
# As https://docs.stripe.com/api/subscriptions/object has it, with `total_count` and the plan.
EXPECTED = json.loads(
    """
{"id":"sub_1","object":"subscription","application":null,"application_fee_percent":null,
 "automatic_tax":{"disabled_reason":null,"enabled":false,"liability":null},
 "billing_cycle_anchor":1788271200,"billing_cycle_anchor_config":null,
 "billing_mode":{"flexible":{"proration_discounts":"included"},"type":"flexible",
   "updated_at":1788271200},
 "billing_schedules":[],"billing_thresholds":null,"cancel_at":null,"cancel_at_period_end":false,
 "canceled_at":null,
 "cancellation_details":{"comment":null,"feedback":null,"feedback_option":null,"reason":null},
 "collection_method":"charge_automatically","created":1788271200,"currency":"usd",
 "customer":"cus_1","customer_account":null,"days_until_due":null,"default_payment_method":null,
 "default_source":null,"default_tax_rates":[],"description":null,"discounts":[],"ended_at":null,
 "invoice_settings":{"account_tax_ids":null,"custom_fields":null,"description":null,"footer":null,
   "issuer":{"type":"self"}},
 "items":{"object":"list","has_more":false,"total_count":1,
   "url":"/v1/subscription_items?subscription=sub_1","data":[
   {"id":"si_1","object":"subscription_item","billed_until":null,"billing_thresholds":null,
    "created":1788271200,"current_period_end":1790863200,"current_period_start":1788271200,
    "current_trial":null,"discounts":[],"metadata":{},"subscription":"sub_1","tax_rates":[]}]},
 "latest_invoice":null,"livemode":false,"managed_payments":null,"metadata":{},
 "next_pending_invoice_item_invoice":null,"on_behalf_of":null,"pause_collection":null,
 "payment_settings":{"payment_method_options":null,"payment_method_types":null,
   "save_default_payment_method":"off"},
 "pending_invoice_item_interval":null,"pending_setup_intent":null,"pending_update":null,
 "quantity":null,"schedule":null,"start_date":1788271200,"status":"active","status_details":null,
 "test_clock":null,"transfer_data":null,"trial_end":null,
 "trial_settings":{"end_behavior":{"billing_cycle_anchor":null,
   "missing_payment_method":"create_invoice"}},"trial_start":null}
"""
)
PLAN = {
    "id": "price_1",
    "object": "plan",
    "active": True,
    "amount": None,
    "amount_decimal": "0.5",
    "billing_scheme": "per_unit",
    "created": 1_788_000_000,
    "currency": "usd",
    "interval": "month",
    "interval_count": 2,
    "livemode": False,
    "metadata": {"a": "b"},
    "meter": "mtr_1",
    "nickname": None,
    "product": "prod_1",
    "tiers_mode": None,
    "transform_usage": {"divide_by": 10, "round": "up"},
    "trial_period_days": None,
    "usage_type": "metered",
}


def shown(one: Subscription, version: str = "2026-10-28.endive", **more: Any) -> dict[str, Any]:
    return render_subscription(one, PRICES, livemode=False, version=parse_version(version), **more)


def test_all_members_of_a_new_one() -> None:
    document = shown(PLAIN)
    (item,) = document["items"]["data"]
    assert item.pop("plan") == document.pop("plan") == PLAN
    assert item.pop("price")["id"] == "price_1"
    assert document == EXPECTED


def test_one_that_ends_on_trial() -> None:
    document = shown(
        replace(
            PLAIN,
            mode="classic",
            status="trialing",
            trial=Period(1_788_271_200_999, 1_790_863_200_000),
            cancel_at=1_790_863_200_000,
            canceled_at=1_788_271_300_000,
            cancel_at_period_end=True,
            details={"description": "Tokens", "mode_updated": 1_788_271_200_000},
        )
    )
    assert document["billing_mode"] == {
        "flexible": None,
        "type": "classic",
        "updated_at": 1_788_271_200,
    }
    assert (document["trial_start"], document["trial_end"]) == (1_788_271_200, 1_790_863_200)
    assert (document["cancel_at"], document["canceled_at"]) == (1_790_863_200, 1_788_271_300)
    assert document["description"] == "Tokens"


def test_several_items_have_no_plan_in_common() -> None:
    seats = replace(ITEM, id="si_2", price="price_2", quantity=3)
    document = shown(replace(PLAIN, items=(ITEM, seats)), expand={"tiers"})
    assert "plan" not in document
    first, second = document["items"]["data"]
    assert "quantity" not in first
    assert second["quantity"] == 3
    assert second["price"]["tiers"] == second["plan"]["tiers"]
    assert "tiers" not in first["price"]


def test_what_is_expanded() -> None:
    products = {"prod_1": {"id": "prod_1", "name": "Tokens"}}
    document = shown(PLAIN, products=products, members={"customer": {"id": "cus_1"}})
    assert document["customer"] == {"id": "cus_1"}
    (item,) = document["items"]["data"]
    assert item["price"]["product"] == item["plan"]["product"] == products["prod_1"]


@pytest.mark.parametrize(
    ("version", "there", "not_there"),
    [
        (
            "2024-06-20",
            ["current_period_start", "current_period_end", "discount"],
            ["billing_mode", "customer_account", "billing_schedules", "status_details"],
        ),
        ("2025-03-31.basil", [], ["current_period_start", "discount", "billing_mode"]),
        ("2025-06-30.basil", ["billing_mode"], ["customer_account"]),
        ("2026-01-28.clover", ["customer_account"], ["billing_schedules"]),
        ("2026-05-27.dahlia", ["billing_schedules"], ["status_details"]),
        ("2026-09-30.endive", ["status_details", "managed_payments"], ["current_period_end"]),
    ],
)
def test_older_versions(version: str, there: list[str], not_there: list[str]) -> None:
    document = shown(PLAIN, version)
    assert [name for name in there if name not in document] == []
    assert [name for name in not_there if name in document] == []
    (item,) = document["items"]["data"]
    assert ("current_period_end" in item) == (version > "2025")
    assert ("billed_until" in item) == (version >= "2026-05-27")
    assert ("current_trial" in item) == (version >= "2026-09-30")


def test_members_of_members_at_older_versions() -> None:
    old = shown(PLAIN, "2025-06-30.basil")
    assert old["billing_mode"] == {"type": "flexible", "updated_at": 1_788_271_200}
    assert "feedback_option" not in old["cancellation_details"]
    assert old["trial_settings"] == {"end_behavior": {"missing_payment_method": "create_invoice"}}
