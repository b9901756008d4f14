"""Invoice items over HTTP, and the lines of drafts that they are."""

from decimal import Decimal
from typing import Any

import httpx
import pytest
import stripe

from meterhouse import limits
from tests.api.local import LocalServer
from tests.api.samples import error_of, make_customer
from tests.api.v1.test_invoices import act, draft, item, made, shown, told


@pytest.fixture
def customer(client: stripe.StripeClient) -> str:
    return make_customer(client)


@pytest.fixture
def product(client: stripe.StripeClient) -> str:
    return client.v1.products.create({"name": "Set up"}).id


def once(http: httpx.Client, product: str, **more: Any) -> str:
    """Make a price that is billed once."""
    data = {"currency": "usd", "product": product, "unit_amount": "300", **more}
    price: str = made(http.post("/v1/prices", data=data))["id"]
    return price


def test_an_item_that_waits(client: stripe.StripeClient, customer: str) -> None:
    v1 = client.v1
    waiting = v1.invoice_items.create(
        {
            "customer": customer,
            "amount": -250,
            "currency": "EUR",
            "description": "Sorry",
            "metadata": {"a": "b"},
            "period": {"start": 1_700_000_000, "end": 1_700_000_100},
        }
    )
    assert waiting.id.startswith("ii_1")
    assert (waiting.amount, waiting.currency, waiting.quantity) == (-250, "eur", 1)
    assert (waiting.invoice, waiting.parent, waiting.proration) == (None, None, False)
    assert (waiting.period.start, waiting.period.end) == (1_700_000_000, 1_700_000_100)
    assert waiting.pricing is not None
    assert waiting.pricing.unit_amount_decimal == Decimal(-250)
    assert v1.invoice_items.retrieve(waiting.id).to_dict() == waiting.to_dict()
    changed = v1.invoice_items.update(waiting.id, {"amount": 40, "description": "Thanks"})
    assert (changed.amount, changed.description) == (40, "Thanks")
    assert changed.to_dict()["metadata"] == {"a": "b"}
    assert v1.invoice_items.delete(waiting.id).deleted
    with pytest.raises(stripe.InvalidRequestError, match="No such invoiceitem: 'ii_") as refused:
        v1.invoice_items.retrieve(waiting.id)
    assert (refused.value.http_status, refused.value.param) == (404, "id")
    events = v1.events.list({"type": "invoiceitem.*"}).data
    assert [event.type for event in events] == ["invoiceitem.deleted", "invoiceitem.created"]
    thin = client.v2.core.events.list({"object_id": waiting.id}).data
    assert [event.type for event in thin] == [
        "v1.invoiceitem.deleted",
        "v1.invoiceitem.created",
    ]


@pytest.mark.parametrize(
    ("told_as", "amount", "quantity", "unit"),
    [
        ({"unit_amount_decimal": "0.5", "quantity": "3"}, 2, "3", "0.5"),
        ({"unit_amount_decimal": "-0.5", "quantity": "3"}, -2, "3", "-0.5"),
        ({"unit_amount_decimal": "3.6", "quantity_decimal": "2.5"}, 9, "2.5", "3.6"),
        ({"unit_amount": "7"}, 7, "1", "7"),
        ({"unit_amount_decimal": "1E-3", "quantity": "1000"}, 1, "1000", "0.001"),
        ({"unit_amount_decimal": "1E+2"}, 100, "1", "100"),
        ({"amount": "0"}, 0, "1", "0"),
    ],
)
def test_what_an_item_comes_to(
    http: httpx.Client,
    customer: str,
    told_as: dict[str, str],
    amount: int,
    quantity: str,
    unit: str,
) -> None:
    data = {"customer": customer, "currency": "usd", **told_as}
    shown_as = made(http.post("/v1/invoiceitems", data=data))
    assert (shown_as["amount"], shown_as["quantity_decimal"]) == (amount, quantity)
    assert shown_as["pricing"]["unit_amount_decimal"] == unit


def test_an_item_of_a_price(http: httpx.Client, customer: str, product: str) -> None:
    price = once(http, product)
    data = {"customer": customer, "pricing[price]": price, "quantity": "2"}
    waiting = made(http.post("/v1/invoiceitems", data=data))
    assert (waiting["amount"], waiting["description"]) == (600, "Set up")
    assert waiting["pricing"]["price_details"] == {"price": price, "product": product}
    more = made(http.post(f"/v1/invoiceitems/{waiting['id']}", data={"quantity": "3"}))
    assert (more["amount"], more["quantity"]) == (900, 3)
    old = {"Stripe-Version": "2024-06-20"}
    data = {"customer": customer, "price": price}
    plain = made(http.post("/v1/invoiceitems", data=data, headers=old))
    assert (plain["price"]["id"], plain["unit_amount"], plain["amount"]) == (price, 300, 300)


