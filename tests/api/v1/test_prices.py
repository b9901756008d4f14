from decimal import Decimal
from typing import Any

import httpx
import pytest
import stripe

from tests.api.samples import error_of, make_meter

MONTHLY = {"recurring[interval]": "month"}
TIERS = {
    "tiers[0][up_to]": "1000",
    "tiers[0][unit_amount]": "0",
    "tiers[0][flat_amount]": "900",
    "tiers[1][up_to]": "inf",
    "tiers[1][unit_amount_decimal]": "3.6",
}
TIERED = {"billing_scheme": "tiered", "tiers_mode": "graduated", **TIERS, **MONTHLY}


@pytest.fixture
def product(client: stripe.StripeClient) -> str:
    return client.v1.products.create({"name": "Tokens", "unit_label": "token"}).id


def test_a_metered_price(client: stripe.StripeClient, http: httpx.Client, product: str) -> None:
    meter = make_meter(client)
    made = client.v1.prices.create(
        {
            "currency": "USD",
            "product": product,
            "unit_amount": 4,
            "recurring": {"interval": "month", "usage_type": "metered", "meter": meter},
        }
    )
    document = http.get(f"/v1/prices/{made.id}").json()
    assert document.pop("id").startswith("price_1")
    assert document.pop("created") > 0
    assert document == {
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "currency": "usd",
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": None,
        "metadata": {},
        "nickname": None,
        "product": product,
        "recurring": {
            "interval": "month",
            "interval_count": 1,
            "meter": meter,
            "trial_period_days": None,
            "usage_type": "metered",
        },
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring",
        "unit_amount": 4,
        "unit_amount_decimal": "4",
    }
    assert client.v1.prices.retrieve(made.id).to_dict() == made.to_dict()


def test_tiers_show_where_they_are_asked_for(http: httpx.Client, product: str) -> None:
    made = http.post("/v1/prices", data={"currency": "usd", "product": product, **TIERED}).json()
    assert "tiers" not in made
    assert (made["unit_amount"], made["unit_amount_decimal"]) == (None, None)
    shown = http.get(f"/v1/prices/{made['id']}", params={"expand[]": "tiers"}).json()
    assert shown["tiers"] == [
        {
            "flat_amount": 900,
            "flat_amount_decimal": "900",
            "unit_amount": 0,
            "unit_amount_decimal": "0",
            "up_to": 1000,
        },
        {
            "flat_amount": None,
            "flat_amount_decimal": None,
            "unit_amount": None,
            "unit_amount_decimal": "3.6",
            "up_to": None,
        },
    ]
    listed = http.get("/v1/prices", params={"expand[]": ["data.tiers", "data.product"]}).json()
    assert listed["data"][0]["tiers"] == shown["tiers"]
    assert listed["data"][0]["product"]["unit_label"] == "token"


def test_a_price_that_comes_with_its_product(client: stripe.StripeClient) -> None:
    made = client.v1.prices.create(
        {
            "currency": "jpy",
            "unit_amount_decimal": Decimal("0.000000000001"),
            "product_data": {"name": "Bytes", "metadata": {"a": "b"}},
            "expand": ["product"],
        }
    ).to_dict()
    assert (made["type"], made["recurring"], made["unit_amount"]) == ("one_time", None, None)
    assert made["unit_amount_decimal"] == Decimal("0.000000000001")
    assert made["product"]["name"] == "Bytes"
    events = client.v1.events.list().data
    assert [event.type for event in events] == ["price.created", "product.created"]


@pytest.mark.parametrize(
    ("sent", "decimal", "whole"),
    [
        ("8.0", "8", 8),
        ("1E-12", "0.000000000001", None),
        ("2.5e+3", "2500", 2500),
        ("0.10", "0.1", None),
        ("999999999999", "999999999999", 999_999_999_999),
    ],
)
def test_decimals(
    http: httpx.Client, product: str, sent: str, decimal: str, whole: int | None
) -> None:
    data = {"currency": "usd", "product": product, "unit_amount_decimal": sent}
    made = http.post("/v1/prices", data=data).json()
    assert (made["unit_amount_decimal"], made["unit_amount"]) == (decimal, whole)


