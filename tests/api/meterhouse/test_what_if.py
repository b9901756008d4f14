"""What past usage would have cost: per customer and in total, and nothing is stored."""

from typing import Any

import pytest

from meterhouse.billing.period import Period
from tests.api.local import DAY, NOW, LocalServer
from tests.api.meterhouse.billed import bill, price
from tests.api.meterhouse.samples import stream
from tests.api.samples import error_of
from tests.api.v2.samples import at, done, event

WHAT_IF = "/meterhouse/v1/what_if"
RANGE = {"currency": "usd", "starts_at": NOW - 20 * DAY, "ends_at": NOW}
TIERS = {
    "items[0][price_data][billing_scheme]": "tiered",
    "items[0][price_data][tiers_mode]": "graduated",
    "items[0][price_data][tiers][0][up_to]": 10,
    "items[0][price_data][tiers][0][flat_amount]": 500,
    "items[0][price_data][tiers][1][up_to]": "inf",
    "items[0][price_data][tiers][1][unit_amount_decimal]": "1.5",
}


def used(local: LocalServer, *rows: tuple[str, float, str]) -> None:
    """Let customers use something, each so many days ago."""
    stream(
        local,
        *(event(customer, value, timestamp=at(-days * DAY)) for customer, days, value in rows),
    )


def ask(local: LocalServer, **data: Any) -> dict[str, Any]:
    answer: dict[str, Any] = done(local.request("POST", WHAT_IF, data=RANGE | data))
    assert answer["object"] == "meterhouse.what_if"
    for one in (*answer["customers"], answer["others"], answer["total"]):
        assert one["amount"] == sum(item["amount"] for item in one["items"])
    rows = [*answer["customers"], answer["others"]]
    assert sum(row["amount"] for row in rows) == answer["total"]["amount"]
    assert sum(row["amount_billed"] for row in rows) == answer["total"]["amount_billed"]
    return answer


@pytest.mark.parametrize("formula", ["sum", "last"])
def test_prices_that_do_not_exist(local: LocalServer, formula: str) -> None:
    meter = local.meter(**{"default_aggregation[formula]": formula})
    first, second, idle = (local.customer() for _ in range(3))
    used(local, (first, 3, "1"), (first, 2, "30"), (second, 2, "4"), (idle, 21, "9"))
    answer = ask(local, **TIERS, **{"items[0][meter]": meter})
    total = {"sum": "31", "last": "30"}[formula]
    over = {"sum": 32, "last": 30}[formula]
    assert [(row["customer"], row["amount"]) for row in answer["customers"]] == [
        (first, 500 + over),
        (second, 500),
    ]
    [item] = answer["customers"][0]["items"]
    assert item == {"amount": 500 + over, "meter": meter, "price": None, "usage": total}
    assert (answer["total"]["customers"], answer["others"]["customers"]) == (2, 0)
    assert local.request("GET", "/v1/prices").json()["data"] == []
    [row] = ask(local, limit=1, **TIERS, **{"items[0][meter]": meter, "customers[0]": second})[
        "customers"
    ]
    assert (row["customer"], row["amount"]) == (second, 500)


def test_a_price_that_exists_beside_what_was_billed(local: LocalServer) -> None:
    meter, customer, other = local.meter(), local.customer(), local.customer()
    used(local, (customer, 2, "10"), (other, 2, "1"))
    cheap, dear = price(local, meter, unit_amount="2"), price(local, meter, unit_amount="7")
    bill(local, (customer, meter, cheap), Period((NOW - 5 * DAY) * 1_000, (NOW - DAY) * 1_000))
    answer = ask(local, limit=1, multiplier="1.5", **{"items[0][price]": dear})
    [row] = answer["customers"]
    assert (row["amount"], row["amount_billed"], row["amount_difference"]) == (105, 20, 85)
    assert row["items"][0]["usage"] == "15"
    assert answer["others"] == {
        "customers": 1,
        "amount": 11,
        "amount_billed": 0,
        "amount_difference": 11,
        "items": [{"amount": 11, "meter": meter, "price": dear, "usage": "1.5"}],
    }


def test_periods_are_priced_each_by_itself(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    used(local, (customer, 20, "3"), (customer, 12.5, "3"), (customer, 0.5, "11"))
    week = ask(local, interval="week", **TIERS, **{"items[0][meter]": meter})
    assert (week["periods"], week["total"]["amount"]) == (3, 500 + 500 + 502)


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ({"multiplier": "-1"}, "multiplier"),
        ({"multiplier": "1e3"}, "multiplier"),
        ({"starts_at": NOW - 60}, "starts_at"),
        ({"starts_at": NOW}, None),
        ({"interval": "day", "starts_at": NOW - 400 * DAY}, "interval"),
        ({"items[0][meter]": "mtr_unknown"}, "items[0][meter]"),
        ({"items[0][price]": "price_unknown"}, "items[0][price]"),
        ({"currency": "xyz"}, "currency"),
        ({"items[0][price_data][tiers_mode]": "volume"}, "items[0][price_data][tiers_mode]"),
        ({"items[0][price_data][unit_amount]": "-1"}, "items[0][price_data][unit_amount]"),
    ],
)
def test_what_is_refused(local: LocalServer, data: dict[str, Any], param: str | None) -> None:
    meter = local.meter()
    asked = RANGE | {"items[0][meter]": meter, "items[0][price_data][unit_amount]": 1}
    if "items[0][price]" in data:
        del asked["items[0][price_data][unit_amount]"]
    error = error_of(local.request("POST", WHAT_IF, data=asked | data), 400)
    assert error.get("param") == param


def test_a_price_has_to_have_the_currency(local: LocalServer) -> None:
    meter = local.meter()
    asked = RANGE | {"currency": "eur", "items[0][price]": price(local, meter, unit_amount="7")}
    error = error_of(local.request("POST", WHAT_IF, data=asked), 400)
    assert error["param"] == "items[0][price]"
    for one in ({"items[0][meter]": meter}, {"items[0][price_data][unit_amount]": "1"}, {}):
        assert error_of(local.request("POST", WHAT_IF, data=RANGE | one), 400)["param"]
