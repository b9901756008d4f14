"""Credit grants with the SDK: how they are made, changed and ended, and what is told of them."""

import time
from typing import Any

import httpx
import pytest
import stripe

from meterhouse.limits import CREDIT_UNUSED_ITEMS_MAX
from tests.api.samples import connect, make_customer, make_meter
from tests.api.subscribing import Shop, at
from tests.server import Server

JANUARY, FEBRUARY = "2027-01-01", "2027-02-01"
METERED = {"scope": {"price_type": "metered"}}
PATH = "/v1/billing/credit_grants"


@pytest.fixture
def shop(client: stripe.StripeClient, http: httpx.Client) -> Shop:
    return Shop(client, http, JANUARY)


def grant(shop: Shop, value: int = 1_000, **more: Any) -> stripe.billing.CreditGrant:
    """Grant the customer of a shop credit."""
    params: Any = {
        "customer": shop.customer,
        "amount": {"type": "monetary", "monetary": {"currency": "usd", "value": value}},
        "applicability_config": METERED,
    }
    return shop.client.v1.billing.credit_grants.create(params | more)


def form(customer: str, **more: str) -> dict[str, str]:
    """The parameters of a grant, as a form."""
    return {
        "customer": customer,
        "amount[type]": "monetary",
        "amount[monetary][currency]": "usd",
        "amount[monetary][value]": "1000",
        "applicability_config[scope][price_type]": "metered",
    } | more


def balances(shop: Shop, **scope: Any) -> list[tuple[str, int, int]]:
    """Return currency, available and ledger balance, for all metered prices unless told."""
    wanted: Any = {"customer": shop.customer, "filter": {"type": "applicability_scope"}}
    wanted["filter"]["applicability_scope"] = scope or {"price_type": "metered"}
    found = shop.client.v1.billing.credit_balance_summary.retrieve(wanted).to_dict()
    return [
        (
            one["ledger_balance"]["monetary"]["currency"],
            one["available_balance"]["monetary"]["value"],
            one["ledger_balance"]["monetary"]["value"],
        )
        for one in found["balances"]
    ]


def transactions(shop: Shop, **more: Any) -> list[tuple[str, int]]:
    """Return the kinds and the amounts of the customer's transactions, oldest first."""
    params: Any = {"customer": shop.customer, **more}
    page = shop.client.v1.billing.credit_balance_transactions.list(params).to_dict()
    found = []
    for one in reversed(page["data"]):
        details = one[one["type"]]
        amount = details["amount"]["monetary"]["value"]
        found.append((details["type"], amount if one["type"] == "credit" else -amount))
    return found


def told(shop: Shop, beginning: str = "billing.credit") -> list[str]:
    found = [event.type for event in shop.client.v1.events.list({"limit": 100}).data]
    return [one for one in reversed(found) if one.startswith(beginning)]


def test_a_grant_and_its_transaction(shop: Shop) -> None:
    made = grant(shop, metadata={"order": "7"}, name="Purchased")
    assert made.id.startswith("credgr_test_61")
    assert made.to_dict() == {
        "id": made.id,
        "object": "billing.credit_grant",
        "amount": {"monetary": {"currency": "usd", "value": 1000}, "type": "monetary"},
        "applicability_config": METERED,
        "category": "paid",
        "created": at(JANUARY),
        "customer": shop.customer,
        "customer_account": None,
        "effective_at": at(JANUARY),
        "expires_at": None,
        "livemode": False,
        "metadata": {"order": "7"},
        "name": "Purchased",
        "priority": 50,
        "test_clock": shop.clock,
        "updated": at(JANUARY),
        "voided_at": None,
    }
    credits_ = shop.client.v1.billing
    [one] = credits_.credit_balance_transactions.list({"customer": shop.customer}).data
    assert one.to_dict() == {
        "id": one.id,
        "object": "billing.credit_balance_transaction",
        "created": at(JANUARY),
        "credit": {
            "amount": made.to_dict()["amount"],
            "credits_application_invoice_voided": None,
            "type": "credits_granted",
        },
        "credit_grant": made.id,
        "debit": None,
        "effective_at": at(JANUARY),
        "livemode": False,
        "test_clock": shop.clock,
        "type": "credit",
    }
    assert credits_.credit_balance_transactions.retrieve(one.id).to_dict() == one.to_dict()
    assert credits_.credit_grants.retrieve(made.id).to_dict() == made.to_dict()
    assert balances(shop) == [("usd", 1000, 1000)]
    assert told(shop) == [
        "billing.credit_grant.created",
        "billing.credit_balance_transaction.created",
    ]