def test_an_item_of_a_new_price(http: httpx.Client, customer: str, product: str) -> None:
    data = {
        "customer": customer,
        "price_data[currency]": "gbp",
        "price_data[product]": product,
        "price_data[unit_amount_decimal]": "12.5",
        "quantity": "3",
    }
    waiting = made(http.post("/v1/invoiceitems", data=data))
    assert (waiting["amount"], waiting["currency"]) == (38, "gbp")
    price = made(http.get(f"/v1/prices/{waiting['pricing']['price_details']['price']}"))
    assert (price["active"], price["unit_amount_decimal"]) == (False, "12.5")


def test_a_price_in_another_currency(http: httpx.Client, customer: str, product: str) -> None:
    price = once(http, product, **{"currency_options[eur][unit_amount]": "200"})
    data = {"customer": customer, "pricing[price]": price, "currency": "eur"}
    assert made(http.post("/v1/invoiceitems", data=data))["amount"] == 200
    error = error_of(http.post("/v1/invoiceitems", data=data | {"currency": "gbp"}), 400)
    assert error["param"] == "pricing[price]"


WRONG = [
    ({}, None),
    ({"amount": "1", "unit_amount": "1"}, "amount"),
    ({"amount": "1", "quantity": "2"}, "amount"),
    ({"unit_amount": "1", "quantity": "2", "quantity_decimal": "2"}, "quantity"),
    ({"unit_amount_decimal": "1.0000000000001"}, "unit_amount_decimal"),
    ({"unit_amount_decimal": "1E-20"}, "unit_amount_decimal"),
    ({"unit_amount_decimal": "NaN"}, "unit_amount_decimal"),
    ({"unit_amount": "1", "quantity_decimal": "-1"}, "quantity_decimal"),
    ({"unit_amount": "1", "quantity": "-1"}, "quantity"),
    ({"amount": "9999999999999"}, "amount"),
    ({"unit_amount": "999999999999", "quantity": "999999999999"}, None),
    ({"unit_amount_decimal": "-999999999999", "quantity": "2"}, None),
    ({"pricing[price]": "price_nope"}, "pricing[price]"),
    ({"amount": "1", "invoice": "in_nope"}, "invoice"),
    ({"amount": "1", "subscription": "sub_nope"}, "subscription"),
    ({"amount": "1", "currency": "xyz"}, "currency"),
    ({"amount": "1", "period[start]": "9", "period[end]": "8"}, "period[end]"),
    ({"amount": "1", "discounts[0][coupon]": "c"}, "discounts"),
    ({"amount": "1", "tax_rates[]": "txr_1"}, "tax_rates"),
    ({"price_data[currency]": "usd", "price_data[product]": "nope"}, "price_data[product]"),
]


@pytest.mark.parametrize(("data", "param"), WRONG, ids=str)
def test_what_an_item_cannot_be(
    http: httpx.Client, customer: str, data: dict[str, str], param: str | None
) -> None:
    error = error_of(http.post("/v1/invoiceitems", data={"customer": customer, **data}), 400)
    assert error.get("param") == param
    assert made(http.get("/v1/invoiceitems"))["data"] == []


def test_a_price_that_cannot_be_billed_once(
    http: httpx.Client, customer: str, product: str
) -> None:
    monthly = once(http, product, **{"recurring[interval]": "month"})
    data = {"customer": customer, "pricing[price]": monthly}
    error = error_of(http.post("/v1/invoiceitems", data=data), 400)
    assert "only accepts prices with `type=one_time`" in error["message"]
    archived = once(http, product, active="false")
    data = {"customer": customer, "pricing[price]": archived}
    error = error_of(http.post("/v1/invoiceitems", data=data), 400)
    assert error["message"].startswith("The price specified is inactive.")


