import re
from typing import Any

from meterhouse import limits
from tests.api.local import DAY, NOW, LocalServer
from tests.dashboard.selling import sell
from tests.dashboard.test_prices import send
from tests.dashboard.test_site import cookie, visit

MINUS = "\N{MINUS SIGN}"
FORM = {"currency": "usd", "amount": "2500", "category": "paid", "name": "<b>Prepaid</b>"}


def grant(local: LocalServer, held: str, customer: str, **more: str) -> str:
    """Grant credit by the form; return the id of the grant."""
    made = send(local, held, "/billing/credits", **(FORM | {"customer": customer} | more))
    assert "/billing/credits/credgr_" in made, made
    return made.rpartition("/")[2]


def told(page: str) -> str:
    """Return what a page says, without what it is made of."""
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", page))


def test_a_grant_burns_down(local: LocalServer) -> None:
    held, sold = cookie(local), sell(local, mode="classic")
    id_ = grant(local, held, sold.customer)
    page = visit(local, f"/billing/credits/{id_}", held).text
    assert "<b>Prepaid" not in page
    assert '<div class="total">$13.77</div>' in page
    assert "$13.77 left $11.23 in open periods" in told(page)
    assert "At this pace it is used up on 3 Dec 2026" in told(page)
    listed = told(visit(local, "/billing/credits", held).text)
    assert "$25.00 all metered prices 21 Nov 2026 never in effect" in listed
    mine = told(visit(local, "/billing/credits", held, params={"customer": sold.customer}).text)
    assert "Left of USD $13.77" in mine
    assert "Pace $1.12 of usage a day" in mine
    assert f"Granted {id_} — $25.00" in mine
    shown = told(visit(local, f"/customers/{sold.customer}", held).text)
    assert "$13.77 left $11.23 in open periods" in shown


def test_a_grant_that_lasts_longer_than_calendars(local: LocalServer) -> None:
    held, sold = cookie(local), sell(local, mode="classic")
    id_ = grant(local, held, sold.customer, amount=str(limits.PRICE_AMOUNT_LIMIT))
    for path in (f"/billing/credits/{id_}", f"/customers/{sold.customer}"):
        page = visit(local, path, held)
        assert page.status_code == 200
        assert "At this pace it is not used up" in told(page.text)


def test_what_paid_for_an_invoice_is_told(local: LocalServer) -> None:
    held, sold = cookie(local), sell(local, mode="classic")
    clock = local.create("/v1/test_helpers/test_clocks", data={"frozen_time": NOW})["id"]
    customer = local.create("/v1/customers", data={"test_clock": clock})["id"]
    id_ = grant(local, held, customer, price=sold.price)
    items = {"customer": customer, "items[0][price]": sold.price}
    local.create("/v1/subscriptions", data=items)
    form = {"frozen_time": NOW + 32 * DAY}
    local.create(f"/v1/test_helpers/test_clocks/{clock}/advance", data=form)
    path = f"/v1/test_helpers/test_clocks/{clock}"
    while local.request("GET", path).json()["status"] != "ready":
        local.later(1)
    page = told(visit(local, f"/billing/credits/{id_}", held).text)
    assert re.search(r"Paid for an invoice in_\w+ " + MINUS + r"\$9.00", page)
    assert "$9.00 spent" in page
    assert "2 graduated tiers / month" in page


def test_a_grant_is_taken_back_or_expires(local: LocalServer) -> None:
    held, customer = cookie(local), local.customer()
    for change, state, kind in (
        ("void", "taken back", "Taken back"),
        ("expire", "expired", "Expired"),
    ):
        path = f"/billing/credits/{grant(local, held, customer)}"
        assert send(local, held, f"{path}/{change}").endswith(path)
        page = visit(local, path, held).text
        assert f'<span class="badge">{state}</span>' in page
        assert "data-confirm" not in page
        assert f"{kind} — {MINUS}$25.00" in told(page)
        refused = send(local, held, f"{path}/{change}")
        assert "has expired or was voided already." in refused
    assert "no such page" in send(local, held, f"{path}/burn")
    assert visit(local, "/billing/credits/nope", held).status_code == 404
    coming = grant(local, held, customer, effective_at="2026-12-01T00:00", priority="7")
    page = visit(local, f"/billing/credits/{coming}", held).text
    assert '<span class="badge warn">not yet</span>' in page


def test_what_is_wrong_with_a_grant_is_said_and_nothing_is_lost(local: LocalServer) -> None:
    held, customer = cookie(local), local.customer()
    wrong: list[tuple[dict[str, str], str]] = [
        ({"amount": "many"}, "Invalid integer: many"),
        ({"customer": "cus_nobody"}, "No such customer: &#39;cus_nobody&#39;"),
        ({"expires_at": "soon"}, "soon"),
        ({"expires_at": "2020-01-01T00:00"}, "`expires_at` must be"),
    ]
    for more, sentence in wrong:
        page = send(local, held, "/billing/credits", **(FORM | {"customer": customer} | more))
        assert sentence in page
        assert 'value="&lt;b&gt;Prepaid&lt;/b&gt;"' in page
    page = visit(local, "/billing/credits", held, params={"customer": "cus_nobody"}).text
    assert "No such customer" in page


def test_grants_are_looked_through(local: LocalServer) -> None:
    held, customer = cookie(local), local.customer()
    for number in range(51):
        data: dict[str, Any] = {
            "customer": customer,
            "name": f"No {number:02}",
            "amount[type]": "monetary",
            "amount[monetary][currency]": "usd",
            "amount[monetary][value]": "1",
            "category": "paid",
            "applicability_config[scope][price_type]": "metered",
        }
        local.create("/v1/billing/credit_grants", data=data)
    first = visit(local, "/billing/credits", held).text
    assert ("No 50" in first, "No 00</a>" in first) == (True, False)
    older = re.search(r"after=(credgr_\w+)", first)
    assert older is not None
    assert "No 00</a>" in visit(local, "/billing/credits", held, params={"after": older[1]}).text
