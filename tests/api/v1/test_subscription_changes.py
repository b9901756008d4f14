from typing import Any

import httpx
import pytest
import stripe

from tests.api.subscribing import Shop, at

START = "2027-01-01"
CHANGED = "2027-01-15"
ANCHORS = [{"billing_cycle_anchor": "now"}, {"billing_cycle_anchor[type]": "now"}]


@pytest.fixture
def shop(client: stripe.StripeClient, http: httpx.Client) -> Shop:
    return Shop(client, http, START)


def used(shop: Shop, *prices: str, **more: Any) -> dict[str, Any]:
    """Subscribe somebody, who uses 1000 until the 15th."""
    one = shop.subscribe(*prices, **more).id
    shop.advance(CHANGED)
    shop.use(1_000, "2027-01-05")
    return shop.show(one)


def pending(shop: Shop) -> list[dict[str, Any]]:
    """Return what waits for an invoice of the customer, as the events about it show it."""
    found = shop.client.v1.events.list({"type": "invoiceitem.created"}).data
    return [event.data.object.to_dict() for event in found]


def item_of(one: dict[str, Any]) -> dict[str, Any]:
    (item,) = one["items"]["data"]
    return dict(item)


def new_price(one: dict[str, Any], price: str, **more: str) -> dict[str, str]:
    return {"items[0][id]": item_of(one)["id"], "items[0][price]": price, **more}


def test_usage_before_another_price_waits(shop: Shop) -> None:
    one = used(shop, shop.metered(10))
    changed = shop.change(one["id"], **new_price(one, shop.metered(15)))
    assert item_of(changed)["id"] == item_of(one)["id"]
    assert item_of(changed)["current_period_end"] == at("2027-02-01")
    assert changed["latest_invoice"] is None
    (waiting,) = pending(shop)
    assert waiting["period"] == {"start": at(START), "end": at(CHANGED)}
    assert shop.types()[1:] == ["invoiceitem.created", "customer.subscription.updated"]


def test_what_waits_follows_usage_until_it_is_invoiced(shop: Shop) -> None:
    one = used(shop, shop.metered(10))
    shop.change(one["id"], **new_price(one, shop.metered(15)))
    items = shop.client.v1.invoice_items

    def listed() -> tuple[int, int]:
        (item,) = items.list({"customer": shop.customer}).data
        assert items.retrieve(item.id).to_dict() == item.to_dict()
        assert items.update(item.id, {"metadata": {"seen": "yes"}}).amount == item.amount
        return item.amount, item.quantity

    assert listed() == (10_000, 1_000)
    shop.use(1, "2027-01-06")
    assert listed() == (10_010, 1_001)
    shop.advance("2027-02-01")
    shop.use(1, "2027-01-06")
    assert listed() == (10_020, 1_002)
    shop.advance("2027-02-01T02:00")
    shop.use(1, "2027-01-06")
    (item,) = items.list({"customer": shop.customer}).data
    assert (item.amount, str(item.quantity_decimal)) == (10_020, "1002")
    assert items.retrieve(item.id).amount == 10_020


def test_usage_before_another_price_is_invoiced_at_once(shop: Shop) -> None:
    one = used(shop, shop.metered(10))
    price = shop.metered(15)
    changed = shop.change(one["id"], **new_price(one, price, proration_behavior="always_invoice"))
    invoice = changed["latest_invoice"]
    assert (invoice["status"], invoice["total"]) == ("open", 10_000)
    assert invoice["billing_reason"] == "subscription_update"
    assert [line["period"] for line in invoice["lines"]["data"]] == [
        {"start": at(START), "end": at(CHANGED)}
    ]
    assert pending(shop) == []


@pytest.mark.parametrize(
    "more",
    [{"proration_behavior": "none"}, {"billing_mode": {"type": "classic"}}],
    ids=["none", "classic"],
)
def test_usage_before_another_price_is_not_billed(shop: Shop, more: dict[str, Any]) -> None:
    created = {name: value for name, value in more.items() if name == "billing_mode"}
    changed = {name: value for name, value in more.items() if name != "billing_mode"}
    one = used(shop, shop.metered(10), **created)
    shop.change(one["id"], **new_price(one, shop.metered(15), **changed))
    assert pending(shop) == []


def test_an_item_that_goes_and_one_that_comes(shop: Shop) -> None:
    one = used(shop, shop.metered(10))
    changed = shop.change(
        one["id"],
        **{
            "items[0][id]": item_of(one)["id"],
            "items[0][deleted]": "true",
            "items[0][clear_usage]": "true",
            "items[1][price]": shop.metered(15),
        },
    )
    assert item_of(changed)["id"] != item_of(one)["id"]
    assert item_of(changed)["current_period_start"] == at(START)
    assert len(pending(shop)) == 1