def test_an_item_on_a_draft_is_a_line(
    client: stripe.StripeClient, http: httpx.Client, customer: str
) -> None:
    invoice = draft(http, customer, 500)["id"]
    second = item(http, customer, 70, invoice=invoice)["id"]
    now = shown(http, invoice)
    assert [line["amount"] for line in now["lines"]["data"]] == [500, 70]
    assert now["total"] == 570
    line = now["lines"]["data"][1]
    assert line["parent"]["invoice_item_details"]["invoice_item"] == second
    made(http.post(f"/v1/invoiceitems/{second}", data={"amount": "80", "metadata[a]": "b"}))
    now = shown(http, invoice)
    assert [line["amount"] for line in now["lines"]["data"]] == [500, 80]
    assert now["lines"]["data"][1]["id"] == line["id"]
    assert now["lines"]["data"][1]["metadata"] == {"a": "b"}
    event = client.v1.events.list({"type": "invoice.updated", "limit": 1}).data[0]
    assert event.data.previous_attributes is not None
    assert event.data.previous_attributes["total"] == 570
    made(http.delete(f"/v1/invoiceitems/{second}"))
    assert shown(http, invoice)["total"] == 500
    assert told(client, invoice) == ["created", "updated", "updated", "updated", "updated"]
    first = made(http.get("/v1/invoiceitems", params={"invoice": invoice}))["data"][0]["id"]
    made(act(http, invoice, "finalize"))
    message = "The invoice item is on an invoice that is not a draft any more."
    changed = http.post(f"/v1/invoiceitems/{first}", data={"amount": "1"})
    assert error_of(changed, 400)["message"] == message
    assert error_of(http.delete(f"/v1/invoiceitems/{first}"), 400)["message"] == message
    late = {"customer": customer, "amount": "1", "invoice": invoice}
    assert error_of(http.post("/v1/invoiceitems", data=late), 400)["param"] == "invoice"


def test_an_item_goes_on_an_invoice_of_its_own_customer_in_its_currency(
    client: stripe.StripeClient, http: httpx.Client, customer: str
) -> None:
    invoice = draft(http, customer, 0)["id"]
    data = {"customer": make_customer(client), "amount": "1", "invoice": invoice}
    assert error_of(http.post("/v1/invoiceitems", data=data), 400)["param"] == "invoice"
    data = {"customer": customer, "amount": "1", "invoice": invoice, "currency": "eur"}
    assert error_of(http.post("/v1/invoiceitems", data=data), 400)["param"] == "currency"


def test_only_what_waits_in_the_currency_of_an_invoice_goes_on_it(
    http: httpx.Client, customer: str
) -> None:
    item(http, customer, 1, currency="eur")
    item(http, customer, 2)
    data = {"customer": customer, "pending_invoice_items_behavior": "include"}
    first = made(http.post("/v1/invoices", data=data))
    assert (first["currency"], first["total"]) == ("usd", 2)  # that of the newest
    second = made(http.post("/v1/invoices", data=data))
    assert (second["currency"], second["total"]) == ("eur", 1)
    made(http.delete(f"/v1/invoices/{second['id']}"))
    third = made(http.post("/v1/invoices", data=data))
    assert (third["total"], third["lines"]["data"]) == (0, [])  # they went with the draft


def test_lists(client: stripe.StripeClient, http: httpx.Client, customer: str) -> None:
    other = make_customer(client)
    one, two = item(http, customer)["id"], item(http, other)["id"]
    invoice = draft(http, customer, 0)["id"]
    three = item(http, customer, invoice=invoice)["id"]

    def listed(**params: Any) -> list[str]:
        return [row["id"] for row in made(http.get("/v1/invoiceitems", params=params))["data"]]

    assert listed() == [three, two, one]
    assert listed(customer=customer) == [three, one]
    assert listed(pending="true") == [two, one]
    assert listed(invoice=invoice) == [three]
    assert listed(limit=1, starting_after=three) == [two]
    assert listed(**{"created[lt]": 5}) == []
    error = error_of(http.get("/v1/invoiceitems", params={"ending_before": "ii_nope"}), 400)
    assert error["param"] == "ending_before"
    page = client.v1.invoice_items.list({"expand": ["data.customer"], "limit": 1})
    assert isinstance(page.data[0].customer, stripe.Customer)


def test_lines_are_added_changed_and_removed(client: stripe.StripeClient, customer: str) -> None:
    v1 = client.v1
    waiting = v1.invoice_items.create({"customer": customer, "amount": 5, "currency": "usd"})
    invoice = v1.invoices.create({"customer": customer}).id
    added = v1.invoices.add_lines(
        invoice,
        {
            "lines": [
                {"amount": 100, "description": "one"},
                {"invoice_item": waiting.id},
                {"quantity": 3, "pricing": {"price": one_time(client)}},
            ],
            "invoice_metadata": {"a": "b"},
        },
    )
    assert [line.amount for line in added.lines.data] == [100, 5, 60]
    assert (added.total, added.to_dict()["metadata"]) == (165, {"a": "b"})
    event = v1.events.list({"type": "invoice.updated", "limit": 1}).data[0]
    assert event.data.previous_attributes is not None
    assert event.data.previous_attributes.to_dict()["metadata"] == {"a": None}
    first, second, third = (line.id for line in added.lines.data)
    changed = v1.invoices.update_lines(
        invoice,
        {
            "lines": [
                {"id": first, "amount": 101, "description": "uno"},
                {"id": third, "quantity": 2},
            ]
        },
    )
    assert [line.amount for line in changed.lines.data] == [101, 5, 40]
    assert [line.id for line in changed.lines.data] == [first, second, third]
    line = v1.invoices.line_items.update(invoice, first, {"metadata": {"c": "d"}})
    assert (line.to_dict()["metadata"], line.description) == ({"c": "d"}, "uno")
    removed = v1.invoices.remove_lines(
        invoice,
        {
            "lines": [
                {"id": second, "behavior": "unassign"},
                {"id": third, "behavior": "delete"},
            ]
        },
    )
    assert (removed.total, len(removed.lines.data)) == (101, 1)
    left = v1.invoice_items.list({"customer": customer, "pending": True}).data
    assert [one.id for one in left] == [waiting.id]


