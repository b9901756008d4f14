import re

import pytest

from tests.api.local import LocalServer
from tests.dashboard.test_site import cookie, visit

FORM = {"product_name": "Tokens", "currency": "usd", "interval": "month", "model": "unit"}


def send(local: LocalServer, held: str, path: str, **form: str) -> str:
    """Send a form of the dashboard; return where it leads, or what the page says."""
    session = local.run(local.meterhouse.dashboard.sessions.read(held))
    assert session is not None
    answer = visit(local, path, held, "POST", data={"csrf": session.csrf, **form})
    return answer.headers.get("location") or answer.text


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"unit_amount": "0.036"}, "$0.00036 / month"),
        ({"unit_amount": "8", "model": "package", "package": "60"}, "$0.08 per 60 units / month"),
        ({"unit_amount": "5", "interval": "once", "meter": "none"}, "$0.05 once"),
        (
            {"model": "graduated", "tiers": "1000 - 900\r\n\r\ninf, 3.6"},
            "2 graduated tiers / month",
        ),
        ({"model": "volume", "tiers": "inf 1", "interval": "year"}, "1 volume tier / year"),
    ],
)
def test_a_price_is_made_by_the_form(local: LocalServer, more: dict[str, str], told: str) -> None:
    held, meter = cookie(local), local.meter()
    chosen = FORM | {"meter": meter} | more
    if chosen["meter"] == "none":
        del chosen["meter"]
    made = send(local, held, "/billing/prices", **chosen)
    page = visit(local, f"/billing/prices/{made.rpartition('/')[2]}", held)
    assert page.status_code == 200
    assert f'<span class="soft">{told}</span>' in page.text
    assert told in visit(local, "/billing/prices", held).text


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({}, "Prices require an `unit_amount` or `unit_amount_decimal` parameter to be set."),
        ({"unit_amount": "5", "currency": "xyz"}, "Invalid currency: xyz."),
        (
            {"model": "volume", "tiers": "5 1\n3 1\ninf 1"},
            "Each tier must end above the one before it.",
        ),
        ({"model": "graduated", "tiers": "many tiers"}, "many"),
    ],
)
def test_what_is_wrong_with_a_price_is_said_and_nothing_is_lost(
    local: LocalServer, more: dict[str, str], sentence: str
) -> None:
    page = send(local, cookie(local), "/billing/prices", **(FORM | more))
    assert sentence in page
    assert 'name="product_name" maxlength="250" placeholder="AI tokens" value="Tokens"' in page
    assert more.get("tiers", "") in page


def test_a_price_shows_what_a_usage_comes_to(local: LocalServer) -> None:
    held = cookie(local)
    form = FORM | {
        "product_name": "<script>alert(1)</script>",
        "unit_label": '"><b>',
        "model": "graduated",
        "tiers": "1000 - 900\ninf 3.6",
        "meter": local.meter(),
    }
    path = "/billing/prices/" + send(local, held, "/billing/prices", **form).rpartition("/")[2]
    page = visit(local, path, held, params={"usage": "1,031"})
    assert '<div class="total">$10.12</div>' in page.text
    assert "No usage at all costs $9.00" in page.text
    assert "<script>alert" not in page.text
    assert "31 &#34;&gt;&lt;b&gt; × &lt;script&gt;" in page.text
    for usage in ("soon", "9" * 5_000, "NaN", "-0"):
        page = visit(local, path, held, params={"usage": usage, "currency": "zzz"})
        assert page.status_code == 200
        assert ("A usage is a number" in page.text) == (usage != "-0")
    assert visit(local, "/billing/prices/nope", held).status_code == 404


def test_a_price_is_archived_and_taken_up_again(local: LocalServer) -> None:
    held = cookie(local)
    made = send(local, held, "/billing/prices", **FORM, unit_amount="5")
    id_ = made.rpartition("/")[2]
    for change, active in (("archive", False), ("activate", True)):
        send(local, held, f"/billing/prices/{id_}/{change}")
        assert local.request("GET", f"/v1/prices/{id_}").json()["active"] is active
    assert "no such page" in send(local, held, f"/billing/prices/{id_}/burn")


def test_prices_are_looked_through(local: LocalServer) -> None:
    held = cookie(local)
    for number in range(51):
        local.create(
            "/v1/prices",
            data={"currency": "usd", "unit_amount": "1", "product_data[name]": f"No {number:02}"},
        )
    first = visit(local, "/billing/prices", held).text
    assert ("No 50" in first, "No 00</a>" in first) == (True, False)
    older = re.search(r"after=(price_\w+)", first)
    assert older is not None
    assert "No 00</a>" in visit(local, "/billing/prices", held, params={"after": older[1]}).text
