import re

import pytest

from tests.api.local import LocalServer
from tests.dashboard.selling import sell
from tests.dashboard.test_prices import send
from tests.dashboard.test_site import cookie, visit

LINES = (
    "1000 token × Tokens &lt;i&gt;x&lt;/i&gt; (Tier 1 at $0.00 / month)",
    "Tokens &lt;i&gt;x&lt;/i&gt; (Tier 1 at $9.00 / month)",
    "62 token × Tokens &lt;i&gt;x&lt;/i&gt; (Tier 2 at $0.036 / month)",
)
OWED = "$11.23"  # 900 and 62 at 3.6, which are 223.2


def test_an_invoice_is_shown_as_it_is_printed(local: LocalServer) -> None:
    sold, held = sell(local), cookie(local)
    page = visit(local, f"/billing/invoices/{sold.invoice['id']}", held).text
    for line in LINES:
        assert line in page
    assert page.count(OWED) == 3
    assert "&lt;b&gt;Ada&lt;/b&gt; &amp; Co." in page
    assert "<b>Ada" not in page
    listed = visit(local, "/billing/invoices", held).text
    assert sold.invoice["number"] in listed
    assert OWED in listed


def test_invoices_are_searched(local: LocalServer) -> None:
    sold, held = sell(local), cookie(local)
    number = sold.invoice["number"]
    for query, found in (
        ({"status": "open"}, True),
        ({"status": "void"}, False),
        ({"customer": sold.customer}, True),
        ({"subscription": sold.subscription, "status": "open"}, True),
        ({"after": "in_nope"}, False),
        ({"status": "odd"}, False),
    ):
        page = visit(local, "/billing/invoices", held, params=query)
        assert page.status_code == 200
        assert (number in page.text) == found, query


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        (["pay"], "paid"),
        (["void"], "void"),
        (["mark_uncollectible"], "uncollectible"),
        (["mark_uncollectible", "pay"], "paid"),
    ],
)
def test_what_became_of_an_invoice_is_said(
    local: LocalServer, changes: list[str], status: str
) -> None:
    sold, held = sell(local), cookie(local)
    path = f"/billing/invoices/{sold.invoice['id']}"
    for change in changes:
        assert (
            f'action="/dashboard/{account(local)}/test{path}/{change}"'
            in visit(local, path, held).text
        )
        send(local, held, f"{path}/{change}")
    assert sold.invoice["status"] == status
    again = send(local, held, f"{path}/{changes[-1]}")
    assert 'role="alert"' in again
    assert "no such page" in send(local, held, f"{path}/burn")


def test_a_pdf_is_kept_under_the_number_of_its_invoice(local: LocalServer) -> None:
    sold, held = sell(local), cookie(local)
    answer = visit(local, f"/billing/invoices/{sold.invoice['id']}/pdf", held)
    assert answer.content.startswith(b"%PDF")
    assert f"invoice-{sold.invoice['number']}.pdf" in answer.headers["content-disposition"]


def test_a_line_opens_to_its_usage(local: LocalServer) -> None:
    sold, held = sell(local), cookie(local)
    invoice = sold.invoice
    first, flat, second = (line["id"] for line in invoice["lines"]["data"])
    path = f"/billing/invoices/{invoice['id']}/lines"
    for line, amount in ((first, "$0.00"), (flat, "$9.00"), (second, "$2.23")):
        page = visit(local, f"{path}/{line}", held).text
        assert f"<dd>{amount}</dd>" in page
        assert re.search(r"tokens-small.*badge good\">counts", page, re.DOTALL)
        assert '"bars": [' in page
        assert "<td>large</td>" in page
        # What the groups come to is what the line comes to.
        assert "1,062" in page
    for odd in ("il_nope", "..%2f", "%00"):
        assert visit(local, f"{path}/{odd}", held).status_code == 404


def test_what_comes_next_follows_usage(local: LocalServer) -> None:
    sold, held = sell(local, "classic"), cookie(local)
    page = visit(local, f"/customers/{sold.customer}", held).text
    assert OWED in page
    assert LINES[2] in page
    assert "graduated tiers / month" in page


def test_who_is_deleted_is_told_and_the_invoices_stay(local: LocalServer) -> None:
    sold, held = sell(local), cookie(local)
    line = sold.invoice["lines"]["data"][0]["id"]
    local.request("DELETE", f"/v1/customers/{sold.customer}")
    gone = visit(local, f"/customers/{sold.customer}", held)
    assert gone.status_code == 404
    assert "is deleted" in gone.text
    for page in ("", f"/{sold.invoice['id']}", f"/{sold.invoice['id']}/lines/{line}"):
        assert visit(local, f"/billing/invoices{page}", held).status_code == 200


def test_nobody_looks_at_what_comes_next_for_nobody(local: LocalServer) -> None:
    assert visit(local, "/live/upcoming/cus_nope", cookie(local)).status_code == 404


def account(local: LocalServer) -> str:
    found: str = local.request("GET", "/v1/account").json()["id"]
    return found
