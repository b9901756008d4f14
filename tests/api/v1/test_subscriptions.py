from collections.abc import Callable
from typing import Any

import httpx
import pytest
import stripe

from tests.api.subscribing import Shop, at

START = "2027-01-31T10:00"


@pytest.fixture
def shop(client: stripe.StripeClient, http: httpx.Client) -> Shop:
    return Shop(client, http, START)


def test_what_is_metered_is_active_at_once_without_an_invoice(shop: Shop) -> None:
    price = shop.metered()
    data = {
        "customer": shop.customer,
        "items[0][price]": price,
        "metadata[a]": "b",
        "description": "Calls",
    }
    made = shop.http.post("/v1/subscriptions", data=data).json()
    document = shop.http.get(f"/v1/subscriptions/{made['id']}").json()
    assert document == made
    assert document["id"].startswith("sub_1")
    assert (document["status"], document["latest_invoice"]) == ("active", None)
    assert document["billing_mode"]["type"] == "flexible"
    assert document["billing_cycle_anchor"] == document["start_date"] == at(START)
    assert (document["created"], document["test_clock"]) == (at(START), shop.clock)
    assert (document["metadata"], document["description"]) == ({"a": "b"}, "Calls")
    (item,) = document["items"]["data"]
    assert item["price"]["id"] == item["plan"]["id"] == price
    assert item["current_period_start"] == at(START)
    assert item["current_period_end"] == at("2027-02-28T10:00")
    assert "quantity" not in item
    assert shop.types() == ["customer.subscription.created"]


def test_what_is_licensed_is_invoiced_in_advance(shop: Shop) -> None:
    made = shop.client.v1.subscriptions.create(
        {
            "customer": shop.customer,
            "items": [{"price": shop.seats(), "quantity": 3}],
            "expand": ["latest_invoice", "customer", "items.data.price.product"],
        }
    ).to_dict()
    invoice = made["latest_invoice"]
    assert (invoice["status"], invoice["total"]) == ("open", 3_000)
    assert invoice["billing_reason"] == "subscription_create"
    assert made["customer"]["id"] == shop.customer
    assert made["items"]["data"][0]["price"]["product"]["name"] == "Calls"
    assert made["items"]["data"][0]["quantity"] == made["quantity"] == 3
    assert shop.types() == [
        "customer.subscription.created",
        "invoice.created",
        "invoice.finalized",
    ]


def test_an_invoice_that_is_sent_is_a_draft_for_an_hour(shop: Shop) -> None:
    made = shop.subscribe(
        shop.seats(), collection_method="send_invoice", days_until_due=14, expand=["latest_invoice"]
    ).to_dict()
    invoice = made["latest_invoice"]
    assert (invoice["status"], made["status"]) == ("draft", "active")
    assert invoice["due_date"] == at(START) + 14 * 86_400
    assert invoice["automatically_finalizes_at"] == at(START) + 3_601


def test_classic_mode_makes_an_invoice_of_nothing(shop: Shop) -> None:
    made = shop.subscribe(
        shop.metered(), billing_mode={"type": "classic"}, expand=["latest_invoice"]
    ).to_dict()
    assert made["billing_mode"] == {
        "flexible": None,
        "type": "classic",
        "updated_at": at(START),
    }
    invoice = made["latest_invoice"]
    assert (invoice["status"], invoice["total"]) == ("paid", 0)
    assert len(invoice["lines"]["data"]) == 1


@pytest.mark.parametrize(
    ("version", "mode"), [("2025-08-27.basil", "classic"), ("2025-09-30.clover", "flexible")]
)
def test_the_mode_depends_on_the_version(shop: Shop, version: str, mode: str) -> None:
    data = {"customer": shop.customer, "items[0][price]": shop.metered()}
    headers = {"Stripe-Version": version}
    made = shop.http.post("/v1/subscriptions", data=data, headers=headers).json()
    assert made["billing_mode"]["type"] == mode
    old = {"Stripe-Version": "2024-06-20"}
    shown = shop.http.get(f"/v1/subscriptions/{made['id']}", headers=old).json()
    assert shown["current_period_end"] == at("2027-02-28T10:00")
    assert "current_period_end" not in shown["items"]["data"][0]


