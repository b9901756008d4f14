"""Worked examples: what is sent and sold, and what is billed for it, with the SDK and a clock.

What a total comes to under a price is looked at in previews; what depends on time, on invoices.
"""

from typing import Any

import httpx
import pytest
import stripe

from tests.api.samples import make_meter, send
from tests.api.subscribing import Shop, at

JANUARY, FEBRUARY, MARCH = "2027-01-01", "2027-02-01", "2027-03-01"


@pytest.fixture
def shop(client: stripe.StripeClient, http: httpx.Client) -> Shop:
    return Shop(client, http, JANUARY)


def tiers(*rows: tuple[str, str | None, int | None]) -> list[dict[str, Any]]:
    """Tiers: up to, unit amount, flat amount."""
    told = []
    for up_to, unit, flat in rows:
        row: dict[str, Any] = {"up_to": up_to if up_to == "inf" else int(up_to)}
        row |= {} if unit is None else {"unit_amount_decimal": unit}
        told.append(row if flat is None else row | {"flat_amount": flat})
    return told


def by_tiers(mode: str, *rows: tuple[str, str | None, int | None]) -> dict[str, Any]:
    return {"billing_scheme": "tiered", "tiers_mode": mode, "tiers": tiers(*rows)}


def package(amount: str, divide_by: int, rounding: str = "up") -> dict[str, Any]:
    transform = {"divide_by": divide_by, "round": rounding}
    return {"unit_amount_decimal": amount, "transform_quantity": transform}


FONTS = [("5", "700", None), ("10", "650", None), ("inf", "600", None)]
FLAT = [
    ("5", "500", 1000),
    ("10", "400", 2000),
    ("15", "300", 3000),
    ("20", "200", 4000),
    ("inf", "100", 5000),
]
FREE_FIRST = by_tiers("graduated", ("1000", "0", 0), ("inf", "4", 0))
HALVES = by_tiers("graduated", ("1", "0.5", None), ("2", "0.5", None), ("inf", "0.5", None))
GITPOD = by_tiers("graduated", ("1000", "0", 900), ("inf", "3.6", 0))
BASIC = by_tiers("graduated", ("100000", None, 999), ("inf", "0.02", None))
SEATS = by_tiers("volume", ("1", "1800", None), ("inf", "1600", None))

