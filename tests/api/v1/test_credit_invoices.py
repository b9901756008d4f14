"""What credits pay of invoices: the worked examples, drafts, voided invoices, and the burn-down."""

from typing import Any

import httpx
import pytest
import stripe

from tests.api.subscribing import Shop, at
from tests.api.v1.test_credit_grants import balances, grant, told, transactions

JANUARY, FEBRUARY, DONE = "2027-01-01", "2027-02-01", "2027-02-01T01:00"


@pytest.fixture
def shop(client: stripe.StripeClient, http: httpx.Client) -> Shop:
    return Shop(client, http, JANUARY)


def invoice(shop: Shop) -> dict[str, Any]:
    """Return the customer's newest invoice."""
    [one, *_] = shop.client.v1.invoices.list({"customer": shop.customer}).to_dict()["data"]
    found: dict[str, Any] = one
    return found


def lines_paid(document: dict[str, Any]) -> list[tuple[int, list[int]]]:
    """Return the amounts of lines, and what credits pay of them."""
    return [
        (line["amount"], [one["amount"] for one in line["pretax_credit_amounts"]])
        for line in document["lines"]["data"]
    ]


def test_a_grant_pays_a_part(shop: Shop) -> None:
    """Example 42, and 45: voided, it is there again."""
    made = grant(shop, 600)
    shop.subscribe(shop.metered(10))
    shop.use(100, JANUARY)
    shop.advance(DONE)
    document = invoice(shop)
    assert (document["subtotal"], document["total"], document["amount_due"]) == (1000, 400, 400)
    assert (document["status"], document["total_excluding_tax"]) == ("open", 400)
    [line] = document["lines"]["data"]
    assert (line["amount"], line["subtotal"]) == (1000, 1000)
    [paid] = line["pretax_credit_amounts"]
    assert document["total_pretax_credit_amounts"] == [paid]
    booked = paid["credit_balance_transaction"]
    assert paid == {
        "amount": 600,
        "credit_balance_transaction": booked,
        "type": "credit_balance_transaction",
    }
    one = shop.client.v1.billing.credit_balance_transactions.retrieve(booked).to_dict()
    assert one["debit"] == {
        "amount": {"monetary": {"currency": "usd", "value": 600}, "type": "monetary"},
        "credits_applied": {"invoice": document["id"], "invoice_line_item": line["id"]},
        "type": "credits_applied",
    }
    assert (one["credit_grant"], one["credit"], one["type"]) == (made.id, None, "debit")
    assert (one["created"], one["effective_at"]) == (at(DONE), at(DONE))
    assert balances(shop) == [("usd", 0, 0)]
    _expanded(shop, document["id"], booked, made.id)
    refused = shop.refused(f"/v1/billing/credit_grants/{made.id}/void", {})
    assert "has been applied" in refused["message"]

    void = shop.client.v1.invoices.void_invoice(document["id"]).to_dict()
    assert (void["status"], void["total"]) == ("void", 400)
    assert void["lines"]["data"][0]["pretax_credit_amounts"] == [paid]
    assert balances(shop) == [("usd", 600, 600)]
    assert transactions(shop) == [
        ("credits_granted", 600),
        ("credits_applied", -600),
        ("credits_application_invoice_voided", 600),
    ]
    back, *_ = shop.client.v1.billing.credit_balance_transactions.list(
        {"customer": shop.customer}
    ).to_dict()["data"]
    assert back["credit"]["credits_application_invoice_voided"] == {
        "invoice": document["id"],
        "invoice_line_item": line["id"],
    }
    assert told(shop)[1:] == ["billing.credit_balance_transaction.created"] * 3


