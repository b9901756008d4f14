"""What subscriptions come to, over HTTP and by a clock: examples that Stripe's pages work out.

https://docs.stripe.com/billing/subscriptions/billing-mode/compare
"""

from typing import Any

import httpx
import pytest
import stripe

from tests.api.subscribing import Shop, at

Lines = list[tuple[str, int]]


@pytest.fixture
def shop(client: stripe.StripeClient, http: httpx.Client) -> Shop:
    return Shop(client, http, "2027-01-01")


def invoices(shop: Shop) -> list[dict[str, Any]]:
    """Return the invoices of the customer, oldest first."""
    params = {"customer": shop.customer, "limit": "100"}
    found: list[dict[str, Any]] = shop.http.get("/v1/invoices", params=params).json()["data"]
    return found[::-1]


def lines(invoice: dict[str, Any]) -> Lines:
    return [(line["description"], line["amount"]) for line in invoice["lines"]["data"]]


def price(shop: Shop, amount: int, per: int) -> str:
    """Make a price by packages of usage, in pounds."""
    return shop.price(
        amount,
        currency="gbp",
        transform_quantity={"divide_by": per, "round": "up"},
        recurring={"interval": "month", "usage_type": "metered", "meter": shop.meter},
    )


@pytest.mark.parametrize(
    ("mode", "behavior", "amounts"),
    [
        ("flexible", "create_prorations", [100, 75]),
        ("flexible", "none", [75]),
        ("classic", "create_prorations", [75]),
    ],
)
def test_two_prices_share_a_month(shop: Shop, mode: str, behavior: str, amounts: list[int]) -> None:
    one = shop.subscribe(price(shop, 10, 100), billing_mode={"type": mode}).to_dict()
    shop.advance("2027-01-15")
    shop.use(1_000, "2027-01-05")
    data = {
        "items[0][id]": one["items"]["data"][0]["id"],
        "items[0][price]": price(shop, 15, 100),
        "proration_behavior": behavior,
    }
    shop.change(one["id"], **data)
    shop.advance("2027-01-25")
    shop.use(500, "2027-01-20")
    shop.advance("2027-02-01T01:00")
    last = invoices(shop)[-1]
    assert [amount for _, amount in lines(last)] == amounts
    assert (last["total"], last["status"]) == (sum(amounts), "open")
    assert last["billing_reason"] == "subscription_cycle"


def test_late_events_find_the_price_that_they_were_used_at(shop: Shop) -> None:
    one = shop.subscribe(shop.metered(10)).to_dict()
    shop.advance("2027-01-15")
    item = one["items"]["data"][0]["id"]
    shop.change(one["id"], **{"items[0][id]": item, "items[0][price]": shop.metered(15)})
    shop.advance("2027-02-01")
    shop.use(3, "2027-01-14T23:59:59")
    shop.use(5, "2027-01-15")
    shop.use(7, "2027-02-01")
    shop.advance("2027-02-01T01:00")
    (invoice,) = invoices(shop)
    assert [amount for _, amount in lines(invoice)] == [30, 75]
    shop.advance("2027-03-01T01:00")
    assert invoices(shop)[-1]["total"] == 105


def test_a_stub_bills_its_own_usage(shop: Shop) -> None:
    shop.advance("2027-01-20")
    shop.subscribe(shop.metered(4), billing_cycle_anchor=at("2027-02-01"))
    shop.advance("2027-02-01")
    shop.use(40, "2027-01-25")
    shop.advance("2027-02-11")
    shop.use(100, "2027-02-10")
    shop.advance("2027-03-01T01:00")
    assert [one["total"] for one in invoices(shop)] == [160, 400]


