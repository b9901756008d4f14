import pytest

from tests.api.local import LocalServer
from tests.api.meterhouse.samples import stream
from tests.dashboard.samples import at
from tests.dashboard.selling import NAME, sell
from tests.dashboard.test_site import cookie, visit

PAGE = "/billing/what-if"
OCTOBER = str(at("2026-10-01") // 1000)


def use(local: LocalServer, customer: str, value: str) -> None:
    """Use something in October."""
    payload = {"stripe_customer_id": customer, "value": value, "model": "small"}
    event = {
        "event_name": "tokens",
        "identifier": f"october-{customer}",
        "timestamp": "2026-10-30T08:00:00Z",
        "payload": payload,
    }
    stream(local, event)


@pytest.fixture
def asked(local: LocalServer) -> dict[str, str]:
    """Let Ada use 1,031 in October, and somebody else 10; return what is asked about it."""
    sold = sell(local)
    use(local, sold.customer, "1031")
    use(local, local.customer(), "10")
    return {"price": sold.price, "meter": sold.meter}


def test_a_price_is_put_to_a_past_month(local: LocalServer, asked: dict[str, str]) -> None:
    held = cookie(local)
    page = visit(local, PAGE, held)
    assert "Show</button>" in page.text
    assert "would have cost" not in page.text
    shown = visit(local, PAGE, held, params={"price": asked["price"], "month": OCTOBER}).text
    for text in ("October 2026 would have cost", "1,041", "$10.12", "$9.00", "$19.12", "All 2"):
        assert text in shown
    assert "&lt;b&gt;Ada&lt;/b&gt; &amp; Co." in shown
    assert NAME not in shown
    twice = {"price": asked["price"], "month": OCTOBER, "multiplier": "2"}
    assert "2,082" in visit(local, PAGE, held, params=twice).text


@pytest.mark.parametrize(
    ("typed", "total"),
    [
        ({"model": "unit", "unit_amount": "3"}, "$31.23"),
        ({"model": "package", "unit_amount": "100", "package": "1000"}, "$3.00"),
        ({"model": "graduated", "tiers": "1000 - 900\r\ninf, 3.6"}, "$19.12"),
        ({"model": "volume", "tiers": "1000 1\ninf 2", "currency": "usd"}, "$20.72"),
    ],
)
def test_a_price_may_be_typed(
    local: LocalServer, asked: dict[str, str], typed: dict[str, str], total: str
) -> None:
    given = {"meter": asked["meter"], "month": OCTOBER} | typed
    shown = visit(local, PAGE, cookie(local), params=given).text
    assert f"<dd>{total}</dd>" in shown


def test_what_is_wrong_is_said_and_nothing_is_lost(
    local: LocalServer, asked: dict[str, str]
) -> None:
    held = cookie(local)
    for more, sentence in (
        ({}, "unit_amount"),
        ({"unit_amount": "5", "currency": "xyz"}, "Invalid currency: xyz."),
        ({"unit_amount": "5", "multiplier": "many"}, "multiplier"),
        ({"model": "volume", "tiers": "5 1\n3 1\ninf 1"}, "Each tier must end above the one"),
        ({"price": "price_nope"}, "No such price"),
        ({"meter": "mtr_nope", "unit_amount": "5"}, "No such billing meter"),
    ):
        page = visit(local, PAGE, held, params={"meter": asked["meter"]} | more)
        assert page.status_code == 200
        assert sentence in page.text, more
        assert more.get("tiers", "") in page.text
        assert "would have cost" not in page.text


def test_a_month_that_is_none_is_the_last_one(local: LocalServer, asked: dict[str, str]) -> None:
    for month in ("", "soon", "0"):
        given = {"price": asked["price"], "month": month}
        assert "October 2026 would" in visit(local, PAGE, cookie(local), params=given).text
    march = {"price": asked["price"], "month": str(at("2026-03-01") // 1000)}
    assert "Nothing was used in March 2026" in visit(local, PAGE, cookie(local), params=march).text
