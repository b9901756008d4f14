from typing import Any

import pytest

from meterhouse import limits
from meterhouse.dashboard.late import FATES, SETTINGS, fate
from tests.api.local import LocalServer
from tests.api.meterhouse.samples import stream
from tests.dashboard.selling import Sold, sell
from tests.dashboard.test_site import cookie, visit

BEGUN = 1_800_000_000
SUBSCRIPTION = {"status": "active", "items": {"data": [{"current_period_start": BEGUN}]}}
OLDEST = BEGUN - limits.LATE_USAGE_DAYS_MAX * 86_400


def late(sold: Sold, value: str, identifier: str = "late") -> None:
    """Use something within the range that was invoiced."""
    payload = {"stripe_customer_id": sold.customer, "value": value, "model": "small"}
    at = "2026-11-16T08:00:00Z"
    event = {"event_name": "tokens", "identifier": identifier, "timestamp": at, "payload": payload}
    stream(sold.local, event)


def test_what_has_changed_is_listed(local: LocalServer) -> None:
    sold, held = sell(local), cookie(local)
    assert "Nothing has changed since it was billed" in visit(local, "/billing/late", held).text
    late(sold, "100.5")
    page = visit(local, "/billing/late", held).text
    for text in ("1,062", "1,162.5", "100.5", "$3.62", "only listed", "<code>report</code>"):
        assert text in page
    assert "&lt;b&gt;Ada&lt;/b&gt; &amp; Co." in page
    assert f"/billing/invoices/{sold.invoice['id']}" in page


def test_it_is_searched(local: LocalServer) -> None:
    sold, held = sell(local), cookie(local)
    late(sold, "5")
    for query, found in (
        ({"customer": sold.customer}, True),
        ({"customer": "cus_nobody"}, False),
        ({"meter": sold.meter, "subscription": sold.subscription}, True),
        ({"meter": "mtr_none"}, False),
        ({"after": "in_nope_0"}, False),
    ):
        page = visit(local, "/billing/late", held, params=query)
        assert page.status_code == 200
        assert ("only listed" in page.text) == found, query


@pytest.mark.parametrize(
    ("more", "setting", "subscription", "becomes"),
    [
        ({}, "report", SUBSCRIPTION, "listed"),
        ({}, "bill", SUBSCRIPTION, "billed"),
        ({"amount_difference": -5}, "bill", SUBSCRIPTION, "billed"),
        ({}, "credit", SUBSCRIPTION, "listed"),
        ({"amount_difference": -5}, "credit", SUBSCRIPTION, "credited"),
        ({"draft": "in_1"}, "bill", SUBSCRIPTION, "draft"),
        ({"amount_difference": 0}, "bill", SUBSCRIPTION, "same"),
        ({}, "bill", SUBSCRIPTION | {"status": "canceled"}, "ended"),
        ({}, "bill", None, "ended"),
        ({"usage_end": OLDEST}, "bill", SUBSCRIPTION, "billed"),
        ({"usage_end": OLDEST - 1}, "bill", SUBSCRIPTION, "old"),
    ],
)
def test_what_becomes_of_it(
    more: dict[str, Any], setting: str, subscription: dict[str, Any] | None, becomes: str
) -> None:
    row = {"draft": None, "amount_difference": 5, "usage_end": BEGUN} | more
    assert fate(row, subscription, setting) == becomes
    assert becomes in FATES
    assert setting in SETTINGS
