"""Invoices over HTTP: statuses and what may be done in each, events, filters, old shapes."""

import json
import subprocess
import sys
from typing import Any

import httpx
import pytest
import stripe

from tests.api.samples import error_of, make_customer
from tests.api.test_sdks import STRIPE_11
from tests.server import TEST_KEY, Server

FINAL = "This invoice is already finalized, you can't re-finalize a non-draft invoice."
NOT_OPEN = "You can only pass in open invoices. This invoice isn't open."
NOT_A_DRAFT = "You can only delete draft invoices."
NOT_SENDABLE = (
    "This invoice cannot be sent right now. Please contact us via "
    "https://support.stripe.com/contact with details, so we can help."
)
VOID_OF_PAID = "Invoices with `paid` payments cannot be voided."
OUT_OF_BAND = {"paid_out_of_band": "true"}


@pytest.fixture
def customer(client: stripe.StripeClient) -> str:
    return make_customer(client)


def item(http: httpx.Client, customer: str, amount: int = 500, **more: Any) -> dict[str, Any]:
    data = {"customer": customer, "amount": amount, "currency": "usd", **more}
    return made(http.post("/v1/invoiceitems", data=data))


def draft(http: httpx.Client, customer: str, amount: int = 500, **more: Any) -> dict[str, Any]:
    """Make a draft with one item on it."""
    invoice = made(http.post("/v1/invoices", data={"customer": customer, **more}))
    if amount:
        item(http, customer, amount, invoice=invoice["id"])
    return shown(http, invoice["id"])


def shown(http: httpx.Client, invoice: str) -> dict[str, Any]:
    return made(http.get(f"/v1/invoices/{invoice}"))