def test_grants_are_listed_and_expanded(shop: Shop) -> None:
    grants = shop.client.v1.billing.credit_grants
    ids = [grant(shop, value).id for value in (1, 2, 3)]
    params: Any = {"customer": shop.customer, "limit": 2}
    page = grants.list(params)
    assert ([one.id for one in page.data], page.has_more) == (ids[:0:-1], True)
    rest = grants.list(params | {"starting_after": page.data[-1].id})
    assert ([one.id for one in rest.data], rest.has_more) == (ids[:1], False)
    assert len(grants.list().data) == 3
    one = grants.retrieve(ids[0], {"expand": ["customer", "test_clock"]}).to_dict()
    assert one["customer"]["id"] == shop.customer
    assert one["test_clock"]["frozen_time"] == at(JANUARY)
    expand: Any = {"customer": shop.customer, "credit_grant": ids[1]}
    expand["expand"] = ["data.credit_grant", "data.test_clock"]
    [booked] = shop.client.v1.billing.credit_balance_transactions.list(expand).to_dict()["data"]
    assert (booked["credit_grant"]["id"], booked["test_clock"]["id"]) == (ids[1], shop.clock)
    wanted: Any = {"type": "credit_grant", "credit_grant": ids[2]}
    asked: Any = {"customer": shop.customer, "filter": wanted, "expand": ["customer"]}
    summary = shop.client.v1.billing.credit_balance_summary.retrieve(asked).to_dict()
    assert summary["customer"]["id"] == shop.customer
    assert [one["ledger_balance"]["monetary"]["value"] for one in summary["balances"]] == [3]


def test_a_grant_is_changed(shop: Shop) -> None:
    made = grant(shop, metadata={"order": "7", "note": "x"}, expires_at=at(FEBRUARY))
    grants = shop.client.v1.billing.credit_grants
    shop.advance("2027-01-02")
    change: Any = {"expires_at": at("2027-03-01"), "metadata": {"note": ""}}
    changed = grants.update(made.id, change)
    assert (changed.expires_at, changed.to_dict()["metadata"]) == (at("2027-03-01"), {"order": "7"})
    assert (changed.updated, changed.created) == (at("2027-01-02"), at(JANUARY))
    event = shop.client.v1.events.list({"limit": 1}).data[0].to_dict()
    assert event["type"] == "billing.credit_grant.updated"
    assert event["data"]["previous_attributes"] == {
        "expires_at": at(FEBRUARY),
        "metadata": {"note": "x"},
        "updated": at(JANUARY),
    }
    forever: Any = {"expires_at": ""}
    assert grants.update(made.id, forever).expires_at is None
    before = told(shop)
    grants.update(made.id, forever)
    assert told(shop) == before


def test_a_grant_is_let_expire_or_taken_back(shop: Shop) -> None:
    grants = shop.client.v1.billing.credit_grants
    first, second = grant(shop, 100), grant(shop, 200, effective_at=at(FEBRUARY))
    assert balances(shop) == [("usd", 100, 100)]
    shop.advance("2027-01-02")
    expired = grants.expire(first.id)
    assert (expired.expires_at, expired.updated) == (at("2027-01-02"), at("2027-01-02"))
    too_early = shop.refused(f"{PATH}/{second.id}/expire", {})
    assert (too_early["status"], "not effective yet" in too_early["message"]) == (400, True)
    voided = grants.void_grant(second.id)
    assert (voided.voided_at, voided.expires_at) == (at("2027-01-02"), None)
    assert transactions(shop) == [
        ("credits_granted", 100),
        ("credits_granted", 200),
        ("credits_expired", -100),
        ("credits_voided", -200),
    ]
    assert balances(shop) == [("usd", 0, 0)]
    for one in (first, second):
        for path, data in (("/expire", {}), ("/void", {}), ("", {"expires_at": ""})):
            refused = shop.refused(f"{PATH}/{one.id}{path}", data)
            assert (refused["status"], "already" in refused["message"]) == (400, True)
    assert grants.update(first.id, {"metadata": {"a": "b"}}).to_dict()["metadata"] == {"a": "b"}


