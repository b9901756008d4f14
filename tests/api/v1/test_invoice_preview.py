"""Previews of invoices: of what is, of what is imagined, and as old versions asked for them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from tests.api.samples import error_of
from tests.api.subscribing import Shop, at
from tests.server import TEST_KEY, Server

START, MIDDLE, END = "2027-01-01", "2027-01-16", "2027-02-01"
OLD = {"Stripe-Version": "2024-06-20"}
STRIPE_11 = Path(__file__).parents[3] / ".cache" / "clients" / "stripe-11"


@pytest.fixture
def shop(client: stripe.StripeClient, http: httpx.Client) -> Shop:
    return Shop(client, http, START)


def preview(shop: Shop, **params: Any) -> dict[str, Any]:
    """Look at an invoice of the customer."""
    asked: Any = {"customer": shop.customer, **params}
    return shop.client.v1.invoices.create_preview(asked).to_dict()


def short(document: dict[str, Any]) -> list[tuple[str, int]]:
    return [(line["description"], line["amount"]) for line in document["lines"]["data"]]


def periods(document: dict[str, Any]) -> list[tuple[int, int]]:
    lines = document["lines"]["data"]
    return [(line["period"]["start"], line["period"]["end"]) for line in lines]


def test_the_next_invoice_shows_usage_so_far(shop: Shop) -> None:
    """And at the end of the period it is the invoice, but for what is said of when it is made."""
    subscription = shop.subscribe(shop.metered(), metadata={"team": "blue"})
    shop.use(25, START)
    document = preview(shop)
    assert document["id"].startswith("upcoming_in_1")
    assert (document["object"], document["status"]) == ("invoice", "draft")
    assert (document["billing_reason"], document["number"]) == ("upcoming", None)
    assert (document["period_start"], document["period_end"]) == (at(START), at(END))
    assert (document["created"], document["next_payment_attempt"]) == (at(END), at(END) + 3600)
    assert (document["total"], document["amount_due"], document["currency"]) == (100, 100, "usd")
    assert document["parent"]["subscription_details"]["subscription"] == subscription.id
    (line,) = document["lines"]["data"]
    assert line["id"].startswith("il_tmp_1")
    assert line["invoice"] == document["id"]
    assert line["description"] == "25 × Calls (at $0.04 / month)"
    assert (line["quantity"], str(line["quantity_decimal"])) == (25, "25")
    assert line["period"] == {"start": at(START), "end": at(END)}
    assert line["parent"]["subscription_item_details"]["subscription"] == subscription.id
    assert line["metadata"] == {"team": "blue"}
    assert document["lines"]["total_count"] == 1
    assert shop.client.v1.invoices.list({"customer": shop.customer}).data == []
    assert shop.refused(f"/v1/invoices/{document['id']}", {}, "GET")["status"] == 404
    shop.advance(MIDDLE)
    shop.use(10, MIDDLE)
    seen = preview(shop, subscription=subscription.id)
    assert seen["total"] == 140
    shop.advance(END)
    made = shop.client.v1.invoices.list({"customer": shop.customer}).data[0].to_dict()
    for name in ("total", "period_start", "period_end", "created", "amount_due", "parent"):
        assert made[name] == seen[name]
    assert short(made) == short(seen)
    assert periods(made) == periods(seen)


def test_another_price_splits_the_period(shop: Shop) -> None:
    """In flexible mode usage before the change is billed at the old price, or with the change."""
    subscription = shop.subscribe(shop.metered(4))
    dear = shop.metered(9)
    (item,) = subscription.items.data
    shop.use(10, START)
    shop.advance(MIDDLE)
    shop.use(1, MIDDLE)
    items = [{"id": item.id, "price": dear, "clear_usage": False}]
    later = preview(shop, subscription=subscription.id, subscription_details={"items": items})
    assert short(later) == [
        ("10 × Calls (at $0.04 / month)", 40),
        ("1 × Calls (at $0.09 / month)", 9),
    ]
    assert periods(later) == [(at(START), at(MIDDLE)), (at(MIDDLE), at(END))]
    details = {"items": items, "proration_behavior": "always_invoice"}
    at_once = preview(shop, subscription=subscription.id, subscription_details=details)
    assert short(at_once) == [("10 × Calls (at $0.04 / month)", 40)]
    assert at_once["created"] == at(MIDDLE)
    none = {"items": items, "proration_behavior": "none"}
    dropped = preview(shop, subscription=subscription.id, subscription_details=none)
    assert short(dropped) == [("1 × Calls (at $0.09 / month)", 9)]
    early = {"items": items, "proration_date": at(START) + 86_400}
    dated = preview(shop, subscription=subscription.id, subscription_details=early)
    assert periods(dated)[0] == (at(START), at(START) + 86_400)
    kept = shop.client.v1.subscriptions.retrieve(subscription.id)
    assert kept.to_dict() == subscription.to_dict()


def test_items_come_and_go(shop: Shop) -> None:
    subscription = shop.subscribe(shop.metered(4))
    (item,) = subscription.items.data
    shop.use(10, START)
    shop.advance(MIDDLE)
    items = [{"id": item.id, "deleted": True}, {"price": shop.metered(7)}]
    document = preview(shop, subscription=subscription.id, subscription_details={"items": items})
    assert short(document) == [
        ("10 × Calls (at $0.04 / month)", 40),
        ("0 × Calls (at $0.07 / month)", 0),
    ]
    assert periods(document) == [(at(START), at(MIDDLE)), (at(MIDDLE), at(END))]


def test_a_new_subscription_to_prices_that_there_are_and_that_there_are_not(shop: Shop) -> None:
    data = {"currency": "usd", "product": shop.product, "unit_amount": 500}
    items = [
        {"price": shop.seats(), "quantity": 3},
        {"price_data": {**data, "recurring": {"interval": "month"}}},
    ]
    document = preview(shop, subscription_details={"items": items})
    assert short(document) == [
        ("1 × Calls (at $5.00 / month)", 500),
        ("3 × Calls (at $10.00 / month)", 3000),
    ]
    assert document["period_start"] == document["period_end"] == at(START)
    assert document["parent"] is None
    assert document["lines"]["data"][0]["subscription"] is None
    assert shop.client.v1.subscriptions.list({"customer": shop.customer}).data == []


def test_a_new_subscription_that_began_before(shop: Shop) -> None:
    """What was used since then is billed, a line for each period: worked example 36."""
    shop.use(100, START)
    shop.advance(END)
    shop.use(150, END)
    shop.advance("2027-02-10")
    details = {"items": [{"price": shop.metered(2)}], "start_date": at(START)}
    document = preview(shop, subscription_details=details)
    assert short(document) == [
        ("100 × Calls (at $0.02 / month)", 200),
        ("150 × Calls (at $0.02 / month)", 300),
    ]
    assert periods(document) == [(at(START), at(END)), (at(END), at("2027-02-10"))]
    now = preview(shop, subscription_details={"items": details["items"]})
    assert short(now) == [("0 × Calls (at $0.02 / month)", 0)]
    assert periods(now) == [(at("2027-02-10"), at("2027-03-10"))]


# What is imagined of a subscription, the lines that come of it, and the period of the first.
IMAGINED: list[tuple[dict[str, Any], list[tuple[str, int]], tuple[int, int]]] = [
    (
        {"cancel_now": True},
        [("10 × Calls (at $0.04 / month)", 40)],
        (at(START), at(MIDDLE) + 1),
    ),
    (
        {"billing_cycle_anchor": {"type": "now"}, "proration_behavior": "none"},
        [("1 × Calls (at $10.00 / month)", 1000), ("10 × Calls (at $0.04 / month)", 40)],
        (at(MIDDLE), at("2027-02-16")),
    ),
    (
        {"cancel_at_period_end": True},
        [("10 × Calls (at $0.04 / month)", 40)],
        (at(START), at(END)),
    ),
    (
        {"trial_end": at("2027-01-20"), "proration_behavior": "none"},
        [
            ("10 × Calls (at $0.04 / month)", 40),
            ("1 × Calls (at $10.00 / month)", 1000),
            ("Free trial for 0 × Calls", 0),
        ],
        (at(START), at(MIDDLE)),
    ),
]


def test_dates_that_are_imagined(shop: Shop) -> None:
    subscription = shop.subscribe(shop.metered(), shop.seats())
    shop.use(10, START)
    shop.advance(MIDDLE)
    for details, lines, period in IMAGINED:
        document = preview(shop, subscription=subscription.id, subscription_details=details)
        assert short(document) == lines, details
        assert periods(document)[0] == period


def test_a_usual_period(shop: Shop) -> None:
    """Neither a trial nor what waits is in it."""
    subscription = shop.subscribe(shop.metered(), trial_end=at(MIDDLE))
    shop.use(10, START)
    waiting: Any = {"customer": shop.customer, "amount": 700, "currency": "usd"}
    shop.client.v1.invoice_items.create(waiting)
    assert short(preview(shop, subscription=subscription.id))[-1] == (
        "Free trial for 10 × Calls",
        0,
    )
    usual = preview(shop, subscription=subscription.id, preview_mode="recurring")
    assert short(usual) == [("10 × Calls (at $0.04 / month)", 40)]


def test_more_items(shop: Shop) -> None:
    """One that waits is changed, and new ones are added; nothing of it is kept."""
    shop.subscribe(shop.metered())
    waiting: Any = {"customer": shop.customer, "amount": 700, "currency": "usd"}
    item = shop.client.v1.invoice_items.create(waiting | {"description": "Fee"})
    once = {"currency": "usd", "product": shop.product, "unit_amount": 50}
    document = preview(
        shop,
        invoice_items=[
            {"invoiceitem": item.id, "amount": 900},
            {"amount": 30, "currency": "usd", "description": "Set up"},
            {"price_data": once, "quantity": 3},
        ],
    )
    assert short(document) == [
        ("Calls", 150),
        ("Set up", 30),
        ("Fee", 900),
        ("0 × Calls (at $0.04 / month)", 0),
    ]
    assert short(preview(shop))[0] == ("Fee", 700)


def test_more_items_cost_something_in_the_currency_of_the_invoice(shop: Shop) -> None:
    shop.subscribe(shop.metered())
    once = {"currency": "usd", "product": shop.product, "unit_amount": "50"}
    for data, param in (
        (once | {"currency": "eur"}, "price_data[currency]"),
        (once | {"product": "prod_nope"}, "price_data[product]"),
        ({name: once[name] for name in ("currency", "product")}, None),
    ):
        asked = {f"invoice_items[0][price_data][{name}]": text for name, text in data.items()}
        path = "/v1/invoices/create_preview"
        refused = shop.refused(path, {"customer": shop.customer, **asked})
        assert (refused["status"], refused.get("param")) == (400, param)


def test_the_currency_of_the_invoice_is_told_or_refused(shop: Shop) -> None:
    shop.subscribe(shop.metered())
    assert preview(shop, currency="USD")["currency"] == "usd"
    path, asked = "/v1/invoices/create_preview", {"customer": shop.customer}
    for currency in ("eur", "nope"):
        refused = shop.refused(path, {**asked, "currency": currency})
        assert (refused["status"], refused["param"]) == (400, "currency")


def test_of_a_customer_the_soonest_is_shown(shop: Shop) -> None:
    shop.subscribe(shop.metered(4))
    weekly = shop.subscribe(shop.metered(6, "week"))
    document = preview(shop)
    assert document["parent"]["subscription_details"]["subscription"] == weekly.id


def test_where_nothing_comes(shop: Shop) -> None:
    missing = {
        "status": 404,
        "type": "invalid_request_error",
        "code": "invoice_upcoming_none",
        "message": f"No upcoming invoices for customer: {shop.customer}",
    }
    path = "/v1/invoices/create_preview"
    refused = shop.refused(path, {"customer": shop.customer})
    assert {name: refused[name] for name in missing} == missing
    ending = shop.subscribe(shop.seats(), cancel_at_period_end=True)
    over = shop.subscribe(shop.metered())
    shop.client.v1.subscriptions.cancel(over.id)
    for subscription in (ending.id, over.id):
        refused = shop.refused(path, {"subscription": subscription})
        assert refused["code"] == "invoice_upcoming_none"


# What is asked for, and what the refusal says of it.
REFUSED: list[tuple[dict[str, str], int, str | None]] = [
    ({}, 400, "customer"),
    ({"customer": "cus_nope"}, 404, "customer"),
    ({"subscription": "sub_nope"}, 400, "subscription"),
    ({"discounts[0][coupon]": "x"}, 400, "discounts"),
    ({"automatic_tax[enabled]": "true"}, 400, "automatic_tax[enabled]"),
    ({"issuer[type]": "account"}, 400, "issuer[type]"),
    ({"schedule": "sub_sched_1"}, 400, "schedule"),
    ({"what": "ever"}, 400, "what"),
    ({"preview_mode": "past"}, 400, "preview_mode"),
    (
        {"subscription_details[items][0][price]": "price_nope"},
        400,
        "subscription_details[items][0][price]",
    ),
    (
        {"subscription_details[items][0][id]": "si_nope"},
        400,
        "subscription_details[items][0][id]",
    ),
    (
        {"subscription_details[items][0][discounts][0][coupon]": "x"},
        400,
        "subscription_details[items][0][discounts]",
    ),
    (
        {"subscription_details[default_tax_rates][0]": "txr_1"},
        400,
        "subscription_details[default_tax_rates]",
    ),
    ({"invoice_items[0][invoiceitem]": "ii_nope"}, 400, "invoice_items[0][invoiceitem]"),
    ({"invoice_items[0][description]": "Fee"}, 400, None),
    ({"customer_details[tax_exempt]": "none", "expand[]": "nothing"}, 400, None),
]


def test_what_cannot_be_previewed(shop: Shop) -> None:
    shop.subscribe(shop.metered())
    for data, status, param in REFUSED:
        known = {} if not data or "subscription" in data else {"customer": shop.customer}
        refused = shop.refused("/v1/invoices/create_preview", known | data)
        assert (refused["status"], refused.get("param")) == (status, param), data


def test_a_subscription_is_its_customers(shop: Shop) -> None:
    other = shop.client.v1.customers.create().id
    subscription = shop.subscribe(shop.metered())
    data = {"subscription": subscription.id, "customer": other}
    assert shop.refused("/v1/invoices/create_preview", data)["param"] == "subscription"


def test_old_versions_ask_for_the_upcoming_invoice(shop: Shop) -> None:
    """It has no id, and their parameters are flat; newer versions have it no more."""
    subscription = shop.subscribe(shop.metered())
    (item,) = subscription.items.data
    shop.use(25, START)
    asked = {"customer": shop.customer}
    document = shop.http.get("/v1/invoices/upcoming", params=asked, headers=OLD).json()
    assert "id" not in document
    assert (document["subscription"], document["total"]) == (subscription.id, 100)
    (line,) = document["lines"]["data"]
    assert (line["type"], line["plan"]["amount"], line["invoice"]) == ("subscription", 4, None)
    assert document["lines"]["url"] == f"/v1/invoices/upcoming/lines?customer={shop.customer}"
    flat = {
        "subscription": subscription.id,
        "subscription_items[0][id]": item.id,
        "subscription_items[0][price]": shop.metered(8),
        "subscription_proration_behavior": "none",
    }
    changed = shop.http.get("/v1/invoices/upcoming", params=flat, headers=OLD).json()
    assert short(changed) == [("25 × Calls (at $0.08 / month)", 200)]
    gone = shop.http.get("/v1/invoices/upcoming", params=asked)
    assert error_of(gone, 404)["message"] == "No such invoice: 'upcoming'"


def test_the_lines_of_the_upcoming_invoice_come_in_pages(shop: Shop) -> None:
    shop.subscribe(shop.metered(), shop.seats())
    path, asked = "/v1/invoices/upcoming/lines", {"customer": shop.customer, "limit": "1"}
    first = shop.http.get(path, params=asked, headers=OLD).json()
    assert (first["object"], first["has_more"], len(first["data"])) == ("list", True, 1)
    more = asked | {"starting_after": first["data"][0]["id"]}
    second = shop.http.get(path, params=more, headers=OLD).json()
    assert (second["has_more"], len(second["data"])) == (False, 1)
    assert first["data"][0]["id"] != second["data"][0]["id"]
    unknown = shop.http.get(path, params=asked | {"starting_after": "il_1"}, headers=OLD)
    assert error_of(unknown, 400)["param"] == "starting_after"
    assert shop.http.get(path, params=asked).status_code == 404


def test_the_customer_can_be_expanded(shop: Shop) -> None:
    shop.subscribe(shop.metered())
    assert preview(shop, expand=["customer"])["customer"]["id"] == shop.customer


def test_it_tells_whether_all_that_was_acknowledged_is_in_it(shop: Shop) -> None:
    shop.subscribe(shop.metered())
    answer = shop.http.post("/v1/invoices/create_preview", data={"customer": shop.customer})
    assert answer.headers["meterhouse-consistency"] == "strong"


SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
import stripe
url, key, account, customer, subscription = sys.argv[2:]
stripe.api_base, stripe.api_key = url, key
shown = stripe.Invoice.upcoming(customer=customer, stripe_account=account)
made = stripe.Invoice.create_preview(subscription=subscription, stripe_account=account)
lines = stripe.Invoice.upcoming_lines(customer=customer, stripe_account=account)
print(json.dumps([shown.total, made.total, [one.description for one in lines.data],
    shown.lines.data[0].price.unit_amount, made.subscription == subscription]))
"""


@pytest.mark.skipif(not STRIPE_11.exists(), reason="`make test` installs the old SDK")
def test_the_old_sdk(shop: Shop, server: Server, account: str) -> None:
    subscription = shop.subscribe(shop.metered()).id
    shop.use(25, START)
    given = [STRIPE_11, server.url, TEST_KEY, account, shop.customer, subscription]
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, given)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    text = "25 × Calls (at $0.04 / month)"
    assert json.loads(ran.stdout) == [100, 100, [text], 4, True]