@pytest.mark.parametrize("anchor", ANCHORS, ids=["text", "hash"])
def test_periods_that_begin_anew(shop: Shop, anchor: dict[str, str]) -> None:
    one = used(shop, shop.metered(10))
    changed = shop.change(one["id"], **anchor)
    assert changed["billing_cycle_anchor"] == at(CHANGED)
    item = item_of(changed)
    assert (item["current_period_start"], item["current_period_end"]) == (
        at(CHANGED),
        at("2027-02-15"),
    )
    assert (changed["latest_invoice"]["total"], changed["latest_invoice"]["status"]) == (
        10_000,
        "open",
    )
    again = shop.change(one["id"], billing_cycle_anchor="unchanged")
    assert again["latest_invoice"]["id"] == changed["latest_invoice"]["id"]


def test_classic_periods_that_begin_anew_bill_the_former_price(shop: Shop) -> None:
    one = used(shop, shop.metered(10), billing_mode={"type": "classic"})
    changed = shop.change(one["id"], **new_price(one, shop.metered(15), billing_cycle_anchor="now"))
    assert changed["latest_invoice"]["total"] == 10_000


def test_trials_that_come_and_go(shop: Shop) -> None:
    one = used(shop, shop.metered(10))
    tried = shop.change(one["id"], trial_end=str(at("2027-02-10")))
    assert (tried["status"], tried["trial_start"]) == ("trialing", at(CHANGED))
    assert item_of(tried)["current_period_end"] == tried["trial_end"] == at("2027-02-10")
    assert len(pending(shop)) == 1
    longer = shop.change(one["id"], trial_end=str(at("2027-02-12")))
    assert longer["billing_cycle_anchor"] == at("2027-02-12")
    ended = shop.change(one["id"], trial_end="now")
    assert (ended["status"], ended["trial_end"]) == ("active", at(CHANGED))
    assert ended["billing_cycle_anchor"] == at(CHANGED)
    assert item_of(ended)["current_period_end"] == at("2027-02-15")
    assert shop.change(one["id"], trial_end="now")["status"] == "active"


def test_ends_that_are_told_and_taken_back(shop: Shop) -> None:
    one = shop.subscribe(shop.metered()).id
    ending = shop.change(one, cancel_at_period_end="true")
    assert (ending["cancel_at"], ending["canceled_at"]) == (at("2027-02-01"), at(START))
    assert ending["cancellation_details"]["reason"] == "cancellation_requested"
    back = shop.change(one, cancel_at_period_end="false")
    assert (back["cancel_at"], back["canceled_at"]) == (None, None)
    assert back["cancellation_details"]["reason"] is None
    later = shop.change(one, cancel_at=str(at("2027-05-05")))
    assert (later["cancel_at"], later["cancel_at_period_end"]) == (at("2027-05-05"), False)
    assert shop.change(one, cancel_at="")["cancel_at"] is None


def test_notes_and_settings(shop: Shop) -> None:
    one = shop.subscribe(shop.metered(), metadata={"a": "b", "c": "d"}).id
    changed = shop.change(
        one,
        **{
            "metadata[a]": "",
            "description": "Calls",
            "collection_method": "send_invoice",
            "days_until_due": "30",
            "pause_collection[behavior]": "void",
            "cancellation_details[comment]": "why",
            "invoice_settings[footer]": "Thanks",
        },
    )
    assert (changed["metadata"], changed["description"]) == ({"c": "d"}, "Calls")
    assert (changed["collection_method"], changed["days_until_due"]) == ("send_invoice", 30)
    assert changed["pause_collection"] == {"behavior": "void", "resumes_at": None}
    assert changed["cancellation_details"]["comment"] == "why"
    back = shop.change(
        one, description="", collection_method="charge_automatically", pause_collection=""
    )
    assert (back["description"], back["days_until_due"]) == (None, None)
    assert back["pause_collection"] is None
    assert back["invoice_settings"]["footer"] == "Thanks"
    assert shop.types() == ["customer.subscription.created", *["customer.subscription.updated"] * 2]
    shop.change(one, description="")
    assert len(shop.types()) == 3  # nothing has changed, so nothing is told


