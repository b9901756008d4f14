from typing import Any

import httpx
import pytest
import stripe

from tests.api.samples import error_of
from tests.api.subscribing import Shop

LISTS = ["sources", "subscriptions", "tax_ids"]


def empty(customer: str, name: str) -> dict[str, Any]:
    return {
        "object": "list",
        "url": f"/v1/customers/{customer}/{name}",
        "has_more": False,
        "data": [],
    }


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_empty(client: stripe.StripeClient, http: httpx.Client, name: str) -> None:
    customer = client.v1.customers.create().id
    answer = http.get(f"/v1/customers/{customer}/{name}", params={"limit": "100"})
    assert answer.raise_for_status().json() == empty(customer, name)
    cursor = http.get(f"/v1/customers/{customer}/{name}", params={"starting_after": "x_1"})
    assert error_of(cursor, 400)["param"] == "starting_after"


@pytest.mark.parametrize("name", LISTS)
def test_only_a_customer_has_one(
    client: stripe.StripeClient, http: httpx.Client, name: str
) -> None:
    gone = client.v1.customers.create().id
    client.v1.customers.delete(gone)
    for customer in (gone, "cus_none"):
        error = error_of(http.get(f"/v1/customers/{customer}/{name}"), 404)
        assert error["message"] == f"No such customer: '{customer}'"
        assert (error["code"], error["param"]) == ("resource_missing", "id")


@pytest.mark.parametrize("kind", ["card", "bank_account", "source"])
def test_sources_of_a_kind(client: stripe.StripeClient, kind: str) -> None:
    customer = client.v1.customers.create().id
    page = client.v1.customers.payment_sources.list(customer, {"object": kind})
    assert list(page.auto_paging_iter()) == []


def test_each_is_shown_where_it_is_expanded(client: stripe.StripeClient) -> None:
    """Whatever answers with a customer shows what was asked for, and nothing else."""
    made = client.v1.customers.create({"expand": ["sources"]}).to_dict()
    customer = made["id"]
    assert made["sources"] == empty(customer, "sources")
    params: Any = {"expand": LISTS}
    for shown in (
        client.v1.customers.retrieve(customer, params).to_dict(),
        client.v1.customers.update(customer, params).to_dict(),
    ):
        assert {name: shown[name] for name in LISTS} == {
            name: empty(customer, name) for name in LISTS
        }
    listed = client.v1.customers.list({"expand": [f"data.{name}" for name in LISTS]}).data
    assert [listed[0].to_dict()[name]["url"] for name in LISTS] == [
        f"/v1/customers/{customer}/{name}" for name in LISTS
    ]
    plain = client.v1.customers.retrieve(customer).to_dict()
    assert not plain.keys() & set(LISTS)


def test_what_would_be_in_a_list_may_be_expanded(client: stripe.StripeClient) -> None:
    customer = client.v1.customers.create().id
    params: Any = {"expand": ["subscriptions.data.default_payment_method"]}
    shown = client.v1.customers.retrieve(customer, params).to_dict()
    assert shown["subscriptions"] == empty(customer, "subscriptions")


def test_a_deleted_customer_has_no_lists(client: stripe.StripeClient) -> None:
    customer = client.v1.customers.create().id
    client.v1.customers.delete(customer)
    shown = client.v1.customers.retrieve(customer, {"expand": ["sources"]}).to_dict()
    assert shown == {"id": customer, "object": "customer", "deleted": True}


def test_what_a_customer_is_subscribed_to(client: stripe.StripeClient, http: httpx.Client) -> None:
    shop = Shop(client, http, "2027-01-01")
    one = shop.subscribe(shop.seats()).id
    client.v1.subscriptions.cancel(shop.subscribe(shop.metered(5)).id)
    path = f"/v1/customers/{shop.customer}"
    listed = http.get(f"{path}/subscriptions", params={"expand[]": "data.customer"}).json()
    assert [each["id"] for each in listed["data"]] == [one]
    assert listed["data"][0]["customer"]["id"] == shop.customer
    expand = {"expand[]": "subscriptions.data.latest_invoice"}
    shown = http.get(path, params=expand).json()["subscriptions"]
    assert [each["id"] for each in shown["data"]] == [one]
    assert shown["data"][0]["latest_invoice"]["status"] == "open"
    many = {"expand[]": "data.subscriptions", "test_clock": shop.clock}
    (customer,) = http.get("/v1/customers", params=many).json()["data"]
    assert [each["id"] for each in customer["subscriptions"]["data"]] == [one]


def test_a_customer_who_goes_is_subscribed_to_nothing(
    client: stripe.StripeClient, http: httpx.Client
) -> None:
    shop = Shop(client, http, "2027-01-01")
    ids = [shop.subscribe(shop.metered(amount)).id for amount in (1, 2)]
    client.v1.customers.delete(shop.customer)
    found = [client.v1.subscriptions.retrieve(id_) for id_ in ids]
    assert [(one.status, one.latest_invoice) for one in found] == [("canceled", None)] * 2
    events = [event.type for event in client.v1.events.list({"limit": 3}).data]
    assert events == ["customer.deleted", *["customer.subscription.deleted"] * 2]
