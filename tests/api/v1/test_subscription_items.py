import httpx
import pytest
import stripe

from tests.api.samples import error_of
from tests.api.subscribing import Shop, at

START = "2027-01-01"
CHANGED = "2027-01-15"


@pytest.fixture
def shop(client: stripe.StripeClient, http: httpx.Client) -> Shop:
    return Shop(client, http, START)


def test_an_item_comes_changes_and_goes(shop: Shop) -> None:
    items = shop.client.v1.subscription_items
    first, second, third = shop.metered(10), shop.metered(15), shop.metered(20)
    one = shop.subscribe(first).id
    shop.advance(CHANGED)
    added = items.create(
        {"subscription": one, "price": second, "metadata": {"a": "b"}, "expand": ["price.product"]}
    ).to_dict()
    assert (added["subscription"], added["metadata"]) == (one, {"a": "b"})
    assert added["price"]["product"]["name"] == "Calls"
    assert (added["created"], added["current_period_start"]) == (at(CHANGED), at(START))
    assert items.retrieve(added["id"]).to_dict()["price"]["id"] == second
    listed = items.list({"subscription": one}).data
    assert [each.price.id for each in listed] == [second, first]
    assert [each.price.id for each in items.list({"subscription": one, "limit": 1}).data] == [
        second
    ]

    shop.advance("2027-01-20")
    changed = items.update(added["id"], {"price": third, "metadata": {"a": ""}}).to_dict()
    assert (changed["id"], changed["price"]["id"], changed["metadata"]) == (added["id"], third, {})
    gone = items.delete(added["id"]).to_dict()
    assert gone == {"id": added["id"], "object": "subscription_item", "deleted": True}
    with pytest.raises(stripe.InvalidRequestError, match="No such subscription_item"):
        items.retrieve(added["id"])
    found = shop.client.v1.events.list({"type": "invoiceitem.created"}).data
    waiting = [event.data.object.to_dict() for event in found]
    assert [each["period"] for each in waiting] == [{"start": at(CHANGED), "end": at("2027-01-20")}]
    assert shop.types("invoiceitem.created") == [
        "customer.subscription.created",
        *["customer.subscription.updated"] * 3,
    ]


def test_an_item_of_another_price_is_invoiced_at_once(shop: Shop) -> None:
    one = shop.subscribe(shop.metered(10)).to_dict()
    shop.advance(CHANGED)
    shop.use(7, "2027-01-05")
    item = one["items"]["data"][0]["id"]
    path = f"/v1/subscription_items/{item}"
    data = {"price": shop.metered(15), "proration_behavior": "always_invoice"}
    assert shop.http.post(path, data=data).status_code == 200
    assert shop.show(one["id"])["latest_invoice"]["total"] == 70


@pytest.mark.parametrize(
    ("data", "message", "param"),
    [
        ({"price": "METERED", "quantity": "2"}, "Quantity should not be specified", "quantity"),
        ({"price": "SEATS"}, "This server does not support prorations", "quantity"),
        ({}, "A new item must have a `price`.", "price"),
        ({"price": "price_nope"}, "No such price: 'price_nope'", "price"),
        ({"price": "METERED", "tax_rates[]": "a"}, "This server does not support", "tax_rates"),
        ({"price": "METERED", "plan": "price_1"}, "You may only specify one of these", "price"),
        ({"price": "METERED", "subscription": "sub_nope"}, "No such subscription", "subscription"),
        ({"price": "FIRST"}, "Cannot create a Subscription with multiple", "plan"),
    ],
)
def test_refusals(shop: Shop, data: dict[str, str], message: str, param: str) -> None:
    first = shop.metered(10)
    one = shop.subscribe(first).id
    ids = {"METERED": shop.metered, "SEATS": shop.seats, "FIRST": lambda: first}
    sent = {name: ids[value]() if value in ids else value for name, value in data.items()}
    error = shop.refused("/v1/subscription_items", {"subscription": one} | sent)
    assert (error["status"], error["param"]) == (400, param)
    assert error["message"].startswith(message)


def test_the_last_item_stays(shop: Shop) -> None:
    one = shop.subscribe(shop.metered()).to_dict()
    item = one["items"]["data"][0]["id"]
    error = shop.refused(f"/v1/subscription_items/{item}", {}, "DELETE")
    assert "at least one item" in error["message"]
    shop.client.v1.subscriptions.cancel(one["id"])
    error = shop.refused(f"/v1/subscription_items/{item}", {"metadata[a]": "b"})
    assert error["message"] == "This cannot be done while the subscription is canceled."


def test_usage_records_are_meter_events_now(shop: Shop) -> None:
    one = shop.subscribe(shop.metered()).to_dict()
    path = f"/v1/subscription_items/{one['items']['data'][0]['id']}"
    records = shop.http.post(f"{path}/usage_records", data={"quantity": "5"})
    summaries = shop.http.get(f"{path}/usage_record_summaries")
    for answer in (records, summaries):
        assert "meter events" in error_of(answer, 400)["message"]
    assert shop.refused("/v1/subscription_items/si_nope/usage_records", {})["status"] == 404