def test_seats(shop: Shop) -> None:
    one = shop.subscribe(shop.seats(), expand=["latest_invoice"]).to_dict()
    item = item_of(one)["id"]
    path = f"/v1/subscriptions/{one['id']}"
    more = {"items[0][id]": item, "items[0][quantity]": "5"}
    error = shop.refused(path, more)
    assert (error["status"], error["param"]) == (400, "items[0][quantity]")
    assert "proration_behavior=none" in error["message"]
    same = shop.change(one["id"], **{"items[0][id]": item, "items[0][quantity]": "1"})
    assert item_of(same)["quantity"] == 1
    changed = shop.change(one["id"], **more, proration_behavior="none")
    assert item_of(changed)["quantity"] == 5
    assert changed["latest_invoice"]["id"] == one["latest_invoice"]["id"]
    for data in (
        {"items[0][price]": "METERED", "items[1][price]": "SEATS"},
        {"billing_cycle_anchor": "now"},
        {"trial_end": str(at("2027-01-20"))},
        {"cancel_at": str(at("2027-01-20"))},
    ):
        ids = {"METERED": shop.metered, "SEATS": lambda: shop.seats(5)}
        sent = {name: ids[value]() if value in ids else value for name, value in data.items()}
        assert "prorations of licensed items" in shop.refused(path, sent)["message"]
    anew = shop.change(one["id"], billing_cycle_anchor="now", proration_behavior="none")
    assert item_of(anew)["quantity"] == 5
    error = shop.refused(f"{path}?prorate=true", {}, "DELETE")
    assert error["param"] == "prorate"
    assert error["message"].endswith("cancel without `prorate`, or at the end of a period.")


def cancel(shop: Shop, one: str, **data: str) -> dict[str, Any]:
    params = {"expand[]": "latest_invoice", **data}
    answer = shop.http.request("DELETE", f"/v1/subscriptions/{one}", params=params)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def test_one_that_ends_now_drops_what_was_used(shop: Shop) -> None:
    one = used(shop, shop.metered(10))
    over = cancel(shop, one["id"], **{"cancellation_details[feedback]": "unused"})
    assert (over["status"], over["latest_invoice"]) == ("canceled", None)
    assert over["canceled_at"] == over["ended_at"] == at(CHANGED)
    assert over["cancellation_details"] == {
        "comment": None,
        "feedback": "unused",
        "feedback_option": None,
        "reason": "cancellation_requested",
    }
    assert shop.types()[1:] == ["customer.subscription.deleted"]
    error = shop.refused(f"/v1/subscriptions/{one['id']}", {}, "DELETE")
    assert (error["status"], error["code"]) == (404, "resource_missing")
    note = shop.change(one["id"], **{"metadata[a]": "b"})
    assert (note["status"], note["metadata"]) == ("canceled", {"a": "b"})
    error = shop.refused(f"/v1/subscriptions/{one['id']}", {"description": "New"})
    assert error["code"] == "invalid_canceled_subscription_fields"


@pytest.mark.parametrize("mode", ["classic", "flexible"])
def test_one_that_ends_now_bills_what_was_used(shop: Shop, mode: str) -> None:
    one = used(shop, shop.metered(10), billing_mode={"type": mode})
    shop.use(5, CHANGED)  # in the very second in which it ends
    over = cancel(shop, one["id"], invoice_now="true", prorate="true")
    invoice = over["latest_invoice"]
    assert (invoice["total"], invoice["status"]) == (10_050, "open")
    assert shop.types()[-3:] == [
        "customer.subscription.deleted",
        "invoice.created",
        "invoice.finalized",
    ]


def test_one_that_ends_bills_what_waits(shop: Shop) -> None:
    one = used(shop, shop.metered(10))
    shop.change(one["id"], **new_price(one, shop.metered(15)))
    shop.use(2, "2027-01-15")
    over = cancel(shop, one["id"], invoice_now="true")
    assert over["latest_invoice"]["total"] == 10_030
    assert len(over["latest_invoice"]["lines"]["data"]) == 2


def test_a_pause(shop: Shop) -> None:
    one = used(shop, shop.metered(10))
    still = shop.change(one["id"], "/pause", invoicing_behavior="invoice")
    assert (still["status"], still["latest_invoice"]["total"]) == ("paused", 10_000)
    error = shop.refused(f"/v1/subscriptions/{one['id']}/pause", {})
    assert error["message"] == "This cannot be done while the subscription is paused."
    shop.advance("2027-03-10")
    shop.use(50, "2027-03-05")
    on = shop.change(one["id"], "/resume")
    assert (on["status"], item_of(on)["current_period_start"]) == ("active", at("2027-03-10"))
    assert pending(shop) == []
    assert shop.refused(f"/v1/subscriptions/{one['id']}/resume", {})["message"] == (
        "Only subscriptions with the status `paused` can be resumed."
    )
    told = shop.types("invoice.created", "invoice.finalized")
    assert told[1:] == [
        "customer.subscription.updated",
        "customer.subscription.paused",
        "customer.subscription.updated",
        "customer.subscription.resumed",
    ]


@pytest.mark.parametrize(
    ("data", "waiting"),
    [({}, 1), ({"bill_for[outstanding_usage_through][type]": "none"}, 0)],
)
def test_what_a_pause_bills(shop: Shop, data: dict[str, str], waiting: int) -> None:
    one = used(shop, shop.metered(10))
    shop.change(one["id"], "/pause", **data)
    assert len(pending(shop)) == waiting
    on = shop.change(one["id"], "/resume", **{"billing_cycle_anchor[type]": "unchanged"})
    assert item_of(on)["current_period_start"] == at(START)