def _expanded(shop: Shop, invoice_id: str, booked: str, grant_id: str) -> None:
    """Transactions and grants are shown where an invoice names them, and the other way round."""

    def first(path: str, expand: str) -> Any:
        asked = {"expand[]": expand, "customer": shop.customer}
        if path.endswith("lines"):
            del asked["customer"]
        return shop.http.get(path, params=asked).json()["data"][0]

    of_lines = "pretax_credit_amounts.credit_balance_transaction"
    for path, member in (
        ("/v1/invoices", f"total_{of_lines}"),
        (f"/v1/invoices/{invoice_id}/lines", of_lines),
    ):
        paid = first(path, f"data.{member}")[member.partition(".")[0]][0]
        assert paid["credit_balance_transaction"]["id"] == booked
        if path.endswith("lines"):
            paid = first(path, f"data.{member}.credit_grant")["pretax_credit_amounts"][0]
            assert paid["credit_balance_transaction"]["credit_grant"]["id"] == grant_id
    applied = "data.debit.credits_applied.invoice"
    shown = first("/v1/billing/credit_balance_transactions", applied)
    assert shown["debit"]["credits_applied"]["invoice"]["id"] == invoice_id


def test_grants_pay_one_after_the_other(shop: Shop) -> None:
    """Example 43: what is nothing to pay any more is paid."""
    second = grant(shop, 300, category="promotional")
    first = grant(shop, 500, priority=10)
    other = shop.metered(3)
    shop.subscribe(other, shop.metered(4))
    shop.use(100, JANUARY)
    shop.advance(DONE)
    document = invoice(shop)
    assert lines_paid(document) == [(400, [400]), (300, [100, 200])]
    assert (document["status"], document["total"], document["amount_due"]) == ("paid", 0, 0)
    assert [one["amount"] for one in document["total_pretax_credit_amounts"]] == [400, 100, 200]
    assert transactions(shop, credit_grant=first.id)[1:] == [
        ("credits_applied", -400),
        ("credits_applied", -100),
    ]
    assert transactions(shop, credit_grant=second.id)[1:] == [("credits_applied", -200)]
    assert balances(shop) == [("usd", 100, 100)]


def test_a_licence_is_not_paid_by_credits(shop: Shop) -> None:
    """Example 44; nor is an invoice item, nor an invoice that somebody makes."""
    grant(shop, 1_000)
    shop.subscribe(shop.metered(3), shop.seats(10_000))
    shop.use(100, JANUARY)
    shop.client.v1.invoice_items.create({"customer": shop.customer, "amount": 50})
    shop.advance(DONE)
    document = invoice(shop)
    assert sorted(lines_paid(document)) == [(50, []), (300, [300]), (10_000, [])]
    assert document["total"] == 10_050
    assert balances(shop) == [("usd", 700, 700)]


def test_credits_come_before_the_balance(shop: Shop) -> None:
    shop.client.v1.customers.update(shop.customer, {"balance": -300})
    grant(shop, 600)
    shop.subscribe(shop.metered(10))
    shop.use(100, JANUARY)
    shop.advance(DONE)
    document = invoice(shop)
    assert (document["total"], document["amount_due"], document["ending_balance"]) == (400, 100, 0)


def test_drafts_and_previews_are_shown_as_credits_will_pay_them(shop: Shop) -> None:
    grant(shop, 600)
    shop.subscribe(shop.metered(10))
    shop.use(50, JANUARY)
    expected: dict[str, Any] = {"amount": 500, "credit_balance_transaction": None}
    expected["type"] = "credit_balance_transaction"
    asked: Any = {"customer": shop.customer}
    preview = shop.client.v1.invoices.create_preview(asked).to_dict()
    assert (preview["subtotal"], preview["total"], preview["amount_due"]) == (500, 0, 0)
    assert preview["total_pretax_credit_amounts"] == [expected]
    assert balances(shop) == [("usd", 600, 600)]
    shop.advance(FEBRUARY)
    draft = invoice(shop)
    assert (draft["status"], draft["total"]) == ("draft", 0)
    assert draft["lines"]["data"][0]["pretax_credit_amounts"] == [expected]
    assert balances(shop) == [("usd", 100, 600)]
    shop.use(20, "2027-01-31")
    assert (invoice(shop)["total"], balances(shop)) == (100, [("usd", 0, 600)])
    changed = shop.client.v1.invoices.add_lines(
        draft["id"], {"lines": [{"amount": 70, "description": "Fee"}]}
    ).to_dict()
    assert lines_paid(changed) == [(700, [600]), (70, [])]
    assert changed["total"] == 170
    assert transactions(shop) == [("credits_granted", 600)]
    created = next(
        event.to_dict()["data"]["object"]
        for event in shop.client.v1.events.list({"type": "invoice.created"}).data
    )
    assert created["total_pretax_credit_amounts"] == [expected]
    shop.advance(DONE)
    document = invoice(shop)
    assert (document["total"], document["amount_due"]) == (170, 170)
    assert balances(shop) == [("usd", 0, 0)]