def period(one: stripe.Subscription, item: int = 0) -> tuple[int, int]:
    shown = one.to_dict()["items"]["data"][item]
    return shown["current_period_start"], shown["current_period_end"]


def test_trials(shop: Shop) -> None:
    end = at(START) + 14 * 86_400
    by_days = shop.subscribe(shop.metered(), trial_period_days=14)
    by_instant = shop.subscribe(shop.metered(5), trial_end=end)
    for one in (by_days, by_instant):
        assert (one.status, one.trial_start, one.trial_end) == ("trialing", at(START), end)
        assert one.billing_cycle_anchor == end
        assert period(one) == (at(START), end)
        assert one.latest_invoice is None
    price = shop.price(
        6,
        recurring={
            "interval": "month",
            "usage_type": "metered",
            "meter": shop.meter,
            "trial_period_days": 7,
        },
    )
    assert shop.subscribe(price).status == "active"
    by_price = shop.subscribe(price, trial_from_plan=True)
    assert by_price.trial_end == at(START) + 7 * 86_400
    seats = shop.subscribe(shop.seats(), trial_period_days=1, expand=["latest_invoice"]).to_dict()
    assert (seats["latest_invoice"]["total"], seats["latest_invoice"]["status"]) == (0, "paid")


def test_anchors(shop: Shop) -> None:
    future = at("2027-02-15")
    one = shop.subscribe(shop.metered(), billing_cycle_anchor=future)
    assert (one.billing_cycle_anchor, period(one)) == (future, (at(START), future))
    by_day = shop.subscribe(
        shop.metered(5), billing_cycle_anchor_config={"day_of_month": 31, "hour": 0, "minute": 0}
    )
    assert period(by_day) == (at(START), at("2027-02-28"))
    config = by_day.to_dict()["billing_cycle_anchor_config"]
    assert config == {"day_of_month": 31, "hour": 0, "minute": 0, "month": None, "second": None}
    stub = shop.subscribe(shop.seats(), billing_cycle_anchor=future, proration_behavior="none")
    assert stub.latest_invoice is None


def test_items_of_several_intervals(shop: Shop) -> None:
    one = shop.subscribe(shop.metered(), shop.metered(5, "year"))
    assert period(one) == (at(START), at("2027-02-28T10:00"))
    assert period(one, 1) == (at(START), at("2028-01-31T10:00"))
    assert "plan" not in one.to_dict()


def test_one_that_is_backdated_bills_a_line_for_each_period(shop: Shop) -> None:
    shop.use(100, "2026-12-31T12:00")
    shop.use(150, "2027-01-30")
    one = shop.subscribe(
        shop.metered(10), backdate_start_date=at("2026-12-30T10:00"), expand=["latest_invoice"]
    ).to_dict()
    assert one["start_date"] == one["billing_cycle_anchor"] == at("2026-12-30T10:00")
    lines = one["latest_invoice"]["lines"]["data"]
    assert sorted(line["amount"] for line in lines) == [0, 2_500]
    assert (one["latest_invoice"]["total"], one["latest_invoice"]["status"]) == (2_500, "open")


def test_one_that_is_backdated_and_not_charged(shop: Shop) -> None:
    shop.use(150, "2027-01-30")
    one = shop.subscribe(
        shop.metered(10), backdate_start_date=at("2027-01-01"), proration_behavior="none"
    )
    assert (one.start_date, one.latest_invoice) == (at("2027-01-01"), None)
    classic = shop.subscribe(
        shop.metered(11),
        backdate_start_date=at("2027-01-01"),
        billing_mode={"type": "classic"},
        expand=["latest_invoice"],
    ).to_dict()
    assert classic["billing_cycle_anchor"] == at(START)
    assert classic["latest_invoice"]["total"] == 0