@pytest.mark.parametrize(
    ("mode", "text"),
    [("flexible", "Free trial for 10 × Calls"), ("classic", "10 × Calls (Free trial)")],
)
def test_a_trial_is_free(shop: Shop, mode: str, text: str) -> None:
    shop.subscribe(shop.metered(4), trial_period_days=14, billing_mode={"type": mode})
    shop.advance("2027-01-14")
    shop.use(10, "2027-01-10")
    shop.advance("2027-01-20")
    shop.use(5, "2027-01-18")
    shop.advance("2027-02-15T01:00")
    *_, ended, renewed = invoices(shop)
    assert lines(ended) == [(text, 0)]
    assert renewed["total"] == 20
    assert renewed["period_start"] == at("2027-01-15")


@pytest.mark.parametrize(
    ("mode", "amounts"), [("flexible", [10_000, 15_000]), ("classic", [25_000])]
)
def test_one_that_is_backdated(shop: Shop, mode: str, amounts: list[int]) -> None:
    shop.advance("2027-02-10")
    shop.use(100, "2027-01-15")
    shop.advance("2027-02-28")
    shop.use(150, "2027-02-10")
    one = shop.subscribe(
        price(shop, 1_000, 10), backdate_start_date=at("2027-01-01"), billing_mode={"type": mode}
    )
    assert one.start_date == at("2027-01-01")
    shop.advance("2027-03-28T01:00")
    found = [one for one in invoices(shop) if one["total"]]
    assert [amount for _, amount in lines(found[0])] == amounts[::-1] or [
        amount for _, amount in lines(found[0])
    ] == amounts
    assert sum(one["total"] for one in found) == 25_000


def test_a_licence_and_what_is_used(shop: Shop) -> None:
    shop.subscribe(shop.metered(4), shop.seats(10_000))
    shop.advance("2027-01-20")
    shop.use(30, "2027-01-10")
    shop.advance("2027-02-01T01:00")
    first, second = invoices(shop)
    assert (first["total"], second["total"]) == (10_000, 10_120)
    assert lines(second) == [
        ("1 × Calls (at $100.00 / month)", 10_000),
        ("30 × Calls (at $0.04 / month)", 120),
    ]
    assert [line["period"]["start"] for line in second["lines"]["data"]] == [
        at("2027-02-01"),
        at("2027-01-01"),
    ]


def test_the_end_of_a_period_is_the_end(shop: Shop) -> None:
    one = shop.subscribe(shop.metered(4), shop.seats(10_000), cancel_at_period_end=True).id
    shop.advance("2027-01-20")
    shop.use(30, "2027-01-10")
    shop.advance("2027-03-01")
    assert [invoice["total"] for invoice in invoices(shop)] == [10_000, 120]
    over = shop.show(one)
    assert (over["status"], over["ended_at"]) == ("canceled", at("2027-02-01"))
    assert over["items"]["data"][0]["current_period_end"] == at("2027-02-01")


def test_each_of_two_subscriptions_bills_all_usage(shop: Shop) -> None:
    shop.subscribe(shop.metered(4))
    shop.subscribe(shop.metered(1))
    shop.advance("2027-01-20")
    shop.use(100, "2027-01-10")
    shop.advance("2027-02-01T01:00")
    assert sorted(one["total"] for one in invoices(shop)) == [100, 400]


def test_a_pause_of_collection_makes_invoices_void(shop: Shop) -> None:
    one = shop.subscribe(shop.metered(4)).id
    shop.change(one, **{"pause_collection[behavior]": "void"})
    shop.advance("2027-01-20")
    shop.use(100, "2027-01-10")
    shop.advance("2027-02-01T01:00")
    assert [(one["status"], one["total"]) for one in invoices(shop)] == [("void", 400)]
    shop.change(one, pause_collection="")
    shop.advance("2027-03-01T01:00")
    assert invoices(shop)[-1]["status"] == "paid"


def test_a_draft_that_is_expanded_follows_usage(shop: Shop) -> None:
    one = shop.subscribe(shop.metered(4)).id
    shop.advance("2027-02-01")
    shop.use(100, "2027-01-10")
    invoice = shop.show(one)["latest_invoice"]
    assert (invoice["status"], invoice["total"]) == ("draft", 400)