@pytest.mark.parametrize("sent", ["-1", "1e-13", "1e12", "9" * 60, "1e99", "NaN", "1_0", ".5"])
def test_no_decimals(http: httpx.Client, product: str, sent: str) -> None:
    data = {"currency": "usd", "product": product, "unit_amount_decimal": sent}
    error = error_of(http.post("/v1/prices", data=data), 400)
    assert error["param"] == "unit_amount_decimal"


def test_packages_and_other_currencies(http: httpx.Client, product: str) -> None:
    data = {
        "currency": "usd",
        "product": product,
        "unit_amount_decimal": "8.0",
        "transform_quantity[divide_by]": "60",
        "transform_quantity[round]": "up",
        "currency_options[eur][unit_amount_decimal]": "7.5",
        "expand[]": "currency_options",
        **MONTHLY,
    }
    made = http.post("/v1/prices", data=data).json()
    assert made["transform_quantity"] == {"divide_by": 60, "round": "up"}
    assert {name: one["unit_amount_decimal"] for name, one in made["currency_options"].items()} == {
        "usd": "8",
        "eur": "7.5",
    }
    change = {"currency_options[gbp][unit_amount]": "6", "expand[]": "currency_options"}
    changed = http.post(f"/v1/prices/{made['id']}", data=change).json()
    assert sorted(changed["currency_options"]) == ["eur", "gbp", "usd"]


BASIL = "Starting with Stripe version `2025-03-31.basil`, metered prices must be backed by meters."
BOTH = {"unit_amount": "1", "unit_amount_decimal": "1"}


@pytest.mark.parametrize(
    ("change", "message", "param"),
    [
        (
            {"product": None},
            "You must specify either `product` or `product_data` when creating a price.",
            None,
        ),
        (
            {"product_data[name]": "B"},
            "You may only specify one of these parameters: product, product_data.",
            "product",
        ),
        ({"product": "prod_nope"}, "No such product: 'prod_nope'", "product"),
        (
            {"unit_amount": None},
            "Prices require an `unit_amount` or `unit_amount_decimal` parameter to be set.",
            None,
        ),
        (
            BOTH,
            "You may only specify one of these parameters: unit_amount, unit_amount_decimal.",
            "unit_amount",
        ),
        ({"unit_amount": "-1"}, "Invalid non-negative integer", "unit_amount"),
        (
            {"unit_amount": None, "unit_amount_decimal": "0.0000000000001"},
            "Invalid decimal: 0.0000000000001; must be at least 0, with at most 12 decimal places",
            "unit_amount_decimal",
        ),
        (
            {"recurring[usage_type]": "metered"},
            BASIL,
            None,
        ),
        (
            {"recurring[usage_type]": "metered", "recurring[meter]": "mtr_x"},
            "No such billing meter: 'mtr_x'",
            "recurring[meter]",
        ),
        (
            {"recurring[meter]": "mtr_x"},
            "A `meter` can only be set when `usage_type` is `metered`.",
            "recurring[meter]",
        ),
        (
            {"recurring[interval_count]": "37"},
            "The interval_count for monthly prices can't be greater than 36",
            "recurring[interval_count]",
        ),
        (
            {**TIERED, "unit_amount": None, "recurring[interval]": None},
            "Prices with `type=one_time` are not supported with tiered billing.",
            "interval",
        ),
        (
            TIERED,
            "`unit_amount` cannot be set when `billing_scheme` is `tiered`.",
            "unit_amount",
        ),
        (
            {**TIERED, "unit_amount": None, "tiers[1][up_to]": "2000"},
            "The last tier, and no other, must have `up_to` set to `inf`.",
            "tiers",
        ),
        (
            {**TIERED, "unit_amount": None, "tiers[2][up_to]": "inf", "tiers[2][unit_amount]": "1"}
            | {"tiers[1][up_to]": "1000"},
            "Each tier must end above the one before it.",
            "tiers[1][up_to]",
        ),
        (
            {**TIERED, "unit_amount": None, "tiers[1][unit_amount_decimal]": None},
            "Each tier must have a unit amount or a flat amount.",
            "tiers[1]",
        ),
        (
            {**TIERED, "unit_amount": None, "tiers[0][flat_amount]": None}
            | {"tiers[0][flat_amount_decimal]": "0.5"},
            "Invalid decimal: 0.5; must be at least 0, with at most 0 decimal places",
            "tiers[0][flat_amount_decimal]",
        ),
        (
            {"custom_unit_amount[enabled]": "true"},
            "This server does not support `custom_unit_amount`.",
            "custom_unit_amount",
        ),
        (
            {"currency_options[usd][unit_amount]": "1"},
            "The currency of the price cannot be one of its options: usd",
            "currency_options[usd]",
        ),
        ({"unit_amont": "1"}, None, "unit_amont"),
    ],
)
def test_what_could_not_be_billed_is_refused(
    http: httpx.Client,
    product: str,
    change: dict[str, str | None],
    message: str | None,
    param: str | None,
) -> None:
    good: dict[str, Any] = {"currency": "usd", "product": product, "unit_amount": "4", **MONTHLY}
    data = {name: value for name, value in (good | change).items() if value is not None}
    error = error_of(http.post("/v1/prices", data=data), 400)
    assert message in (None, error["message"])
    assert error.get("param") == param
    assert http.get("/v1/prices").json()["data"] == []