# A price, how its product is called and measured, what was used, and the lines.
Example = tuple[dict[str, Any], str, str, list[tuple[str, int]]]
EXAMPLES: list[Example] = [
    *(
        (by_tiers("volume", *FONTS), "Fonts", used, [(f"{used} × Fonts (Tier {tier})", amount)])
        for used, tier, amount in [
            ("1", "1 at $7.00 / month", 700),
            ("6", "2 at $6.50 / month", 3900),
            ("25", "3 at $6.00 / month", 15_000),
        ]
    ),
    (
        by_tiers("graduated", *FONTS),
        "Fonts",
        "20",
        [
            ("5 × Fonts (Tier 1 at $7.00 / month)", 3500),
            ("5 × Fonts (Tier 2 at $6.50 / month)", 3250),
            ("10 × Fonts (Tier 3 at $6.00 / month)", 6000),
        ],
    ),
    (
        by_tiers("volume", *FLAT),
        "Flat",
        "12",
        [("12 × Flat (Tier 3 at $3.00 / month)", 3600), ("Flat (Tier 3 at $30.00 / month)", 3000)],
    ),
    (
        by_tiers("graduated", *FLAT),
        "Flat",
        "12",
        [
            ("5 × Flat (Tier 1 at $5.00 / month)", 2500),
            ("Flat (Tier 1 at $10.00 / month)", 1000),
            ("5 × Flat (Tier 2 at $4.00 / month)", 2000),
            ("Flat (Tier 2 at $20.00 / month)", 2000),
            ("2 × Flat (Tier 3 at $3.00 / month)", 600),
            ("Flat (Tier 3 at $30.00 / month)", 3000),
        ],
    ),
    (
        by_tiers("graduated", *FLAT),
        "Flat",
        "-15",
        [("0 × Flat (Tier 1 at $5.00 / month)", 0), ("Flat (Tier 1 at $10.00 / month)", 1000)],
    ),
    (
        GITPOD,
        "Gitpod Usage/credit",
        "1031",
        [
            ("1000 credit × Gitpod Usage (Tier 1 at $0.00 / month)", 0),
            ("Gitpod Usage (Tier 1 at $9.00 / month)", 900),
            ("31 credit × Gitpod Usage (Tier 2 at $0.036 / month)", 112),
            ("Gitpod Usage (Tier 2 at $0.00 / month)", 0),
        ],
    ),
    (
        BASIC | {"recurring": {"interval": "day"}},
        "Basic/character",
        "0",
        [
            ("0 character × Basic (Tier 1 at $0.00 / day)", 0),
            ("Basic (Tier 1 at $9.99 / day)", 999),
        ],
    ),
    (SEATS, "Monthly/seat", "1", [("1 seat × Monthly (Tier 1 at $18.00 / month)", 1800)]),
    (package("1000", 60), "It", "150", [("150 × It (at $10.00 per 60 units / month)", 3000)]),
    (package("8", 60), "It", "9892", [("9892 × It (at $0.08 per 60 units / month)", 1320)]),
    (
        package("4", 100),
        "It",
        "100.000000000001",
        [("100.000000000001 × It (at $0.04 per 100 units / month)", 8)],
    ),
    (
        package("1000", 60, "down"),
        "It",
        "59",
        [("59 × It (at $10.00 per 60 units / month)", 0)],
    ),
    (
        FREE_FIRST,
        "It",
        "3000",
        [
            ("1000 × It (Tier 1 at $0.00 / month)", 0),
            ("It (Tier 1 at $0.00 / month)", 0),
            ("2000 × It (Tier 2 at $0.04 / month)", 8000),
            ("It (Tier 2 at $0.00 / month)", 0),
        ],
    ),
    (
        FREE_FIRST,
        "It",
        "1000",
        [("1000 × It (Tier 1 at $0.00 / month)", 0), ("It (Tier 1 at $0.00 / month)", 0)],
    ),
    (
        {"unit_amount_decimal": "0.000123456789"},
        "It",
        "1234567",
        [("1234567 × It (at $0.00000123456789 / month)", 152)],
    ),
    (
        {"unit_amount_decimal": "0.000000000001"},
        "It",
        "500000000000",
        [("500000000000 × It (at $0.00000000000001 / month)", 1)],
    ),
    ({"unit_amount_decimal": "0.5"}, "It", "5", [("5 × It (at $0.005 / month)", 3)]),
    (
        HALVES,
        "It",
        "3",
        [(f"1 × It (Tier {tier} at $0.005 / month)", 1) for tier in (1, 2, 3)],
    ),
    ({"unit_amount": 40}, "It", "2.5", [("2.5 × It (at $0.40 / month)", 100)]),
    ({"unit_amount": 4}, "It", "-15", [("0 × It (at $0.04 / month)", 0)]),
    (
        {"unit_amount_decimal": "0.5", "currency": "jpy"},
        "It",
        "3",
        [("3 × It (at ¥0.5 / month)", 2)],
    ),
]


def test_what_totals_come_to(shop: Shop) -> None:
    """Each is used by a customer of its own, in events that add up to it."""
    for price, called, used, expected in EXAMPLES:
        assert looked_at(shop, price, called, used) == expected, (price, used)


def looked_at(shop: Shop, price: dict[str, Any], called: str, used: str) -> list[tuple[str, int]]:
    """Preview the first period of a customer who has used so much."""
    client = shop.client
    customer = client.v1.customers.create({"test_clock": shop.clock}).id
    for value in (used, "10", "-10"):
        send(client, customer, value, timestamp=at(JANUARY))
    name, _, label = called.partition("/")
    product: Any = {"name": name} | ({"unit_label": label} if label else {})
    recurring = {"usage_type": "metered", "meter": shop.meter, "interval": "month"}
    params: Any = {"currency": "usd", "product_data": product, **price}
    params["recurring"] = recurring | price.get("recurring", {})
    made = client.v1.prices.create(params).id
    asked: Any = {"customer": customer, "subscription_details": {"items": [{"price": made}]}}
    if "currency" in price:
        asked["currency"] = price["currency"]
    document = client.v1.invoices.create_preview(asked).to_dict()
    rows = document["lines"]["data"]
    assert document["total"] == sum(row["amount"] for row in rows)
    quantities = [(row["quantity"], str(row["quantity_decimal"])) for row in rows]
    assert all(str(whole) == exact.partition(".")[0] for whole, exact in quantities)
    return [(row["description"], row["amount"]) for row in rows]


def invoices(shop: Shop) -> list[list[tuple[str, int]]]:
    """Return the lines of the customer's invoices, the oldest first."""
    page = shop.client.v1.invoices.list({"customer": shop.customer}).to_dict()
    return [
        [(line["description"], line["amount"]) for line in one["lines"]["data"]]
        for one in reversed(page["data"])
    ]


