import pytest

from tests.api.local import DAY, NOW, LocalServer
from tests.dashboard.selling import sell

REVENUE = "/meterhouse/v1/revenue"


def test_what_was_invoiced_is_told_by_month_and_meter(local: LocalServer) -> None:
    sold = sell(local)
    asked = {"starts_at": NOW - 40 * DAY, "ends_at": NOW + 1}
    found = local.request("GET", REVENUE, params=asked).json()
    month = NOW - NOW % DAY - 20 * DAY
    assert found == {
        "object": "list",
        "url": REVENUE,
        "has_more": False,
        "data": [
            {
                "object": "meterhouse.revenue",
                "amount": 1_123,
                "currency": "usd",
                "ends_at": NOW + 1,
                "invoices": 1,
                "meter": sold.meter,
                "starts_at": month,
            }
        ],
    }
    for customer, rows in ((sold.customer, 1), (local.create("/v1/customers")["id"], 0)):
        answer = local.request("GET", REVENUE, params={**asked, "customer": customer}).json()
        assert len(answer["data"]) == rows


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"starts_at": 5, "ends_at": 4}, "should not be greater"),
        ({"starts_at": 0, "ends_at": NOW}, "more than 120 months"),
        ({"starts_at": 0, "ends_at": 1, "customer": "cus_nope"}, "No such customer: 'cus_nope'"),
        ({"starts_at": 0}, "Missing required param: ends_at."),
        ({"starts_at": 0, "ends_at": 1, "meter": "x"}, "Received unknown parameter: meter"),
    ],
)
def test_what_cannot_be_told_is_refused(
    local: LocalServer, params: dict[str, str], sentence: str
) -> None:
    answer = local.request("GET", REVENUE, params=params)
    assert answer.status_code == 400
    assert sentence in answer.json()["error"]["message"]


def test_no_time_has_no_revenue(local: LocalServer) -> None:
    asked = {"starts_at": NOW, "ends_at": NOW}
    assert local.request("GET", REVENUE, params=asked).json()["data"] == []