def test_one_that_ends_of_itself(shop: Shop) -> None:
    one = shop.subscribe(shop.metered(), cancel_at_period_end=True)
    assert (one.cancel_at, one.cancel_at_period_end) == (at("2027-02-28T10:00"), True)
    assert (one.canceled_at, one.status) == (at(START), "active")
    assert one.to_dict()["cancellation_details"]["reason"] == "cancellation_requested"
    for told, ends in (
        (at("2027-03-05"), at("2027-03-05")),
        ("min_period_end", at("2027-02-28T10:00")),
        ("max_period_end", at("2028-01-31T10:00")),
    ):
        several = shop.subscribe(shop.metered(), shop.metered(5, "year"), cancel_at=told)
        assert (several.cancel_at, several.cancel_at_period_end) == (ends, False)


ONE = {"items[0][price]": "METERED"}
SEATS = {"items[0][price]": "SEATS"}


@pytest.mark.parametrize(
    ("data", "message", "param"),
    [
        ({}, "Missing required param: items.", "items"),
        ({"items[0][price]": "price_nope"}, "No such price: 'price_nope'", "items[0][price]"),
        (
            {"items[0][price]": "METERED", "items[1][price]": "METERED"},
            (
                "Cannot create a Subscription with multiple Subscription Items with the"
                " same Price: METERED"
            ),
            "plan",
        ),
        (
            ONE | {"items[0][quantity]": "2"},
            (
                "Quantity should not be specified where usage_type is `metered`. Remove"
                " quantity from `items[0]`"
            ),
            "items[0][quantity]",
        ),
        (
            {"items[0][price]": "ONCE"},
            (
                "The price specified is set to `type=one_time` but this field only "
                "accepts prices with `type=recurring`."
            ),
            "items[0][price]",
        ),
        (
            {"items[0][price]": "ARCHIVED"},
            "The price specified is inactive. This field only accepts active prices.",
            "items[0][price]",
        ),
        (
            ONE | {"currency": "eur"},
            (
                "The price specified only supports `usd`. This doesn't match the "
                "expected currency: `eur`."
            ),
            "items[0][price]",
        ),
        (
            ONE | {"items[1][price]": "WEEKLY"},
            (
                "The billing intervals of a subscription's prices must be multiples of "
                "the shortest of them."
            ),
            "items",
        ),
        (
            ONE | {"items[1][price]": "YEARLY", "billing_mode[type]": "classic"},
            (
                "The billing intervals of a subscription's prices must be the same in "
                "the billing mode `classic`."
            ),
            "items",
        ),
        (
            ONE | {"collection_method": "send_invoice"},
            "If invoice collection method is 'send_invoice', you must specify 'days_until_due'.",
            None,
        ),
        (
            ONE | {"days_until_due": "3"},
            "You can only specify 'days_until_due' if invoice collection method is 'send_invoice'.",
            None,
        ),
        (
            ONE | {"trial_end": "1000"},
            (
                "The parameter `trial_end` expects a unix timestamp representing a date"
                " and time in the future. You specified the value `1000` which is in "
                "the past."
            ),
            "trial_end",
        ),
        (
            ONE | {"trial_end": "1900000000"},
            "A trial can last two years at most.",
            "trial_end",
        ),
        (ONE | {"trial_end": "soon"}, "Invalid integer: soon", "trial_end"),
        (
            ONE | {"trial_end": "now", "trial_from_plan": "true"},
            "You cannot set `trial_end` or `trial_period_days` when `trial_from_plan=true`.",
            None,
        ),
        (
            ONE | {"payment_behavior": "pending_if_incomplete"},
            (
                "Setting `payment_behavior` to `pending_if_incomplete` has no effect "
                "when creating a subscription."
            ),
            "payment_behavior",
        ),
        (
            ONE | {"billing_cycle_anchor": str(at("2027-06-01"))},
            "`billing_cycle_anchor` cannot be later than the next natural billing date.",
            "billing_cycle_anchor",
        ),
        (
            SEATS | {"billing_cycle_anchor": str(at("2027-02-15"))},
            (
                "This server does not support prorations of licensed items: pass "
                "`proration_behavior=none` to change them in the midst of a period "
                "without any."
            ),
            "proration_behavior",
        ),
        (
            SEATS | {"cancel_at": str(at("2027-02-15"))},
            (
                "This server does not support prorations of licensed items: they can "
                "only end where one of their periods does, or, with "
                "`proration_behavior=none`, within the present one."
            ),
            "cancel_at",
        ),
        (
            ONE | {"backdate_start_date": str(at("2027-02-15"))},
            "`backdate_start_date` must be in the past.",
            "backdate_start_date",
        ),
        (
            ONE | {"backdate_start_date": "1000"},
            "A subscription can be backdated by 250 periods of its items at most.",
            "backdate_start_date",
        ),
        *(
            (ONE | {name: value}, f"This server does not support `{param}`.", param)
            for name, value, param in [
                ("discounts[0][coupon]", "a", "discounts"),
                ("default_payment_method", "pm_1", "default_payment_method"),
                ("automatic_tax[enabled]", "true", "automatic_tax[enabled]"),
                ("items[0][tax_rates][]", "txr_1", "items[0][tax_rates]"),
                ("items[0][price_data][currency]", "usd", "items[0][price_data]"),
                ("add_invoice_items[0][price]", "price_1", "add_invoice_items"),
                ("transfer_data[destination]", "acct_1", "transfer_data"),
                ("application_fee_percent", "5", "application_fee_percent"),
                ("on_behalf_of", "acct_1", "on_behalf_of"),
                (
                    "trial_settings[end_behavior][billing_cycle_anchor]",
                    "unchanged",
                    "trial_settings[end_behavior][billing_cycle_anchor]",
                ),
            ]
        ),
        (ONE | {"foo": "1"}, "Received unknown parameter: foo", "foo"),
        (ONE | {"expand[]": "items.data.nothing"}, None, None),
    ],
)
def test_refusals(shop: Shop, data: dict[str, str], message: str | None, param: str | None) -> None:
    made: dict[str, Callable[[], str]] = {
        "METERED": shop.metered,
        "SEATS": shop.seats,
        "WEEKLY": lambda: shop.metered(5, "week"),
        "YEARLY": lambda: shop.metered(5, "year"),
        "ONCE": lambda: shop.price(5),
        "ARCHIVED": lambda: _archived(shop),
    }
    ids = {name: make() for name, make in made.items() if name in data.values()}
    sent = {name: ids.get(value, value) for name, value in data.items()}
    error = shop.refused("/v1/subscriptions", {"customer": shop.customer} | sent)
    assert error["status"] == 400
    if message is not None:
        for name, id_ in ids.items():
            message = message.replace(name, id_)
        assert error["message"] == message
        assert error.get("param") == param
    assert shop.types() == []


