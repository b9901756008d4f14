from typing import Any

from meterhouse.dashboard.billing import thresholds
from tests.api.local import LocalServer
from tests.dashboard.selling import sell
from tests.dashboard.test_credit import told
from tests.dashboard.test_site import cookie, visit


def test_how_far_it_is_to_an_early_invoice(local: LocalServer) -> None:
    held, sold = cookie(local), sell(local, mode="classic")
    path = f"/v1/subscriptions/{sold.subscription}"
    [item] = local.request("GET", path).json()["items"]["data"]
    form = {
        "billing_thresholds[amount_gte]": "5000",
        "items[0][id]": item["id"],
        "items[0][billing_thresholds][usage_gte]": "2000",
    }
    local.create(path, data=form)
    page = told(visit(local, f"/customers/{sold.customer}", held).text)
    assert "$11.23 of the $50.00 at which it is invoiced early" in page
    assert "1,062 of the 2,000 of usage at which it is invoiced early" in page


def line(item: str | None, amount: int, quantity: str, paid: int = 0) -> dict[str, Any]:
    """Return what is looked at of a line."""
    return {
        "amount": amount,
        "quantity_decimal": quantity,
        "pretax_credit_amounts": [{"amount": paid}] if paid else [],
        "parent": {"subscription_item_details": item and {"subscription_item": item}},
    }


def test_what_counts_towards_a_threshold() -> None:
    def item(id_: str, meter: str | None, usage: int | None) -> dict[str, Any]:
        price = {"id": f"price_{id_}", "recurring": {"meter": meter}}
        return {"id": id_, "price": price, "billing_thresholds": usage and {"usage_gte": usage}}

    subscription = {
        "billing_thresholds": {"amount_gte": 1_000},
        "items": {"data": [item("a", "m", 50), item("b", "m", 50), item("c", None, None)]},
    }
    lines = [
        line("a", 300, "10.5", paid=100),
        line("a", 900, "0"),
        line("b", 500, "40"),
        line("b", -450, "0"),
        line("c", 7_000, "1"),
        line(None, 7_000, "1"),
    ]
    preview: dict[str, Any] = {"lines": {"data": lines, "total_count": len(lines)}}
    found = [
        (one.price, str(one.position.used), one.position.last.reached)
        for one in thresholds(subscription, preview)
    ]
    assert found == [(None, "1150", True), ("price_a", "10.5", False)]
    preview["lines"]["total_count"] += 1
    assert list(thresholds(subscription, preview)) == []