def test_what_is_left_expires_in_its_time(shop: Shop) -> None:
    first = grant(shop, 100, expires_at=at("2027-01-10"))
    grant(shop, 200, expires_at=at("2027-01-20T00:00:01"))
    shop.advance("2027-01-20")
    assert transactions(shop)[-1] == ("credits_expired", -100)
    [expired, *_] = shop.client.v1.billing.credit_balance_transactions.list(
        {"customer": shop.customer}
    ).data
    assert (expired.created, expired.effective_at) == (at("2027-01-10"), at("2027-01-10"))
    assert expired.credit_grant == first.id
    assert balances(shop) == [("usd", 200, 200)]
    assert told(shop)[-1] == "billing.credit_balance_transaction.created"


def test_what_is_left_expires_by_the_machines_time(client: stripe.StripeClient) -> None:
    shop = Shop.__new__(Shop)
    shop.client, shop.customer = client, make_customer(client)
    made = grant(shop, 100, expires_at=int(time.time()) + 2)
    for _ in range(600):
        if len(transactions(shop)) > 1:
            break
        time.sleep(0.05)  # nothing tells when but what is asked for
    assert transactions(shop) == [("credits_granted", 100), ("credits_expired", -100)]
    assert client.v1.billing.credit_grants.retrieve(made.id).updated == made.updated


def test_balances_by_scope_and_currency(shop: Shop) -> None:
    one, other = shop.metered(), shop.metered()
    grant(shop, 100)
    grant(shop, 20, applicability_config={"scope": {"prices": [{"id": one}]}})
    euros: Any = {"type": "monetary", "monetary": {"currency": "EUR", "value": 3}}
    assert grant(shop, amount=euros).to_dict()["amount"]["monetary"]["currency"] == "eur"
    assert balances(shop) == [("eur", 3, 3), ("usd", 100, 100)]
    assert balances(shop, prices=[{"id": one}]) == [("eur", 3, 3), ("usd", 120, 120)]
    assert balances(shop, prices=[{"id": other}]) == [("eur", 3, 3), ("usd", 100, 100)]


REFUSED: list[tuple[dict[str, str | None], str | None, str]] = [
    ({"customer": None}, "customer", "Missing required param: customer."),
    ({"customer": "cus_nope"}, "customer", "No such customer: 'cus_nope'"),
    ({"amount[type]": None}, "amount[type]", "Missing required param: amount[type]."),
    ({"amount[monetary][value]": "0"}, "amount[monetary][value]", "Invalid integer"),
    ({"amount[monetary][value]": "1.5"}, "amount[monetary][value]", "Invalid integer: 1.5"),
    ({"amount[monetary][currency]": "xyz"}, "amount[monetary][currency]", "Invalid currency: xyz"),
    ({"amount[custom_pricing_unit][id]": "x"}, "amount[custom_pricing_unit]", "does not support"),
    ({"category": "gift"}, "category", "Invalid category"),
    ({"priority": "101"}, "priority", "Invalid integer"),
    ({"name": "x" * 101}, "name", "at most 100 characters"),
    ({"effective_at": "1798761600"}, "effective_at", "must be in the future"),
    ({"expires_at": "1798761600"}, "expires_at", "must be in the future"),
    ({"effective_at": "1800000000", "expires_at": "1800000000"}, "expires_at", "must be after"),
    (
        {"applicability_config[scope][prices][0][id]": "price_nope"},
        "applicability_config[scope][price_type]",
        "You may only specify one of these parameters",
    ),
    (
        {
            "applicability_config[scope][price_type]": None,
            "applicability_config[scope][prices][0][id]": "price_nope",
        },
        "applicability_config[scope][prices][0][id]",
        "No such price: 'price_nope'",
    ),
    ({"expand[0]": "credit_grant"}, None, "cannot be expanded"),
]