def _archived(shop: Shop) -> str:
    price = shop.metered()
    shop.client.v1.prices.update(price, {"active": False})
    return price


def test_nobody_is_subscribed(shop: Shop) -> None:
    data = {"customer": "cus_nope", "items[0][price]": shop.metered()}
    error = shop.refused("/v1/subscriptions", data)
    assert (error["status"], error["param"], error["code"]) == (
        404,
        "customer",
        "resource_missing",
    )
    assert error["message"] == "No such customer: 'cus_nope'"
    error = shop.refused("/v1/subscriptions/sub_nope", {}, "GET")
    assert (error["status"], error["message"]) == (404, "No such subscription: 'sub_nope'")


def test_what_changes_no_amount_is_taken_and_shown(shop: Shop) -> None:
    made = shop.subscribe(
        shop.metered(),
        automatic_tax={"enabled": False},
        default_payment_method="",
        invoice_settings={"issuer": {"type": "self"}, "footer": "Thanks"},
        off_session=True,
        payment_behavior="default_incomplete",
        payment_settings={
            "payment_method_options": {"card": {"request_three_d_secure": "any"}},
            "payment_method_types": ["card"],
            "save_default_payment_method": "on_subscription",
        },
        trial_settings={"end_behavior": {"missing_payment_method": "pause"}},
    ).to_dict()
    assert made["payment_settings"] == {
        "payment_method_options": None,
        "payment_method_types": ["card"],
        "save_default_payment_method": "on_subscription",
    }
    assert made["invoice_settings"]["footer"] == "Thanks"
    assert made["invoice_settings"]["issuer"] == {"type": "self"}
    assert made["trial_settings"]["end_behavior"] == {
        "billing_cycle_anchor": None,
        "missing_payment_method": "pause",
    }