def one_time(client: stripe.StripeClient) -> str:
    return client.v1.prices.create(
        {"currency": "usd", "unit_amount": 20, "product_data": {"name": "Hours"}}
    ).id


def test_lines_of_what_is_finalized_stay(http: httpx.Client, customer: str) -> None:
    invoice = draft(http, customer)
    line = invoice["lines"]["data"][0]["id"]
    path = f"/v1/invoices/{invoice['id']}"
    for lines in ({"lines[0][id]": "il_nope"},):
        error = error_of(http.post(f"{path}/update_lines", data=lines), 400)
        assert error["param"] == "lines[0][id]"
    error = error_of(http.post(f"{path}/lines/il_nope", data={"metadata[a]": "b"}), 404)
    assert error["param"] == "line_item_id"
    final = made(act(http, invoice["id"], "finalize"))
    for way, data in (
        ("add_lines", {"lines[0][amount]": "1"}),
        ("update_lines", {"lines[0][id]": line, "lines[0][amount]": "1"}),
        ("remove_lines", {"lines[0][id]": line, "lines[0][behavior]": "delete"}),
        (f"lines/{line}", {"amount": "1"}),
    ):
        error = error_of(http.post(f"{path}/{way}", data=data), 400)
        assert error["message"] == "Finalized invoices can't be updated in this way"
    assert shown(http, invoice["id"]) == final


def test_pages_of_lines(http: httpx.Client, customer: str) -> None:
    invoice = draft(http, customer, 0)["id"]
    lines = {f"lines[{number}][amount]": str(number + 1) for number in range(12)}
    made(http.post(f"/v1/invoices/{invoice}/add_lines", data=lines))
    first = shown(http, invoice)["lines"]
    assert [line["amount"] for line in first["data"]] == list(range(1, 11))
    assert (first["has_more"], first["total_count"]) == (True, 12)

    def listed(**params: Any) -> tuple[list[int], bool]:
        page = made(http.get(first["url"], params=params))
        return [line["amount"] for line in page["data"]], page["has_more"]

    ids = [line["id"] for line in first["data"]]
    assert listed(limit=100) == (list(range(1, 13)), False)
    assert listed(starting_after=ids[-1]) == ([11, 12], False)
    assert listed(starting_after=ids[0], limit=2) == ([2, 3], True)
    assert listed(ending_before=ids[3], limit=2) == ([2, 3], True)
    assert listed(ending_before=ids[2], limit=2) == ([1, 2], False)
    error = error_of(http.get(first["url"], params={"starting_after": "il_nope"}), 400)
    assert error["param"] == "starting_after"


def test_how_many_lines_there_may_be(http: httpx.Client, customer: str) -> None:
    invoice = draft(http, customer, 0)["id"]
    path = f"/v1/invoices/{invoice}/add_lines"
    lines = {f"lines[{number}][amount]": "1" for number in range(250)}
    full = made(http.post(path, data=lines))
    assert (full["total"], full["lines"]["total_count"]) == (250, 250)
    error = error_of(http.post(path, data={"lines[0][amount]": "1"}), 400)
    assert error["message"] == "An invoice can have up to 250 lines."
    error = error_of(http.post(path, data=lines | {"lines[250][amount]": "1"}), 400)
    assert error["param"] == "lines"
    line = full["lines"]["data"][0]["id"]
    data = {"lines[0][id]": line, "lines[0][behavior]": "unassign"}
    made(http.post(f"/v1/invoices/{invoice}/remove_lines", data=data))
    item(http, customer, invoice=invoice)


def test_what_may_wait_for_an_invoice(local: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "INVOICE_PENDING_ITEMS_MAX", 2)
    customer = local.customer()
    data = {"customer": customer, "amount": "1", "currency": "usd"}
    for _ in range(2):
        local.create("/v1/invoiceitems", data=data)
    error = error_of(local.request("POST", "/v1/invoiceitems", data=data), 400)
    assert error["message"] == "A customer can have up to 2 pending invoice items."
    include = {"customer": customer, "pending_invoice_items_behavior": "include"}
    assert local.create("/v1/invoices", data=include)["total"] == 2
    local.create("/v1/invoiceitems", data=data)
