"""Billing thresholds of subscriptions and of their items, as requests tell them.

https://docs.stripe.com/billing/subscriptions/usage-based/thresholds
"""

from typing import Any

import httpx
import pytest
import stripe

from tests.api.subscribing import Shop, at

START = "2027-01-31T10:00"
AMOUNT = "billing_thresholds[amount_gte]"
RESET = "billing_thresholds[reset_billing_cycle_anchor]"
USAGE = "items[0][billing_thresholds][usage_gte]"
ITEM_USAGE = "billing_thresholds[usage_gte]"


@pytest.fixture
def shop(client: stripe.StripeClient, http: httpx.Client) -> Shop:
    return Shop(client, http, START)


def subscribed(shop: Shop, **data: Any) -> dict[str, Any]:
    plain = {"customer": shop.customer, "items[0][price]": shop.metered()}
    answer = shop.http.post("/v1/subscriptions", data=plain | data)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def thresholds(one: dict[str, Any]) -> tuple[Any, Any]:
    """Return what a subscription shows of its own thresholds, and of those of its item."""
    return one["billing_thresholds"], one["items"]["data"][0]["billing_thresholds"]


def test_without_thresholds(shop: Shop) -> None:
    assert thresholds(subscribed(shop)) == (None, None)


@pytest.mark.parametrize(
    ("data", "own", "of_item"),
    [
        ({AMOUNT: 50}, {"amount_gte": 50, "reset_billing_cycle_anchor": False}, None),
        (
            {AMOUNT: 1_000, RESET: "true"},
            {"amount_gte": 1_000, "reset_billing_cycle_anchor": True},
            None,
        ),
        (
            {USAGE: 2, RESET: "true"},
            {"amount_gte": None, "reset_billing_cycle_anchor": True},
            {"usage_gte": 2},
        ),
        ({USAGE: 2}, None, {"usage_gte": 2}),
        ({"billing_thresholds": "", "items[0][billing_thresholds]": ""}, None, None),
    ],
)
def test_they_are_given_back(shop: Shop, data: dict[str, Any], own: Any, of_item: Any) -> None:
    made = subscribed(shop, **data)
    assert thresholds(made) == (own, of_item)
    assert thresholds(shop.show(made["id"])) == (own, of_item)


def test_they_change_and_go(shop: Shop) -> None:
    made = subscribed(shop, **{AMOUNT: 1_000, RESET: "true"})
    one, item = made["id"], made["items"]["data"][0]["id"]
    assert thresholds(shop.change(one, **{"metadata[a]": "b"})) == thresholds(made)
    changed = shop.change(one, **{AMOUNT: 2_000, "items[0][id]": item, USAGE: 7})
    own = {"amount_gte": 2_000, "reset_billing_cycle_anchor": False}
    assert thresholds(changed) == (own, {"usage_gte": 7})
    changed = shop.change(one, billing_thresholds="")
    assert thresholds(changed) == (None, {"usage_gte": 7})
    path = f"/v1/subscription_items/{item}"
    assert shop.http.post(path, data={ITEM_USAGE: 9}).json()["billing_thresholds"] == {
        "usage_gte": 9
    }
    priced = shop.http.post(path, data={"price": shop.metered(5)}).json()
    assert priced["billing_thresholds"] == {"usage_gte": 9}
    gone = shop.http.post(path, data={"billing_thresholds": ""}).json()
    assert gone["billing_thresholds"] is None
    assert thresholds(shop.show(one)) == (None, None)