def test_a_pause_of_seats(shop: Shop) -> None:
    one = shop.subscribe(shop.seats()).id
    error = shop.refused(f"/v1/subscriptions/{one}/pause", {})
    assert error["param"] == "bill_for[unused_time_from]"
    shop.change(one, "/pause", **{"bill_for[unused_time_from][type]": "none"})
    error = shop.refused(f"/v1/subscriptions/{one}/resume", {"billing_cycle_anchor": "unchanged"})
    assert error["param"] == "billing_cycle_anchor"
    on = shop.change(one, "/resume")
    assert (on["status"], on["latest_invoice"]["total"]) == ("active", 1_000)


def test_the_end_of_a_period_moves_with_it(shop: Shop) -> None:
    config = {"day_of_month": 10}
    one = shop.subscribe(
        shop.metered(), billing_cycle_anchor_config=config, cancel_at_period_end=True
    )
    assert one.cancel_at == at("2027-01-10")
    shop.advance("2027-01-05")
    anew = shop.change(one.id, billing_cycle_anchor="now")
    assert (anew["cancel_at"], anew["billing_cycle_anchor_config"]) == (at("2027-02-05"), None)
    shop.change(one.id, "/pause")
    shop.advance("2027-01-20")
    assert shop.change(one.id, "/resume")["cancel_at"] == at("2027-02-20")
    weekly = {"price": shop.metered(5, "month"), "subscription": one.id}
    shop.http.post("/v1/subscription_items", data=weekly)
    assert shop.show(one.id)["cancel_at"] == at("2027-02-20")


def test_one_that_is_paused_has_no_period_to_end_with(shop: Shop) -> None:
    one = shop.subscribe(shop.metered()).id
    shop.change(one, "/pause")
    shop.advance("2027-03-01")
    error = shop.refused(f"/v1/subscriptions/{one}", {"cancel_at_period_end": "true"})
    assert error["param"] == "cancel_at_period_end"


def test_a_classic_one_becomes_flexible(shop: Shop) -> None:
    one = used(shop, shop.metered(10), billing_mode={"type": "classic"})
    path = f"/v1/subscriptions/{one['id']}/migrate"
    flexible = shop.change(one["id"], "/migrate", **{"billing_mode[type]": "flexible"})
    assert flexible["billing_mode"] == {
        "flexible": {"proration_discounts": "included"},
        "type": "flexible",
        "updated_at": at(CHANGED),
    }
    error = shop.refused(path, {"billing_mode[type]": "flexible"})
    assert error["param"] == "billing_mode[type]"
    shop.change(one["id"], **new_price(one, shop.metered(15)))
    assert [each["period"]["start"] for each in pending(shop)] == [at(START)]


@pytest.mark.parametrize(
    ("data", "message", "param"),
    [
        (
            {"items[0][id]": "si_nope", "items[0][price]": "price_1"},
            "No such subscription_item: 'si_nope'",
            "items[0][id]",
        ),
        (
            {"items[0][quantity]": "2"},
            "A new item must have a `price`.",
            "items[0][price]",
        ),
        (
            {"items[0][id]": "ITEM", "items[0][deleted]": "true"},
            (
                "A subscription must have at least one item. To end it, cancel the "
                "subscription instead."
            ),
            "items",
        ),
        ({"proration_date": "1"}, "This server does not support `proration_date`.", None),
        (
            {"pause_collection[behavior]": "void", "pause_collection[resumes_at]": "1900000000"},
            "This server does not support `pause_collection[resumes_at]`.",
            "pause_collection[resumes_at]",
        ),
        (
            {"trial_from_plan": "true"},
            "This server does not support `trial_from_plan`.",
            "trial_from_plan",
        ),
        (
            {"cancel_at": "1900000000", "cancel_at_period_end": "true"},
            "You may only specify one of these parameters: cancel_at, cancel_at_period_end.",
            "cancel_at",
        ),
        (
            {"cancel_at": "1000"},
            (
                "The parameter `cancel_at` expects a unix timestamp representing a date"
                " and time in the future. You specified the value `1000` which is in "
                "the past."
            ),
            "cancel_at",
        ),
        (
            {"cancel_at": "max_billed_until"},
            "This server does not support `cancel_at`.",
            "cancel_at",
        ),
    ],
)
def test_refusals(shop: Shop, data: dict[str, str], message: str, param: str | None) -> None:
    one = shop.subscribe(shop.metered()).to_dict()
    sent = {name: item_of(one)["id"] if value == "ITEM" else value for name, value in data.items()}
    error = shop.refused(f"/v1/subscriptions/{one['id']}", sent)
    assert error["status"] == 400
    assert error["message"] == message
    assert param is None or error["param"] == param
