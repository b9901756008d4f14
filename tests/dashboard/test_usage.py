import re

import pytest

from tests.api.local import DAY, NOW, LocalServer
from tests.dashboard.test_site import cookie, visit


def use(local: LocalServer, customer: str, days_ago: int, value: str) -> None:
    data = {
        "event_name": "calls",
        "timestamp": str(NOW - days_ago * DAY),
        "payload[stripe_customer_id]": customer,
        "payload[value]": value,
    }
    local.create("/v1/billing/meter_events", data=data)
    assert local.run(local.meterhouse.services.progress.settle(30))


def page(local: LocalServer, **params: str) -> str:
    answer = visit(local, "/usage", cookie(local), params=params)
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.mark.parametrize(
    ("asked", "days"),
    [
        ({}, ["2026-10-23", "2026-11-21"]),
        ({"range": "24h"}, ["2026-11-20", "2026-11-21"]),
        ({"range": "last_month", "from": "2026-11-01"}, ["2026-10-01", "2026-10-31"]),
        ({"from": "2026-11-01", "to": "2026-11-05"}, ["2026-11-01", "2026-11-05"]),
        ({"range": "7d", "zone": "Pacific/Kiritimati"}, ["2026-11-16", "2026-11-22"]),
    ],
)
def test_the_form_has_the_days_that_are_drawn(
    local: LocalServer, asked: dict[str, str], days: list[str]
) -> None:
    local.meter()
    found = re.findall(r'type="date" name="(?:from|to)" value="([^"]*)"', page(local, **asked))
    assert found == days


def test_the_period_before_is_drawn_where_it_has_usage(local: LocalServer) -> None:
    local.meter()
    customer = local.customer()
    use(local, customer, 1, "3")
    text = page(local, range="7d", compare="1")
    assert "no usage in the period before" in text
    assert '"previous": null' in text
    use(local, customer, 8, "2")
    text = page(local, range="7d", compare="1")
    assert "before: 2<" in text
    assert "no usage in the period before" not in text
    assert "before: 2<" in page(local, range="7d", compare="1", cumulative="1")
    assert "before" not in re.sub("<[^>]*>", "", page(local, range="7d"))


def test_csv_is_downloaded_with_the_mark_that_excel_wants(local: LocalServer) -> None:
    answer = visit(local, "/usage.csv", cookie(local), params={"meter": local.meter()})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.content.startswith(b"\xef\xbb\xbfstarts_at,")


def test_a_range_of_centuries_is_refused_in_a_sentence(local: LocalServer) -> None:
    local.meter()
    text = page(local, **{"from": "1971-01-01", "to": "2298-12-31"})
    assert "a larger value_grouping_window" in text
