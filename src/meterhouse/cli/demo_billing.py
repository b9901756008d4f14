"""What the demo's usage costs: a price for each meter, and a subscription for each company.

The largest companies have paid before, and have credit. Alerts watch the usage of all.

What is there already, by the prices' lookup keys and the customers' subscriptions, stays as it is.
Some companies are invoiced at once, and most of those have paid; the others see their month in the
invoice that comes next.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from meterhouse import limits
from meterhouse.cli.client import Client

_LOOKUP = "demo_{}"
_GRANTS = "/v1/billing/credit_grants"
_ALERTS = "/meterhouse/v1/alerts"
_MONTHLY = {"recurring[interval]": "month", "recurring[usage_type]": "metered"}
_DAY = 86_400
_EACH, _AT_ONCE = 3, 1  # of so many companies, the one that is invoiced at once
_PAY = 4  # of so many of them, all but one have paid
_CREDITS = (130, 250, 70)  # in percent of what comes next, of the companies by their size

# By the event name of the meter: what is sold, and the rest of the price, in cents.
PRICES: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "ai_tokens": (
        "AI tokens",
        "token",
        {
            "billing_scheme": "tiered",
            "tiers_mode": "graduated",
            "tiers[0][up_to]": 100_000,
            "tiers[0][unit_amount]": 0,
            "tiers[1][up_to]": 10_000_000,
            "tiers[1][unit_amount_decimal]": "0.0008",
            "tiers[2][up_to]": "inf",
            "tiers[2][unit_amount_decimal]": "0.0005",
        },
    ),
    "api_requests": (
        "API requests",
        "request",
        {
            "unit_amount": 40,
            "transform_quantity[divide_by]": 100,
            "transform_quantity[round]": "up",
        },
    ),
    "agent_minutes": ("Agent minutes", "minute", {"unit_amount_decimal": "2.5"}),
    "storage_gb": ("Storage", "GB", {"unit_amount_decimal": "0.02"}),
}

# By the event name of the meter: alerts, and the budget of each for ten events of the demo.
ALERTS: Mapping[str, tuple[int, dict[str, str]]] = {
    "ai_tokens": (
        12_000,
        {
            "title": "Tokens of a month",
            "recurrence": "month",
            "steps[0]": "50",
            "steps[1]": "80",
            "steps[2]": "100",
        },
    ),
    "api_requests": (1, {"title": "Many requests", "steps[0]": "100"}),
}


def make_alerts(client: Client, meters: Mapping[str, str], events: int) -> int:
    """Make the alerts that are missing of these meters, by event name, for so many events."""
    for event_name, (budget, about) in ALERTS.items():
        meter = meters[event_name]
        if not client.get(_ALERTS, {"meter": meter, "limit": 1})["data"]:
            form: dict[str, Any] = about | {"meter": meter, "budget": max(budget * events // 10, 1)}
            client.post_form(_ALERTS, form)
    return len(ALERTS)


def make_prices(client: Client, meters: Mapping[str, str]) -> list[str]:
    """Return the ids of the prices of these meters, by event name; make those that are missing."""
    ids = []
    for event_name, (product, label, amounts) in PRICES.items():
        key = _LOOKUP.format(event_name)
        found = client.get("/v1/prices", {"lookup_keys[]": key, "limit": 1})["data"]
        form = {
            "currency": "usd",
            "lookup_key": key,
            "product_data[name]": product,
            "product_data[unit_label]": label,
            "recurring[meter]": meters[event_name],
            **_MONTHLY,
            **amounts,
        }
        ids.append((found or [client.post_form("/v1/prices", form)])[0]["id"])
    return ids


def subscribe(client: Client, customers: Sequence[str], prices: Sequence[str], now: int) -> int:
    """Subscribe the customers that are not yet; return how many subscriptions there are.

    `now` is in unix seconds. The usage of the month before is to be there already.
    """
    for rank, customer in enumerate(customers):
        asked = {"customer": customer, "status": "all", "limit": 1}
        if not client.get("/v1/subscriptions", asked)["data"]:
            _subscribe(client, customer, prices, now, rank)
    return len(customers)


def grant_credit(client: Client, customers: Sequence[str]) -> int:
    """Grant credit to the largest of the customers that have none; return how many have been given.

    The customers are subscribed, the largest comes first.
    """
    for customer, percent in zip(customers, _CREDITS, strict=False):
        if not client.get(_GRANTS, {"customer": customer, "limit": 1})["data"]:
            coming = client.post_form("/v1/invoices/create_preview", {"customer": customer})
            form = {
                "customer": customer,
                "name": "Prepaid usage",
                "category": "paid",
                "amount[type]": "monetary",
                "amount[monetary][currency]": "usd",
                "amount[monetary][value]": coming["total"] * percent // 10_000 * 100 + 100,
                "applicability_config[scope][price_type]": "metered",
            }
            client.post_form(_GRANTS, form)
    return len(_CREDITS)


def _subscribe(client: Client, customer: str, prices: Sequence[str], now: int, rank: int) -> None:
    """Subscribe a customer as of the first day of the demo that was a whole one.

    What was used since then is invoiced at once, in the flexible mode of billing, or else with the
    period that is under way, in the classic one.
    """
    at_once = rank % _EACH == _AT_ONCE
    form = {
        "customer": customer,
        "backdate_start_date": now - now % _DAY - (limits.DEMO_DAYS - 1) * _DAY,
        "billing_mode[type]": "flexible" if at_once else "classic",
        **{f"items[{number}][price]": price for number, price in enumerate(prices)},
    }
    made = client.post_form("/v1/subscriptions", form)
    if at_once and rank % (_EACH * _PAY) != _AT_ONCE:
        client.post_form(f"/v1/invoices/{made['latest_invoice']}/pay", {"paid_out_of_band": "true"})