def test_an_unknown_currency(http: httpx.Client, product: str) -> None:
    data = {"currency": "xyz", "product": product, "unit_amount": "4"}
    error = error_of(http.post("/v1/prices", data=data), 400)
    assert error["message"].startswith("Invalid currency: xyz. Stripe currently supports these")


def test_what_a_price_comes_to_never_changes(http: httpx.Client, product: str) -> None:
    data = {"currency": "usd", "product": product, "unit_amount": "4"}
    price = http.post("/v1/prices", data=data).json()["id"]
    error = error_of(http.post(f"/v1/prices/{price}", data={"unit_amount": "5"}), 400)
    assert error["code"] == "parameter_unknown"
    assert error["message"].startswith("Received unknown parameter: unit_amount")
    assert http.delete(f"/v1/prices/{price}").status_code == 404


def test_a_lookup_key_moves_to_another_price(client: stripe.StripeClient, product: str) -> None:
    def price(**more: Any) -> stripe.Price:
        params: Any = {"currency": "usd", "product": product, "unit_amount": 4, "lookup_key": "k1"}
        return client.v1.prices.create(params | more)

    first = price()
    client.v1.prices.update(first.id, {"active": False})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        price()
    assert refused.value.user_message == f"A price (`{first.id}`) already uses that lookup key."
    second = price(transfer_lookup_key=True)
    assert [one.id for one in client.v1.prices.list({"lookup_keys": ["k1"]}).data] == [second.id]
    assert client.v1.prices.retrieve(first.id).lookup_key is None
    events = client.v1.events.list({"limit": 2}).data
    assert [event.type for event in events] == ["price.created", "price.updated"]
    assert events[1].to_dict()["data"]["previous_attributes"] == {"lookup_key": "k1"}


def test_lists(client: stripe.StripeClient, product: str) -> None:
    meter = make_meter(client)
    metered: Any = {"interval": "month", "usage_type": "metered", "meter": meter}
    once, month = (
        client.v1.prices.create(
            {"currency": currency, "product": product, "unit_amount": 4, **more}  # type: ignore[typeddict-item]
        ).id
        for currency, more in (("usd", {}), ("eur", {"recurring": metered}))
    )

    def listed(**params: Any) -> list[str]:
        return [one.id for one in client.v1.prices.list(params).data]  # type: ignore[arg-type]

    assert listed() == [month, once]
    assert listed(type="one_time") == listed(currency="usd") == [once]
    assert listed(type="recurring") == listed(recurring={"meter": meter}) == [month]
    assert listed(recurring={"interval": "year"}) == listed(active=False) == []
    assert listed(product=product, limit=1) == [month]
    with pytest.raises(stripe.InvalidRequestError, match="No such product: 'prod_nope'"):
        listed(product="prod_nope")


def test_a_price_of_another_mode_is_not_there(http: httpx.Client) -> None:
    answer = http.get("/v1/prices/price_nope")
    error = error_of(answer, 404)
    assert (error["message"], error["param"]) == ("No such price: 'price_nope'", "price")