def test_the_last_value_is_not_carried_over(shop: Shop) -> None:
    """The greatest timestamp counts, whatever came in last; a month without one has none."""
    meter = make_meter(shop.client, "seats", default_aggregation={"formula": "last"})
    recurring = {"interval": "month", "usage_type": "metered", "meter": meter}
    shop.subscribe(shop.price(100, recurring=recurring))
    shop.advance("2027-01-28")
    for value, when in (("7", "2027-01-25"), ("9", "2027-01-20")):
        send(shop.client, shop.customer, value, "seats", timestamp=at(when))
    shop.advance(FEBRUARY)
    shop.advance(MARCH)
    assert invoices(shop) == [
        [("7 × Calls (at $1.00 / month)", 700)],
        [("0 × Calls (at $1.00 / month)", 0)],
    ]


def test_events_are_counted(shop: Shop) -> None:
    """Whatever their values."""
    meter = make_meter(shop.client, "hits", default_aggregation={"formula": "count"})
    recurring = {"interval": "month", "usage_type": "metered", "meter": meter}
    shop.subscribe(shop.price(2, recurring=recurring))
    for value in ("10", "-4", "0"):
        send(shop.client, shop.customer, value, "hits", timestamp=at(JANUARY))
    shop.advance(FEBRUARY)
    assert invoices(shop) == [[("3 × Calls (at $0.02 / month)", 6)]]


def test_the_beginning_of_a_period_is_in_it(
    client: stripe.StripeClient, http: httpx.Client
) -> None:
    """Periods of an anchor on the 31st end on the last day of a short month."""
    shop = Shop(client, http, "2027-01-31T10:00")
    shop.subscribe(shop.metered(4))
    shop.advance("2027-02-28T09:00")
    shop.use(1, "2027-02-28T08:59:59")
    shop.advance("2027-02-28T10:00")
    shop.use(10, "2027-02-28T10:00")
    shop.advance("2027-03-31T10:00")
    assert [rows[0][1] for rows in invoices(shop)] == [4, 40]
    page = client.v1.invoices.list({"customer": shop.customer}).data
    assert [one.period_end for one in page] == [at("2027-03-31T10:00"), at("2027-02-28T10:00")]


def test_a_part_of_a_period_is_billed_by_what_was_used_in_it(
    client: stripe.StripeClient, http: httpx.Client
) -> None:
    shop = Shop(client, http, "2027-01-20")
    shop.subscribe(shop.metered(4), billing_cycle_anchor=at(FEBRUARY))
    shop.use(40, "2027-01-20")
    shop.advance(FEBRUARY)
    shop.advance("2027-02-10")
    shop.use(100, "2027-02-10")
    shop.advance(MARCH)
    assert [rows[0][1] for rows in invoices(shop)] == [160, 400]


def test_a_trial_is_free(shop: Shop) -> None:
    shop.subscribe(shop.metered(4), trial_period_days=14)
    shop.use(10, JANUARY)
    shop.advance("2027-01-15")
    shop.use(5, "2027-01-15")
    shop.advance("2027-02-15")
    assert invoices(shop) == [
        [("Free trial for 10 × Calls", 0)],
        [("5 × Calls (at $0.04 / month)", 20)],
    ]


@pytest.mark.parametrize(
    ("mode", "behavior", "lines"),
    [
        (
            "flexible",
            "create_prorations",
            [
                ("1000 × Calls (at £0.10 per 100 units / month)", 100),
                ("500 × Calls (at £0.15 per 100 units / month)", 75),
            ],
        ),
        (
            "classic",
            "create_prorations",
            [("500 × Calls (at £0.15 per 100 units / month)", 75)],
        ),
        ("flexible", "none", [("500 × Calls (at £0.15 per 100 units / month)", 75)]),
    ],
)
def test_a_price_that_changes(
    shop: Shop, mode: str, behavior: str, lines: list[tuple[str, int]]
) -> None:
    recurring = {"interval": "month", "usage_type": "metered", "meter": shop.meter}
    hundreds = {"divide_by": 100, "round": "up"}
    cheap, dear = (
        shop.price(amount, "gbp", recurring=recurring, transform_quantity=hundreds)
        for amount in (10, 15)
    )
    subscription = shop.subscribe(cheap, billing_mode={"type": mode})
    shop.advance("2027-01-05")
    shop.use(1000, "2027-01-05")
    shop.advance("2027-01-15")
    (item,) = subscription.items.data
    change: Any = {"items": [{"id": item.id, "price": dear}], "proration_behavior": behavior}
    shop.client.v1.subscriptions.update(subscription.id, change)
    shop.advance("2027-01-20")
    shop.use(500, "2027-01-20")
    shop.advance(FEBRUARY)
    assert invoices(shop)[-1] == lines


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("flexible", [[10_000, 15_000], [0]]),
        ("classic", [[0], [25_000]]),
    ],
)
def test_a_start_in_the_past(shop: Shop, mode: str, expected: list[list[int]]) -> None:
    """Flexible mode bills each period at once; classic mode all of it at the next renewal."""
    hundreds = {"divide_by": 10, "round": "up"}
    recurring = {"interval": "month", "usage_type": "metered", "meter": shop.meter}
    price = shop.price(1000, "gbp", recurring=recurring, transform_quantity=hundreds)
    shop.use(100, JANUARY)
    shop.advance(FEBRUARY)
    shop.use(150, FEBRUARY)
    shop.advance("2027-02-20")
    shop.subscribe(price, backdate_start_date=at(JANUARY), billing_mode={"type": mode})
    shop.advance("2027-03-20")
    assert [[amount for _, amount in rows] for rows in invoices(shop)] == expected