def test_a_void_invoice_gives_back_what_expires_at_once(shop: Shop) -> None:
    grant(shop, 600, expires_at=at("2027-02-02"))
    shop.subscribe(shop.metered(10))
    shop.use(100, JANUARY)
    shop.advance("2027-02-03")
    shop.client.v1.invoices.void_invoice(invoice(shop)["id"])
    assert transactions(shop)[1:] == [
        ("credits_applied", -600),
        ("credits_application_invoice_voided", 600),
        ("credits_expired", -600),
    ]


@pytest.mark.parametrize(
    ("members", "total"),
    [
        ({"expires_at": FEBRUARY}, 1000),
        ({"expires_at": "2027-02-01T00:30"}, 1000),
        ({"expires_at": "2027-02-01T01:00"}, 400),
        ({"effective_at": FEBRUARY}, 400),
        ({"effective_at": "2027-02-01T00:00:01"}, 1000),
    ],
)
def test_a_grant_pays_for_periods_that_end_in_its_time(
    shop: Shop, members: dict[str, str], total: int
) -> None:
    """And as long as it has not expired before the invoice is final."""
    grant(shop, 600, **{name: at(when) for name, when in members.items()})
    shop.subscribe(shop.metered(10))
    shop.use(100, JANUARY)
    shop.advance(DONE)
    assert invoice(shop)["total"] == total


def test_usage_of_before_a_price_changed_is_paid_by_credits(shop: Shop) -> None:
    grant(shop, 600)
    subscription = shop.subscribe(shop.metered(10))
    shop.use(100, JANUARY)
    shop.advance("2027-01-15")
    (item,) = subscription.items.data
    change: Any = {"items": [{"id": item.id, "price": shop.metered(20)}]}
    shop.client.v1.subscriptions.update(subscription.id, change)
    shop.advance(DONE)
    document = invoice(shop)
    assert lines_paid(document) == [(1000, [600]), (0, [])]
    assert document["total"] == 400


def test_the_burn_down_of_open_periods(shop: Shop) -> None:
    """What drafts take, what open periods have used, and when the rest is used up at this pace."""
    first = grant(shop, 1_000, priority=1, name="Prepaid")
    second = grant(shop, 5_000)
    price = shop.metered(10)
    shop.subscribe(price)
    shop.use(30, JANUARY)
    shop.advance(FEBRUARY)
    asked = {"customer": shop.customer}
    path = "/meterhouse/v1/credit_burn_down"
    fresh = shop.http.get(path, params=asked).json()
    assert [one["drafts"] for one in fresh["grants"]] == [300, 0]
    assert fresh["pace"][0]["amount"] == 0
    shop.advance("2027-02-11")
    shop.use(100, "2027-02-02")
    answer = shop.http.get(path, params=asked)
    shown = answer.json()
    assert answer.headers["Meterhouse-Consistency"] == "strong"
    assert (shown["object"], shown["as_of"]) == ("meterhouse.credit_burn_down", at("2027-02-11"))
    assert shown["pace"] == [
        {
            "amount": 1000,
            "amount_per_day": 100,
            "currency": "usd",
            "price": price,
            "since": at(FEBRUARY),
        }
    ]
    assert shown["grants"] == [
        {
            "credit_grant": one.id,
            "name": name,
            "amount": amount,
            "currency": "usd",
            "drafts": 0,
            "effective_at": at(JANUARY),
            "expires_at": None,
            "ledger_balance": left,
            "open_periods": used,
            "remaining": left - used,
            "used_up_at": at(ends),
        }
        for one, name, amount, left, used, ends in (
            (first, "Prepaid", 1_000, 700, 700, "2027-02-11"),
            (second, None, 5_000, 5_000, 300, "2027-03-30"),
        )
    ]
    nobody = shop.http.get(path)
    assert (nobody.status_code, nobody.json()["error"]["param"]) == (400, "customer")
