"""What the objects of billing show in the places of ids, for every path that leads to an object."""

from typing import Any

import httpx
import pytest
import stripe

from tests.api.v1.test_invoice_drafts import Subscribed
from tests.api.v1.test_invoices import made

OLD = {"Stripe-Version": "2025-02-24.acacia"}
_PRICE = "pricing.price_details.price"
_PARENT = "parent.subscription_details.subscription"

# Of each object: the members that are ids of objects which can be shown in their place.
EXPANDED = {
    "customer": ("test_clock", "subscriptions.data.latest_invoice", "subscriptions.data.customer"),
    "invoice": ("customer", "test_clock", _PARENT),
    "invoiceitem": ("customer", "invoice", _PRICE, "test_clock"),
    "price": ("product",),
    "product": ("default_price",),
    "subscription": (
        "customer",
        "items.data.price.product",
        "latest_invoice",
        "latest_invoice.customer",
        f"latest_invoice.{_PARENT}",
        "test_clock",
    ),
    "subscription_item": ("price.product",),
}
NAMED = {
    "default_price": "price",
    "latest_invoice": "invoice",
    "test_clock": "test_helpers.test_clock",
}


@pytest.fixture
def ada(client: stripe.StripeClient, http: httpx.Client) -> Subscribed:
    return Subscribed(client, http)


@pytest.fixture
def paths(ada: Subscribed) -> dict[str, tuple[str, str, dict[str, str]]]:
    """Return of each object where it is, and which list it is the first of."""
    v1 = ada.client.v1
    once = v1.prices.create(
        {"currency": "usd", "unit_amount": 1, "product_data": {"name": "Help"}}
    ).id
    item = v1.invoice_items.create(
        {
            "customer": ada.customer,
            "invoice": ada.invoice,
            "subscription": ada.subscription,
            "pricing": {"price": once},
            "quantity": 5,
        }
    ).id
    data: Any = {"name": "Gold", "default_price_data": {"currency": "usd", "unit_amount": 4}}
    product = v1.products.create(data).to_dict()
    row = v1.subscription_items.list({"subscription": ada.subscription}).data[0].id
    of_clock = {"test_clock": ada.clock}
    return {
        "customer": ("customers", ada.customer, of_clock),
        "invoice": ("invoices", ada.invoice, {}),
        "invoiceitem": ("invoiceitems", item, {}),
        "price": ("prices", product["default_price"], {}),
        "product": ("products", product["id"], {}),
        "subscription": ("subscriptions", ada.subscription, of_clock),
        "subscription_item": ("subscription_items", row, {"subscription": ada.subscription}),
    }


def found(document: Any, path: str) -> Any:
    """Return what is at a path; of a list, its first."""
    for name in path.split("."):
        document = document[0] if isinstance(document, list) else document
        document = document[name]
    return document


def test_every_id_that_has_an_object_is_expanded(
    ada: Subscribed, paths: dict[str, tuple[str, str, dict[str, str]]]
) -> None:
    for kind, members in EXPANDED.items():
        place, id_, narrowed = paths[kind]
        for member in members:
            asked: dict[str, Any] = {"expand[]": member}
            one = made(ada.http.get(f"/v1/{place}/{id_}", params=asked))
            last = member.rpartition(".")[2]
            object_ = found(one, member)
            assert object_["object"] == NAMED.get(last, last), (kind, member)
            listed = {"expand[]": f"data.{member}", **narrowed}
            if len(listed["expand[]"].split(".")) > 4:
                continue  # the most that Stripe lets anybody expand
            first = made(ada.http.get(f"/v1/{place}", params=listed))["data"][0]
            assert found(first, member) == object_, (kind, member)


def test_an_expanded_draft_follows_usage(
    ada: Subscribed, paths: dict[str, tuple[str, str, dict[str, str]]]
) -> None:
    """Wherever it is looked at: it is the invoice as it is shown by itself."""
    place, item, _ = paths["invoiceitem"]
    ada.use(7)
    now = ada.now()
    shown = made(ada.http.get(f"/v1/{place}/{item}", params={"expand[]": "invoice"}))
    assert shown["invoice"] == now
    assert now["total"] == (10 + 7) * 4 + 5


def test_lines_and_previews_show_their_subscription(ada: Subscribed) -> None:
    lines = f"/v1/invoices/{ada.invoice}/lines"
    asked = {"expand[]": "data.subscription"}
    (line,) = made(ada.http.get(lines, params=asked, headers=OLD))["data"]
    assert line["subscription"]["id"] == ada.subscription
    (line,) = made(ada.http.get(lines, params={"expand[]": f"data.{_PRICE}"}))["data"]
    assert found(line, _PRICE)["object"] == "price"
    preview = made(
        ada.http.post(
            "/v1/invoices/create_preview",
            data={
                "subscription": ada.subscription,
                "expand[]": ["customer", "test_clock", _PARENT],
            },
        )
    )
    for member in ("customer", "test_clock", _PARENT):
        assert found(preview, member)["id"] in {ada.customer, ada.clock, ada.subscription}
    old = made(
        ada.http.get(
            "/v1/invoices/upcoming",
            params={"subscription": ada.subscription, "expand[]": "subscription"},
            headers=OLD,
        )
    )
    assert old["subscription"]["id"] == ada.subscription


def test_what_is_written_is_expanded_in_the_answer(ada: Subscribed) -> None:
    wanted = ["customer", "invoice", "subscription", "test_clock"]
    item = made(
        ada.http.post(
            "/v1/invoiceitems",
            headers=OLD,
            data={
                "customer": ada.customer,
                "invoice": ada.invoice,
                "subscription": ada.subscription,
                "amount": "5",
                "currency": "usd",
                "expand[]": wanted,
            },
        )
    )
    assert [item[name]["id"] for name in wanted] == [
        ada.customer,
        ada.invoice,
        ada.subscription,
        ada.clock,
    ]
    customer = made(
        ada.http.post(
            f"/v1/customers/{ada.customer}", data={"name": "Eve", "expand[]": "test_clock"}
        )
    )
    assert customer["test_clock"]["id"] == ada.clock