def made(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def act(http: httpx.Client, invoice: str, action: str, **data: str) -> httpx.Response:
    if action == "delete":
        return http.delete(f"/v1/invoices/{invoice}")
    return http.post(f"/v1/invoices/{invoice}/{action}", data=data)


def in_status(http: httpx.Client, customer: str, status: str) -> str:
    """Return an invoice that has come to be in a status."""
    invoice: str = draft(http, customer, collection_method="send_invoice", days_until_due="30")[
        "id"
    ]
    ways: dict[str, list[tuple[str, dict[str, str]]]] = {
        "draft": [],
        "open": [("finalize", {})],
        "paid": [("finalize", {}), ("pay", OUT_OF_BAND)],
        "uncollectible": [("finalize", {}), ("mark_uncollectible", {})],
        "void": [("finalize", {}), ("void", {})],
    }
    for action, data in ways[status]:
        made(act(http, invoice, action, **data))
    return invoice


def told(client: stripe.StripeClient, invoice: str) -> list[str]:
    """Return what is told of an invoice, oldest first."""
    events = client.v1.events.list({"limit": 100, "type": "invoice.*"}).data
    return [
        event.type.removeprefix("invoice.")
        for event in reversed(events)
        if event.data.object.to_dict().get("id") == invoice
    ]


# What an action makes of an invoice in each status: another status, or a refusal.
TABLE: dict[str, dict[str, str]] = {
    "finalize": {
        "draft": "open",
        "open": FINAL,
        "paid": FINAL,
        "uncollectible": FINAL,
        "void": FINAL,
    },
    "pay": {
        "draft": "paid",
        "open": "paid",
        "paid": "Invoice is already paid",
        "uncollectible": "paid",
        "void": NOT_OPEN,
    },
    "void": {
        "draft": NOT_OPEN,
        "open": "void",
        "paid": VOID_OF_PAID,
        "uncollectible": "void",
        "void": NOT_OPEN,
    },
    "mark_uncollectible": {
        "draft": NOT_OPEN,
        "open": "uncollectible",
        "paid": NOT_OPEN,
        "uncollectible": "This invoice has already been marked uncollectible.",
        "void": NOT_OPEN,
    },
    "send": {
        "draft": "open",
        "open": "open",
        "paid": NOT_SENDABLE,
        "uncollectible": "uncollectible",
        "void": NOT_SENDABLE,
    },
    "delete": {
        "draft": "deleted",
        "open": NOT_A_DRAFT,
        "paid": NOT_A_DRAFT,
        "uncollectible": NOT_A_DRAFT,
        "void": NOT_A_DRAFT,
    },
}
STATUSES = frozenset(TABLE["finalize"])
# What is told of what an action did.
TELLS = {
    "finalize": {"draft": ["finalized"]},
    "pay": {
        "draft": ["finalized", "paid", "payment_succeeded"],
        "open": ["paid", "payment_succeeded"],
        "uncollectible": ["paid", "payment_succeeded"],
    },
    "void": {"open": ["voided"], "uncollectible": ["voided"]},
    "mark_uncollectible": {"open": ["marked_uncollectible"]},
    "send": {"draft": ["finalized", "sent"], "open": ["sent"], "uncollectible": ["sent"]},
    "delete": {"draft": ["deleted"]},
}


@pytest.mark.parametrize("status", sorted(STATUSES))
@pytest.mark.parametrize("action", sorted(TABLE))
def test_what_may_be_done(
    client: stripe.StripeClient, http: httpx.Client, customer: str, action: str, status: str
) -> None:
    expected = TABLE[action][status]
    invoice = in_status(http, customer, status)
    before, told_before = shown(http, invoice), told(client, invoice)
    answer = act(http, invoice, action, **(OUT_OF_BAND if action == "pay" else {}))
    if expected == "deleted":
        assert made(answer) == {"id": invoice, "object": "invoice", "deleted": True}
        assert http.get(f"/v1/invoices/{invoice}").status_code == 404
    elif expected in STATUSES:
        assert made(answer)["status"] == expected
        assert shown(http, invoice) == answer.json()
    else:
        error = error_of(answer, 400)
        assert error["message"] == expected
        assert "code" not in error
        assert shown(http, invoice) == before
    assert told(client, invoice) == [*told_before, *TELLS[action].get(status, [])]


# The parameter by which Stripe names an id that no invoice has.
MISSING = [
    ("GET", "", "invoice"),
    ("DELETE", "", "invoice"),
    ("GET", "/lines", "invoice"),
    ("POST", "/send", "invoice"),
    ("POST", "/add_lines", "invoice"),
    ("POST", "", "id"),
    ("POST", "/finalize", "id"),
    ("POST", "/pay", "id"),
    ("POST", "/void", "id"),
    ("POST", "/mark_uncollectible", "id"),
    ("POST", "/update_lines", "id"),
    ("POST", "/remove_lines", "id"),
]


@pytest.mark.parametrize(("method", "path", "param"), MISSING)
def test_an_unknown_invoice(http: httpx.Client, method: str, path: str, param: str) -> None:
    lines = {"lines[0][id]": "il_1", "lines[0][behavior]": "delete", "lines[0][amount]": "1"}
    data: dict[str, str] = {}
    if path == "/add_lines":
        data = {"lines[0][amount]": "1"}
    elif path == "/update_lines":
        data = {"lines[0][id]": "il_1"}
    elif path == "/remove_lines":
        data = {name: lines[name] for name in ("lines[0][id]", "lines[0][behavior]")}
    answer = http.request(method, f"/v1/invoices/in_x{path}", data=data or None)
    error = error_of(answer, 404)
    assert (error["message"], error["param"]) == ("No such invoice: 'in_x'", param)
    assert error["code"] == "resource_missing"


def test_from_draft_to_paid(client: stripe.StripeClient, customer: str) -> None:
    """The official SDK's way, as a team would go it."""
    v1 = client.v1
    v1.invoice_items.create({"customer": customer, "amount": 1_500, "currency": "usd"})
    v1.invoice_items.create({"customer": customer, "amount": -300, "currency": "usd"})
    invoice = v1.invoices.create(
        {"customer": customer, "pending_invoice_items_behavior": "include"}
    )
    assert (invoice.status, invoice.total, invoice.amount_due) == ("draft", 1_200, 1_200)
    assert [line.amount for line in invoice.lines.data] == [-300, 1_500]  # newest first
    assert (invoice.billing_reason, invoice.auto_advance, invoice.number) == (
        "manual",
        False,
        None,
    )
    assert (invoice.automatically_finalizes_at, invoice.next_payment_attempt) == (None, None)
    assert invoice.period_start == invoice.period_end == invoice.created
    assert (invoice.parent, invoice.customer_tax_exempt) == (None, "none")
    invoice = v1.invoices.finalize_invoice(invoice.id)
    prefix = v1.customers.retrieve(customer)["invoice_prefix"]
    assert (invoice.status, invoice.number) == ("open", f"{prefix}-0001")
    assert (invoice.starting_balance, invoice.ending_balance) == (0, 0)
    assert invoice.effective_at == invoice.status_transitions.finalized_at
    with pytest.raises(stripe.InvalidRequestError, match="No money moves on this server"):
        v1.invoices.pay(invoice.id)
    invoice = v1.invoices.pay(invoice.id, {"paid_out_of_band": True})
    assert (invoice.status, invoice.amount_paid, invoice.amount_remaining) == ("paid", 1_200, 0)
    assert (invoice.attempted, invoice.attempt_count) == (False, 0)
    assert invoice.amount_paid_off_stripe == 1_200
    assert told(client, invoice.id) == ["created", "finalized", "paid", "payment_succeeded"]
    assert [item.invoice for item in v1.invoice_items.list({"pending": False}).data] == [
        invoice.id
    ] * 2
    assert v1.invoice_payments.list({"invoice": invoice.id}).data == []
    second = v1.invoices.create({"customer": customer})
    assert v1.invoices.finalize_invoice(second.id).number == f"{prefix}-0002"


def test_nothing_to_pay(client: stripe.StripeClient, http: httpx.Client, customer: str) -> None:
    invoice = made(act(http, draft(http, customer, 0)["id"], "finalize"))
    assert (invoice["status"], invoice["attempted"], invoice["attempt_count"]) == ("paid", True, 0)
    transitions = invoice["status_transitions"]
    assert transitions["paid_at"] == transitions["finalized_at"]
    by_pay = made(act(http, draft(http, customer, 0)["id"], "pay"))
    assert by_pay["status"] == "paid"
    refused = draft(http, customer)
    error = error_of(act(http, refused["id"], "pay"), 400)
    assert error["param"] == "paid_out_of_band"
    assert shown(http, refused["id"]) == refused  # nor is it finalized
    assert told(client, refused["id"]) == ["created", "updated"]


def test_a_balance_goes_in(http: httpx.Client, customer: str) -> None:
    made(http.post(f"/v1/customers/{customer}", data={"balance": "-700"}))
    first = made(act(http, draft(http, customer, 500)["id"], "finalize"))
    assert (first["status"], first["amount_due"], first["total"]) == ("paid", 0, 500)
    assert (first["starting_balance"], first["ending_balance"]) == (-700, -200)
    second = made(act(http, draft(http, customer, 1_012)["id"], "finalize"))
    assert (second["amount_due"], second["starting_balance"]) == (812, -200)
    made(act(http, second["id"], "void"))
    assert made(http.get(f"/v1/customers/{customer}"))["balance"] == -200


def test_a_draft_can_be_changed(
    client: stripe.StripeClient, http: httpx.Client, customer: str
) -> None:
    invoice = draft(http, customer)["id"]
    data = {
        "description": "Thanks",
        "footer": "Bye",
        "metadata[a]": "b",
        "collection_method": "send_invoice",
        "days_until_due": "10",
        "number": "X-7",
        "custom_fields[0][name]": "PO",
        "custom_fields[0][value]": "7",
        "statement_descriptor": "ACME",
        "payment_settings[payment_method_types][]": "card",
    }
    changed = made(http.post(f"/v1/invoices/{invoice}", data=data))
    assert (changed["description"], changed["footer"]) == ("Thanks", "Bye")
    assert (changed["metadata"], changed["number"]) == ({"a": "b"}, "X-7")
    assert changed["due_date"] == changed["created"] + 10 * 86_400
    assert changed["custom_fields"] == [{"name": "PO", "value": "7"}]
    assert changed["statement_descriptor"] == "ACME"
    assert changed["payment_settings"] == {
        "default_mandate": None,
        "payment_method_options": None,
        "payment_method_types": ["card"],
    }
    event = client.v1.events.list({"type": "invoice.updated", "limit": 1}).data[0]
    assert event.data.previous_attributes is not None
    assert event.data.previous_attributes["footer"] is None
    again = http.post(f"/v1/invoices/{invoice}", data={"footer": "", "description": ""})
    assert (made(again)["footer"], again.json()["description"]) == (None, None)
    other = draft(http, customer)["id"]
    error = error_of(http.post(f"/v1/invoices/{other}", data={"number": "X-7"}), 400)
    assert error["param"] == "number"
    assert made(act(http, invoice, "finalize"))["number"] == "X-7"


def test_when_a_draft_is_finalized_of_itself(http: httpx.Client, customer: str) -> None:
    invoice = draft(http, customer, auto_advance="true")
    created, path = invoice["created"], f"/v1/invoices/{invoice['id']}"
    assert invoice["automatically_finalizes_at"] == created + 3_601
    assert invoice["next_payment_attempt"] == created + 3_600
    chosen = created + 90_000
    later = made(http.post(path, data={"automatically_finalizes_at": str(chosen)}))
    assert later["automatically_finalizes_at"] == chosen
    off = made(http.post(path, data={"auto_advance": "false"}))
    assert (off["auto_advance"], off["automatically_finalizes_at"]) == (False, None)
    assert off["next_payment_attempt"] is None
    on = made(http.post(path, data={"auto_advance": "true"}))
    assert on["automatically_finalizes_at"] == created + 3_601


WRONG = [
    ({"due_date": "4000000000"}, "due_date"),
    ({"days_until_due": "3"}, "days_until_due"),
    ({"collection_method": "send_invoice"}, None),
    ({"collection_method": "send_invoice", "due_date": "7"}, "due_date"),
    (
        {"collection_method": "send_invoice", "due_date": "4000000000", "days_until_due": "3"},
        "days_until_due",
    ),
    ({"automatically_finalizes_at": "7"}, "automatically_finalizes_at"),
    ({"automatically_finalizes_at": "9000000000"}, "automatically_finalizes_at"),
    (
        {"automatically_finalizes_at": "4000000000", "auto_advance": "false"},
        "automatically_finalizes_at",
    ),
    ({"discounts[0][coupon]": "c"}, "discounts"),
    ({"default_tax_rates[]": "txr_1"}, "default_tax_rates"),
    ({"default_payment_method": "pm_1"}, "default_payment_method"),
    ({"application_fee_amount": "1"}, "application_fee_amount"),
    ({"shipping_cost[shipping_rate]": "shr_1"}, "shipping_cost"),
    ({"automatic_tax[enabled]": "true"}, "automatic_tax[enabled]"),
    ({"issuer[type]": "account"}, "issuer[type]"),
    ({"number": "A" * 27}, "number"),
    ({"invented": "1"}, "invented"),
]


@pytest.mark.parametrize(("data", "param"), WRONG, ids=str)
def test_what_an_invoice_cannot_be(
    http: httpx.Client, customer: str, data: dict[str, str], param: str | None
) -> None:
    error = error_of(http.post("/v1/invoices", data={"customer": customer, **data}), 400)
    assert error.get("param") == param
    invoice = draft(http, customer)
    error = error_of(http.post(f"/v1/invoices/{invoice['id']}", data=data), 400)
    assert error.get("param") == param
    assert shown(http, invoice["id"]) == invoice


@pytest.mark.parametrize(
    ("data", "status", "param"),
    [
        ({}, 400, "customer"),
        ({"customer": "cus_nope"}, 400, "customer"),
        ({"subscription": "sub_nope"}, 400, "subscription"),
        ({"currency": "xyz"}, 400, "currency"),
        (
            {"from_invoice[invoice]": "in_1", "from_invoice[action]": "revision"},
            400,
            "from_invoice",
        ),
        ({"customer_account": "acct_1"}, 400, "customer_account"),
    ],
    ids=str,
)
def test_what_cannot_be_made(
    http: httpx.Client, customer: str, data: dict[str, str], status: int, param: str
) -> None:
    own = {} if not data else {"customer": customer}
    error = error_of(http.post("/v1/invoices", data={**own, **data}), status)
    assert error["param"] == param


def test_a_finalized_invoice_keeps_what_it_says(http: httpx.Client, customer: str) -> None:
    invoice = in_status(http, customer, "open")
    path = f"/v1/invoices/{invoice}"
    for name, value in (
        ("description", "New"),
        ("footer", "New"),
        ("number", "N-1"),
        ("due_date", "4000000000"),
        ("collection_method", "charge_automatically"),
    ):
        error = error_of(http.post(path, data={name: value}), 400)
        assert error["message"] == "Finalized invoices can't be updated in this way"
        assert error["param"] == name
    changed = made(http.post(path, data={"metadata[a]": "b", "auto_advance": "true"}))
    assert (changed["metadata"], changed["auto_advance"]) == ({"a": "b"}, True)
    made(act(http, invoice, "void"))
    assert made(http.post(path, data={"metadata[a]": ""}))["metadata"] == {}
    assert error_of(http.post(path, data={"auto_advance": "true"}), 400)["param"] == "auto_advance"


def test_only_what_is_sent_can_be_sent(http: httpx.Client, customer: str) -> None:
    error = error_of(act(http, draft(http, customer)["id"], "send"), 400)
    assert "collection method is 'send_invoice'" in error["message"]


def test_lists_and_searches(client: stripe.StripeClient, http: httpx.Client, customer: str) -> None:
    one = in_status(http, customer, "open")
    plan: dict[str, Any] = {"metadata[plan]": "gold"}
    other = draft(http, make_customer(client), **plan)["id"]
    two = draft(http, customer, 900)["id"]

    def listed(**params: Any) -> list[str]:
        page = made(http.get("/v1/invoices", params=params))
        return [row["id"] for row in page["data"]]

    due_date = shown(http, one)["due_date"]
    assert listed() == [two, other, one]
    assert listed(customer=customer) == [two, one]
    assert listed(status="draft") == [two, other]
    assert listed(collection_method="send_invoice") == [one]
    assert listed(**{"due_date[gte]": due_date}) == [one]
    assert listed(**{"due_date[lt]": due_date}) == []
    assert listed(subscription="sub_nope") == []
    assert listed(limit=1) == [two]
    assert listed(limit=1, starting_after=two) == [other]
    assert listed(**{"created[gt]": 4_000_000_000}) == []
    error = error_of(http.get("/v1/invoices", params={"starting_after": "in_nope"}), 400)
    assert error["param"] == "starting_after"
    error = error_of(http.get("/v1/invoices", params={"status": "closed"}), 400)
    assert error["param"] == "status"

    def found(query: str) -> list[str]:
        return [row.id for row in client.v1.invoices.search({"query": query}).data]

    assert found(f'customer:"{customer}"') == [two, one]
    assert found(f'customer:"{customer}" AND status:"open"') == [one]
    assert found("total>500") == [two]
    assert found("total<=500 AND -status:'draft'") == [one]
    assert found('metadata["plan"]:"gold" OR total:900') == [two, other]
    assert found(f'number:"{shown(http, one)["number"]}"') == [one]
    assert found("created>4000000000") == []
    assert found("number:null") == [two, other]


def test_the_customer_is_expanded(client: stripe.StripeClient, customer: str) -> None:
    invoice = client.v1.invoices.create({"customer": customer, "expand": ["customer", "payments"]})
    assert isinstance(invoice.customer, stripe.Customer)
    assert invoice.payments is not None
    assert invoice.payments.data == []
    page = client.v1.invoices.list({"expand": ["data.customer"]})
    assert isinstance(page.data[0].customer, stripe.Customer)


def test_a_request_is_answered_once(http: httpx.Client, customer: str) -> None:
    data = {"customer": customer, "pending_invoice_items_behavior": "include"}
    headers = {"Idempotency-Key": f"once-{customer}"}
    item(http, customer)
    first = made(http.post("/v1/invoices", data=data, headers=headers))
    again = http.post("/v1/invoices", data=data, headers=headers)
    assert (made(again), again.headers["idempotent-replayed"]) == (first, "true")
    path = f"/v1/invoices/{first['id']}/finalize"
    headers = {"Idempotency-Key": f"final-{customer}"}
    final = made(http.post(path, headers=headers))
    assert made(http.post(path, headers=headers)) == final


OLD_PYTHON = """
import json, sys
import stripe

stripe.api_base, stripe.api_key, account, customer = sys.argv[1:]
here = {"stripe_account": account}
stripe.InvoiceItem.create(customer=customer, amount=500, currency="usd", **here)
invoice = stripe.Invoice.create(
    customer=customer, pending_invoice_items_behavior="include", **here
)
open_ = stripe.Invoice.finalize_invoice(invoice.id, **here)
paid = stripe.Invoice.pay(invoice.id, paid_out_of_band=True, **here)
line = paid.lines.data[0]
print(json.dumps([
    open_.paid, paid.paid, paid.paid_out_of_band, paid.subscription, paid.charge,
    line.type, line.price, line.amount, line.unit_amount_excluding_tax,
    line.proration, "parent" in paid, "pricing" in line,
]))
"""


def test_an_old_client_sees_old_shapes(server: Server, account: str, customer: str) -> None:
    if not STRIPE_11.exists():
        pytest.skip("make .cache/clients installs it")
    command = [sys.executable, "-W", "ignore", "-c", OLD_PYTHON, server.url, TEST_KEY]
    done = subprocess.run(
        [*command, account, customer],
        env={"PYTHONPATH": str(STRIPE_11)},
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        False, True, True, None, None, "invoiceitem", None, 500, "500", False, False, False,
    ]  # fmt: skip