def test_an_item_that_is_not_metered_any_more_has_none(shop: Shop) -> None:
    item = subscribed(shop, **{USAGE: 7})["items"]["data"][0]["id"]
    data = {"price": shop.seats(), "proration_behavior": "none"}
    changed = shop.http.post(f"/v1/subscription_items/{item}", data=data).json()
    assert changed["billing_thresholds"] is None


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ({AMOUNT: 49}, AMOUNT),
        ({AMOUNT: "1.5"}, AMOUNT),
        ({USAGE: 0}, USAGE),
        ({USAGE: "many"}, USAGE),
        ({"items[0][billing_thresholds][amount_gte]": 5}, "items[0][billing_thresholds]"),
        ({"billing_thresholds": "5"}, "billing_thresholds"),
        ({AMOUNT: 1_000, "items[0][price]": "FLAT"}, AMOUNT),
        ({AMOUNT: 5_000, "items[0][price]": "PACKAGES"}, "billing_thresholds"),
        ({USAGE: 5, "items[0][price]": "PACKAGES"}, "billing_thresholds"),
        ({USAGE: 5, "items[0][price]": "SEATS"}, "items[0][billing_thresholds]"),
        ({AMOUNT: 5_000, RESET: "true", "items[1][price]": "SEATS"}, RESET),
    ],
)
def test_refusals(shop: Shop, data: dict[str, Any], param: str) -> None:
    price = {"currency": "usd", "product": shop.product}
    metered = {
        "recurring[interval]": "month",
        "recurring[usage_type]": "metered",
        "recurring[meter]": shop.meter,
    }
    tiers = {
        "billing_scheme": "tiered",
        "tiers_mode": "graduated",
        "tiers[0][up_to]": "5",
        "tiers[0][flat_amount]": "1000",
        "tiers[1][up_to]": "inf",
        "tiers[1][flat_amount]": "2000",
    }
    packages = {
        "unit_amount": "5",
        "transform_quantity[divide_by]": "10",
        "transform_quantity[round]": "up",
    }
    kinds = {"FLAT": metered | tiers, "PACKAGES": metered | packages}

    def made(kind: str) -> str:
        if kind == "SEATS":
            return shop.seats()
        id_: str = shop.http.post("/v1/prices", data=price | kinds[kind]).json()["id"]
        return id_

    sent = {"customer": shop.customer, "items[0][price]": shop.metered()} | data
    sent = {
        name: made(value) if value in (*kinds, "SEATS") else value for name, value in sent.items()
    }
    error = shop.refused("/v1/subscriptions", sent)
    assert (error["status"], error["type"]) == (400, "invalid_request_error")
    assert error["param"].startswith(param)


def test_a_price_that_does_not_go_with_them_is_not_taken_later(shop: Shop) -> None:
    made = subscribed(shop, **{AMOUNT: 5_000, RESET: "true"})
    data = {"subscription": made["id"], "price": shop.seats(), "proration_behavior": "none"}
    assert shop.refused("/v1/subscription_items", data)["param"] == RESET


def test_a_threshold_that_was_reached_is_invoiced_when_the_clock_goes_on(shop: Shop) -> None:
    """Given usage beyond a threshold, then what is invoiced is told, and taken off later."""
    one = subscribed(shop, **{AMOUNT: 1_000, USAGE: 300})["id"]
    shop.use(300, START)
    shop.advance("2027-02-02T10:00")
    shown = shop.show(one)
    invoice = shown["latest_invoice"]
    assert (invoice["billing_reason"], invoice["total"]) == ("subscription_threshold", 1_200)
    assert (invoice["status"], invoice["created"]) == ("open", at(START))
    (line,) = invoice["lines"]["data"]
    assert invoice["threshold_reason"] == {
        "amount_gte": 1_000,
        "item_reasons": [{"line_item_ids": [line["id"]], "usage_gte": 300}],
    }
    assert line["period"] == {"start": at(START), "end": at(START) + 1}
    assert invoice["period_start"] == invoice["period_end"] == at(START)
    assert shown["items"]["data"][0]["current_period_start"] == at(START)
    assert shop.types("invoice.upcoming") == [
        "customer.subscription.created",
        "customer.subscription.updated",
        "invoice.created",
        "invoice.finalized",
    ]
    shop.use(50, "2027-02-02T10:00")
    preview = shop.client.v1.invoices.create_preview({"subscription": one})
    assert [(line.quantity, line.amount) for line in preview.lines.data] == [
        (350, 1_400),
        (0, -1_200),
    ]
    assert (preview.total, preview.to_dict().get("threshold_reason")) == (200, None)
    ended = shop.http.delete(f"/v1/subscriptions/{one}", params={"invoice_now": "true"}).json()
    last = shop.client.v1.invoices.retrieve(ended["latest_invoice"])
    assert (last.billing_reason, last.total) == ("subscription_update", 200)
