"""The page of an invoice for whoever pays it: who has its address, and nobody else."""

from urllib.parse import urlsplit

from meterhouse.ledger.accounts import rename_account
from tests.api.local import LocalServer
from tests.dashboard.selling import sell
from tests.dashboard.test_invoices import LINES, OWED

# The place of a part of the address, and what stands there instead.
GUESSES = (
    (2, "acct_nobody"),
    (2, "%C3%A9"),
    (2, "%0A"),
    (3, "live"),
    (3, "odd"),
    (4, "in_nope"),
    (4, "%2E%2E"),
    (5, "view_guess"),
    (5, "None"),
    (5, "%C3%A9"),
    (5, "%00"),
)


def test_whoever_has_the_address_looks_and_prints(local: LocalServer) -> None:
    invoice = sell(local).invoice
    page = local.request("GET", urlsplit(invoice["hosted_invoice_url"]).path)
    assert page.status_code == 200
    assert OWED in page.text
    assert LINES[2] in page.text
    assert "<b>Ada" not in page.text
    assert "set-cookie" not in page.headers
    assert page.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert "<script" not in page.text.partition("</head>")[2]
    pdf = local.request("GET", urlsplit(invoice["invoice_pdf"]).path)
    assert pdf.headers["content-type"] == "application/pdf"
    assert pdf.content.startswith(b"%PDF")


def test_nobody_finds_one_by_guessing(local: LocalServer) -> None:
    parts = urlsplit(sell(local).invoice["hosted_invoice_url"]).path.split("/")
    for place, other in GUESSES:
        guess = [other if number == place else part for number, part in enumerate(parts)]
        for more in ((), ("pdf",)):
            answer = local.request("GET", "/".join((*guess, *more)))
            assert answer.status_code == 404, guess
            assert "Ada" not in answer.text


def test_a_draft_has_no_address(local: LocalServer) -> None:
    sold = sell(local)
    draft = local.create("/v1/invoices", data={"customer": sold.customer})
    assert draft["hosted_invoice_url"] is None
    account = local.request("GET", "/v1/account").json()["id"]
    for secret in ("None", "", "x"):
        path = f"/invoice/{account}/test/{draft['id']}/{secret}"
        assert local.request("GET", path).status_code == 404


def test_seller_and_customer_are_named_as_they_were(local: LocalServer) -> None:
    """An account may have another name by now; a finalized invoice has the one of before."""
    account = local.request("GET", "/v1/account").json()["id"]
    stores = local.meterhouse.services.stores
    local.run(stores.write(rename_account, account, "House & <i>Sons</i>"))
    sold = sell(local)
    local.run(stores.write(rename_account, account, "Another House"))
    assert sold.invoice["account_name"] == "House & <i>Sons</i>"
    page = local.request("GET", urlsplit(sold.invoice["hosted_invoice_url"]).path).text
    assert "House &amp; &lt;i&gt;Sons&lt;/i&gt;" in page
    assert "&lt;b&gt;Ada&lt;/b&gt; &amp; Co." in page
    assert "Another House" not in page
    asked = {"subscription": sold.subscription}
    preview = local.create("/v1/invoices/create_preview", data=asked)
    assert preview["account_name"] == "Another House"