def test_late_usage_counts_until_the_invoice_is_final(shop: Shop) -> None:
    shop.subscribe(shop.metered(4))
    shop.advance(FEBRUARY)
    shop.use(10, "2027-01-31")
    shop.advance("2027-02-01T01:00")
    shop.use(5, "2027-01-31")
    [invoice] = shop.client.v1.invoices.list({"customer": shop.customer}).data
    assert (invoice.status, invoice.total) == ("open", 40)
    page = shop.client.v1.billing.meters.event_summaries.list(
        shop.meter,
        {"customer": shop.customer, "start_time": at(JANUARY), "end_time": at(FEBRUARY)},
    )
    assert [row.aggregated_value for row in page.data] == [15]


def test_each_subscription_bills_all_of_it(shop: Shop) -> None:
    for amount in (4, 1):
        shop.subscribe(shop.metered(amount))
    shop.use(100, JANUARY)
    shop.advance(FEBRUARY)
    assert sorted(amount for rows in invoices(shop) for _, amount in rows) == [100, 400]


def test_a_balance_is_taken_into_account(shop: Shop) -> None:
    shop.client.v1.customers.update(shop.customer, {"balance": -500})
    shop.subscribe(shop.metered(4))
    shop.use(253, JANUARY)
    shop.advance("2027-02-01T01:00")
    [invoice] = shop.client.v1.invoices.list({"customer": shop.customer}).data
    assert (invoice.total, invoice.amount_due) == (1012, 512)
    assert (invoice.starting_balance, invoice.ending_balance) == (-500, 0)


def test_the_amounts_that_somebody_is_billed_by_stay(shop: Shop) -> None:
    """In every currency; what somebody was billed by can be reckoned again."""
    recurring = {"interval": "month", "usage_type": "metered", "meter": shop.meter}
    options = {"eur": {"unit_amount": 3}, "gbp": {"unit_amount": 2}}
    price = shop.price(4, recurring=recurring, currency_options=options)
    path = f"/v1/prices/{price}"
    data = {"currency_options[gbp][unit_amount]": "1"}
    assert shop.http.post(path, data=data).status_code == 200
    subscription = shop.subscribe(price, currency="eur")
    nothing = {"currency_options": ""}
    for refused in (nothing, {"currency_options[eur][unit_amount]": "9"}):
        assert shop.refused(path, refused)["param"] == "currency_options[eur]"
    more = {"currency_options[chf][unit_amount]": "5"}
    assert shop.http.post(path, data=more).status_code == 200
    shop.use(10, JANUARY)
    shop.advance("2027-01-10")
    (item,) = subscription.items.data
    change: Any = {"items": [{"id": item.id, "price": shop.price(7, "eur", recurring=recurring)}]}
    shop.client.v1.subscriptions.update(subscription.id, change)
    assert shop.refused(path, nothing)["status"] == 400  # a part of it waits
    shop.advance(FEBRUARY)
    assert shop.refused(path, nothing)["status"] == 400  # it is on an invoice
    assert invoices(shop) == [
        [("10 × Calls (at €0.03 / month)", 30), ("0 × Calls (at €0.07 / month)", 0)]
    ]


def test_nobody_is_billed_what_nobody_could_pay(shop: Shop) -> None:
    """Neither beforehand, nor by usage; what can be seen of it can be seen."""
    dear = 999_999_999_999
    data = {"items[0][price]": shop.seats(dear), "items[0][quantity]": "999999999"}
    refused = shop.refused("/v1/subscriptions", {"customer": shop.customer, **data})
    assert (refused["status"], refused["code"]) == (400, "amount_too_large")
    subscription = shop.subscribe(shop.metered(dear)).id
    shop.use(999_999_999_999_999, JANUARY)
    asked: Any = {"customer": shop.customer}
    seen = shop.client.v1.invoices.create_preview(asked)
    assert seen.total == dear * 999_999_999_999_999
    path = f"/v1/subscriptions/{subscription}?invoice_now=true"
    refused = shop.refused(path, {}, "DELETE")
    assert (refused["status"], refused["code"]) == (400, "amount_too_large")