def test_lists(shop: Shop) -> None:
    client = shop.client
    price = shop.metered()
    plain = client.v1.customers.create().id
    first = shop.subscribe(price)
    second = shop.subscribe(
        shop.seats(), customer=plain, collection_method="send_invoice", days_until_due=3
    )
    over = shop.subscribe(price, customer=plain)
    client.v1.subscriptions.cancel(over.id)

    def ids(**params: Any) -> list[str]:
        return [one.id for one in client.v1.subscriptions.list(params).data]  # type: ignore[arg-type]

    assert ids() == [second.id]  # what lives by a clock is hidden
    assert ids(status="all") == [over.id, second.id]
    assert ids(status="ended") == ids(status="canceled") == [over.id]
    assert ids(test_clock=shop.clock) == ids(customer=shop.customer) == [first.id]
    assert ids(customer=plain, price=price, status="all") == [over.id]
    assert ids(collection_method="send_invoice") == [second.id]
    assert ids(customer=shop.customer, current_period_end={"lte": at("2027-02-28T10:00")}) == [
        first.id
    ]
    assert ids(customer=shop.customer, current_period_end={"lt": at("2027-02-28T10:00")}) == []
    assert ids(status="all", limit=1, starting_after=over.id) == [second.id]
    error = shop.refused("/v1/subscriptions?status=odd", {}, "GET")
    assert error["message"] == (
        "Invalid status: must be one of active, past_due, unpaid, canceled, "
        "incomplete, incomplete_expired, trialing, paused, all, or ended"
    )


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("metadata['team']:'a'", ["active", "canceled"]),
        ("status:'canceled'", ["canceled"]),
        ("-status:'canceled' AND metadata['team']:'a'", ["active"]),
        (f"canceled_at>{at('2026-01-01')}", ["canceled"]),
        (f"created>={at(START)} OR status:'canceled'", ["active", "canceled"]),
        ("metadata['team']:'b'", []),
    ],
)
def test_searches(shop: Shop, query: str, found: list[str]) -> None:
    over = shop.subscribe(shop.metered(), metadata={"team": "a"})
    shop.client.v1.subscriptions.cancel(over.id)
    shop.subscribe(shop.seats(), metadata={"team": "a"})
    page = shop.client.v1.subscriptions.search(
        {"query": query, "expand": ["data.latest_invoice", "total_count"]}
    )
    assert [one.status for one in page.data] == found
    assert page.to_dict()["total_count"] == len(found)


def test_a_request_that_is_sent_again_is_answered_again(shop: Shop) -> None:
    data = {"customer": shop.customer, "items[0][price]": shop.seats()}
    headers = {"Idempotency-Key": "once"}
    first = shop.http.post("/v1/subscriptions", data=data, headers=headers)
    again = shop.http.post("/v1/subscriptions", data=data, headers=headers)
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert len(shop.types()) == 3
