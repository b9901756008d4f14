from typing import Any

import httpx
import pytest
import stripe

from tests.api.samples import error_of


def test_a_product_with_nothing_but_its_name(client: stripe.StripeClient) -> None:
    made = client.v1.products.create({"name": "Tokens"})
    document = made.to_dict()
    assert document.pop("id").startswith("prod_")
    assert document.pop("created") == document.pop("updated") > 0
    assert document == {
        "object": "product",
        "active": True,
        "default_price": None,
        "description": None,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": {},
        "name": "Tokens",
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "tax_details": None,
        "type": "service",
        "unit_label": None,
        "url": None,
    }
    assert client.v1.products.retrieve(made.id).to_dict() == made.to_dict()


def test_a_product_changes(client: stripe.StripeClient) -> None:
    made = client.v1.products.create(
        {
            "id": "tokens",
            "name": "Tokens",
            "unit_label": "token",
            "description": "D",
            "marketing_features": [{"name": "fast"}],
            "metadata": {"a": "1", "b": "2"},
        }
    )
    assert made.id == "tokens"
    changed = client.v1.products.update(
        "tokens",
        {"name": "T", "unit_label": "", "description": "", "metadata": {"a": ""}, "active": False},
    ).to_dict()
    assert changed["unit_label"] is changed["description"] is None
    assert (changed["name"], changed["active"], changed["metadata"]) == ("T", False, {"b": "2"})
    assert changed["marketing_features"] == [{"name": "fast"}]
    [updated, _] = client.v1.events.list().data
    assert updated.type == "product.updated"
    assert updated.data.previous_attributes is not None
    assert updated.data.previous_attributes["name"] == "Tokens"


def test_a_default_price(client: stripe.StripeClient) -> None:
    data: Any = {"currency": "usd", "unit_amount": 2000, "recurring": {"interval": "month"}}
    made = client.v1.products.create(
        {"name": "Gold", "default_price_data": data, "expand": ["default_price"]}
    )
    assert isinstance(made.default_price, stripe.Price)
    price = made.default_price
    assert (price.product, price.unit_amount) == (made.id, 2000)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.prices.update(price.id, {"active": False})
    assert refused.value.user_message == (
        "This price cannot be archived because it is the default price of its product."
    )
    other = client.v1.prices.create({"currency": "usd", "product": made.id, "unit_amount": 1})
    changed = client.v1.products.update(made.id, {"default_price": other.id})
    assert changed.default_price == other.id
    assert client.v1.prices.update(price.id, {"active": False}).active is False
    with pytest.raises(stripe.InvalidRequestError, match="is inactive"):
        client.v1.products.update(made.id, {"default_price": price.id})


def test_a_product_is_deleted_only_if_it_never_had_a_price(client: stripe.StripeClient) -> None:
    made, kept = (client.v1.products.create({"name": "A"}).id for _ in range(2))
    price = client.v1.prices.create({"currency": "usd", "product": kept, "unit_amount": 1})
    client.v1.prices.update(price.id, {"active": False})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.products.delete(kept)
    assert refused.value.user_message == (
        "This product cannot be deleted because it has one or more user-created prices."
    )
    assert client.v1.products.delete(made).to_dict() == {
        "id": made,
        "object": "product",
        "deleted": True,
    }
    with pytest.raises(stripe.InvalidRequestError, match=f"No such product: '{made}'"):
        client.v1.products.retrieve(made)
    assert client.v1.events.list().data[0].type == "product.deleted"


def test_refusals(http: httpx.Client) -> None:
    made = http.post("/v1/products", data={"name": "A", "id": "a"}).json()["id"]
    again = http.post("/v1/products", data={"name": "A", "id": made})
    assert error_of(again, 400)["code"] == "resource_already_exists"
    for data, param in [
        ({"default_price": "price_nope"}, "default_price"),
        ({"name": ""}, "name"),
        ({"type": "good"}, "type"),
    ]:
        answer = http.post(f"/v1/products/{made}", data=data)
        assert error_of(answer, 400)["param"] == param
    meter = {"recurring[interval]": "month", "recurring[usage_type]": "metered"}
    data = {f"default_price_data[{name}]": value for name, value in {"currency": "usd"}.items()}
    assert http.post("/v1/products", data={"name": "A", **data}).status_code == 400
    assert http.post("/v1/products", data={"name": "A", **meter}).status_code == 400
    assert [one["id"] for one in http.get("/v1/products").json()["data"]] == [made]


def test_lists(client: stripe.StripeClient) -> None:
    one = client.v1.products.create({"name": "A", "url": "https://a.example", "shippable": True}).id
    two = client.v1.products.create({"name": "B", "type": "good", "active": False}).id

    def listed(**params: Any) -> list[str]:
        return [found.id for found in client.v1.products.list(params).data]  # type: ignore[arg-type]

    assert listed() == [two, one]
    assert listed(active=True) == listed(shippable=True) == listed(url="https://a.example") == [one]
    assert listed(type="good") == listed(ids=[two, "prod_x"]) == [two]
    assert listed(limit=1, starting_after=two) == [one]