@pytest.mark.parametrize(("change", "param", "message"), REFUSED)
def test_what_is_refused(
    shop: Shop, change: dict[str, str | None], param: str | None, message: str
) -> None:
    data = {
        name: value for name, value in (form(shop.customer) | change).items() if value is not None
    }
    refused = shop.refused(PATH, data)
    assert (refused["status"], refused.get("param")) == (400, param)
    assert message in refused["message"]


def test_what_else_is_refused(shop: Shop, client: stripe.StripeClient) -> None:
    seats = shop.seats()
    data = form(shop.customer)
    del data["applicability_config[scope][price_type]"]
    nothing = shop.refused(PATH, data)
    assert nothing["param"] == "applicability_config"
    named = data | {"applicability_config[scope][prices][0][id]": seats}
    assert "prices with a meter only" in shop.refused(PATH, named)["message"]
    for path in ("", "/expire", "/void"):
        assert shop.refused(f"{PATH}/credgr_nope{path}", {})["status"] == 404
    assert shop.refused(f"{PATH}/credgr_nope", {}, "GET")["status"] == 404
    assert shop.refused("/v1/billing/credit_balance_transactions/x", {}, "GET")["status"] == 404
    mine, other = grant(shop), make_customer(client)
    asked = {"customer": other, "credit_grant": mine.id}
    answer = shop.http.get("/v1/billing/credit_balance_transactions", params=asked)
    assert answer.json()["error"]["param"] == "credit_grant"
    path = "/v1/billing/credit_balance_summary"
    for params, param in (
        ({}, "filter"),
        ({"filter[type]": "credit_grant"}, "customer"),
        ({"customer": other, "filter[type]": "credit_grant"}, "filter[credit_grant]"),
        ({"customer": other, "filter[type]": "applicability_scope"}, "filter[applicability_scope]"),
    ):
        answer = shop.http.get(path, params=params)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_customer_has_so_many_unused_grants(shop: Shop) -> None:
    """As many as Stripe allows; one that is over makes room."""
    made = [grant(shop, 1).id for _ in range(CREDIT_UNUSED_ITEMS_MAX)]
    refused = shop.refused(PATH, form(shop.customer))
    assert (refused["status"], refused["param"]) == (400, "customer")
    assert str(CREDIT_UNUSED_ITEMS_MAX) in refused["message"]
    shop.client.v1.billing.credit_grants.void_grant(made[0])
    grant(shop, 1)


def test_versions(server: Server, account: str, shop: Shop) -> None:
    old = connect(server, account=account, version="2025-09-30.clover")
    params: Any = {
        "customer": shop.customer,
        "amount": {"type": "monetary", "monetary": {"currency": "usd", "value": 5}},
        "applicability_config": METERED,
    }
    with pytest.raises(stripe.InvalidRequestError, match="category"):
        old.v1.billing.credit_grants.create(params)
    made = old.v1.billing.credit_grants.create(params | {"category": "promotional"})
    assert "customer_account" not in made
    oldest = connect(server, account=account, version="2024-10-28.acacia")
    shown = oldest.v1.billing.credit_grants.retrieve(made.id)
    assert "priority" not in shown
    assert made.priority == 50


def test_the_same_request_grants_once(shop: Shop) -> None:
    data, headers = form(shop.customer), {"Idempotency-Key": "grant once"}
    first, again = (shop.http.post(PATH, data=data, headers=headers) for _ in range(2))
    assert first.json()["id"] == again.json()["id"]
    assert balances(shop) == [("usd", 1000, 1000)]


def test_whoever_is_billed_has_its_time(client: stripe.StripeClient, http: httpx.Client) -> None:
    """A customer that was granted credit joins no clock any more."""
    shop = Shop.__new__(Shop)
    shop.client, shop.http, shop.customer = client, http, make_customer(client)
    make_meter(client)
    grant(shop)
    data = {"frozen_time": str(at(JANUARY)), "customer": shop.customer}
    assert shop.refused("/v1/test_helpers/test_clocks", data)["status"] == 400
