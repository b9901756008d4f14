"""What becomes of an invoice: numbers, balances, statuses, and events in their order."""

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from meterhouse.billing.invoice import Invoice, Line
from meterhouse.invoicing import finalize as room
from meterhouse.invoicing.create import create_invoice
from meterhouse.invoicing.posting import Posting, posted
from meterhouse.ledger import invoice_lines, invoice_segments, invoices
from meterhouse.ledger.announce import Cause
from meterhouse.ledger.customers import Customer, find_customer, update_customer
from meterhouse.ledger.engine import Ledger, open_ledger
from meterhouse.metering.model import Scope
from meterhouse.render.invoice import render_invoice
from tests.invoicing.samples import (
    NOW,
    a_line,
    a_segment,
    an_invoice,
    events_of,
    scope_of_tests,
    stock,
)

Change = Callable[[Posting, Cause, Invoice, int], Invoice]


@pytest.fixture
def scope(ledger: Ledger) -> Scope:
    scope = scope_of_tests(ledger)
    stock(ledger, scope.id, invoice_prefix="DF67D6F2")
    return scope


def draft(ledger: Ledger, scope: Scope, amount: int = 1_012, **changes: Any) -> Invoice:
    with ledger.write() as connection:
        invoice = an_invoice(scope.id, **changes)
        with posted(connection) as posting:
            return create_invoice(posting, Cause(scope, NOW), invoice, [a_line(amount)], [])


def finalized(
    ledger: Ledger, scope: Scope, invoice: Invoice, lines: Sequence[Line] | None = None
) -> Invoice:
    with ledger.write() as connection:
        found = invoices.find_invoice(connection, scope.id, invoice.id, lock=True)
        assert found is not None
        own = invoice_lines.lines_of(connection, [invoice.id])[invoice.id]
        cause = Cause(scope, NOW, "req_1")
        with posted(connection) as posting:
            return room.finalize(posting, cause, found, own if lines is None else lines, [], NOW)


def test_a_finalized_invoice_has_an_address_that_nobody_can_guess(
    ledger: Ledger, scope: Scope
) -> None:
    pages = set()
    for number, base in enumerate(("https://b.example/m", "https://b.example/m", "")):
        invoice = draft(ledger, scope, id=f"in_page{number}")
        with ledger.write() as connection:
            found = invoices.find_invoice(connection, scope.id, invoice.id, lock=True)
            assert found is not None
            cause = Cause(scope, NOW, pages=base)
            own = invoice_lines.lines_of(connection, [invoice.id])[invoice.id]
            with posted(connection) as posting:
                done = room.finalize(posting, cause, found, own, [], NOW)
            shown = render_invoice(done, own, livemode=False)
        page, pdf = shown["hosted_invoice_url"], shown["invoice_pdf"]
        if base:
            start, _, secret = page.rpartition("/")
            assert start == f"{base}/invoice/{scope.account}/test/{invoice.id}"
            assert re.fullmatch(r"view_[\w-]{32,}", secret)
            assert pdf == f"{page}/pdf"
            pages.add(secret)
        else:
            assert (page, pdf) == (None, None)
    assert len(pages) == 2


def changed(
    ledger: Ledger, scope: Scope, change: Change, invoice: Invoice, at: int = NOW + 5_000
) -> Invoice:
    with ledger.write() as connection:
        found = invoices.find_invoice(connection, scope.id, invoice.id, lock=True)
        assert found is not None
        with posted(connection) as posting:
            return change(posting, Cause(scope, at), found, at)


def customer(ledger: Ledger, scope: Scope) -> Customer:
    with ledger.read() as connection:
        found = find_customer(connection, scope.id, "cus_1")
    assert found is not None
    return found


def owing(ledger: Ledger, scope: Scope, balance: int) -> None:
    with ledger.write() as connection:
        found = find_customer(connection, scope.id, "cus_1", lock=True)
        assert found is not None
        update_customer(connection, msgspec.structs.replace(found, balance=balance))


def told(ledger: Ledger, scope: Scope) -> list[str]:
    return [event["type"] for event in events_of(ledger, scope)]


def test_an_open_invoice(ledger: Ledger, scope: Scope) -> None:
    invoice = finalized(ledger, scope, draft(ledger, scope, finalizes_at=NOW, auto_advance=True))
    assert (invoice.status, invoice.number) == ("open", "DF67D6F2-0001")
    assert (invoice.amount_due, invoice.amount_paid) == (1_012, 0)
    assert (invoice.starting_balance, invoice.ending_balance) == (0, 0)
    assert (invoice.finalized_at, invoice.paid_at, invoice.attempted) == (NOW, None, False)
    assert (invoice.auto_advance, invoice.due) == (True, None)
    assert (customer(ledger, scope).next_invoice_sequence, customer(ledger, scope).currency) == (
        2,
        "usd",
    )
    assert told(ledger, scope) == ["invoice.created", "invoice.finalized"]
    shown = events_of(ledger, scope)[1]["data"]["object"]
    assert (shown["status"], shown["number"], shown["effective_at"]) == (
        "open",
        "DF67D6F2-0001",
        NOW // 1000,
    )
    thin = events_of(ledger, scope, "thin")[1]
    assert (thin["type"], thin["related_object"]) == (
        "v1.invoice.finalized",
        {"id": invoice.id, "type": "invoice", "url": f"/v1/invoices/{invoice.id}"},
    )


@pytest.mark.parametrize(
    ("collection", "amount", "auto_advance", "more"),
    [
        ("charge_automatically", 5, True, []),
        ("send_invoice", 5, True, ["invoice.sent"]),
        ("send_invoice", 5, False, []),
        ("send_invoice", 0, True, ["invoice.paid", "invoice.payment_succeeded"]),
        ("charge_automatically", 0, False, ["invoice.paid", "invoice.payment_succeeded"]),
        ("charge_automatically", -5, True, ["invoice.paid", "invoice.payment_succeeded"]),
    ],
)
def test_events_of_finalization(
    ledger: Ledger,
    scope: Scope,
    collection: str,
    amount: int,
    auto_advance: bool,
    more: list[str],
) -> None:
    changes: dict[str, Any] = {"collection": collection, "auto_advance": auto_advance}
    finalized(ledger, scope, draft(ledger, scope, amount, **changes))
    assert told(ledger, scope) == ["invoice.created", "invoice.finalized", *more]


def test_nothing_to_pay_is_paid(ledger: Ledger, scope: Scope) -> None:
    invoice = finalized(ledger, scope, draft(ledger, scope, 0, auto_advance=True))
    assert (invoice.status, invoice.attempted, invoice.auto_advance) == ("paid", True, False)
    assert (invoice.paid_at, invoice.amount_paid_off_stripe) == (NOW, 0)
    statuses = [event["data"]["object"]["status"] for event in events_of(ledger, scope)]
    assert statuses == ["draft", "open", "paid", "paid"]


@pytest.mark.parametrize(
    ("balance", "total", "due", "left"),
    [
        (0, 1_012, 1_012, 0),
        (-500, 1_012, 512, 0),
        (-1_012, 1_012, 0, 0),
        (-2_000, 1_012, 0, -988),
        (300, 1_012, 1_312, 0),
        (0, -40, 0, -40),
        (-10, -40, 0, -50),
        (30, -40, 0, -10),
        (50, -40, 10, 0),
        (50, 0, 50, 0),
    ],
)
def test_balances(
    ledger: Ledger, scope: Scope, balance: int, total: int, due: int, left: int
) -> None:
    """What a customer has, or owes, goes in; a void invoice gives it back."""
    owing(ledger, scope, balance)
    invoice = finalized(ledger, scope, draft(ledger, scope, total))
    assert (invoice.total, invoice.amount_due) == (total, due)
    assert (invoice.starting_balance, invoice.ending_balance) == (balance, left)
    assert customer(ledger, scope).balance == left
    if due:
        void = changed(ledger, scope, room.void, invoice)
        assert (void.amount_due, void.starting_balance) == (due, balance)
        assert customer(ledger, scope).balance == balance


def test_a_balance_is_in_one_currency(ledger: Ledger, scope: Scope) -> None:
    """Given a customer who was billed in dollars, then euros leave the balance alone."""
    finalized(ledger, scope, draft(ledger, scope, 5))
    owing(ledger, scope, -500)
    euros = finalized(ledger, scope, draft(ledger, scope, 700, currency="eur"))
    assert (euros.amount_due, euros.starting_balance, euros.ending_balance) == (700, 0, 0)
    changed(ledger, scope, room.void, euros)
    credit = finalized(ledger, scope, draft(ledger, scope, -30, currency="eur"))
    assert (credit.status, credit.amount_due, credit.ending_balance) == ("paid", 0, -30)
    assert (customer(ledger, scope).balance, customer(ledger, scope).currency) == (-500, "usd")


def test_paid_out_of_band(ledger: Ledger, scope: Scope) -> None:
    invoice = finalized(ledger, scope, draft(ledger, scope, auto_advance=True))
    paid = changed(ledger, scope, room.pay, invoice)
    assert (paid.status, paid.attempted, paid.auto_advance) == ("paid", False, False)
    assert (paid.amount_paid, paid.amount_paid_off_stripe) == (1_012, 1_012)
    assert paid.paid_at == NOW + 5_000
    assert told(ledger, scope)[2:] == ["invoice.paid", "invoice.payment_succeeded"]
    shown = events_of(ledger, scope)[-1]["data"]["object"]
    assert (shown["amount_remaining"], shown["amount_paid"]) == (0, 1_012)


def test_void_and_written_off(ledger: Ledger, scope: Scope) -> None:
    one = finalized(ledger, scope, draft(ledger, scope, auto_advance=True))
    marked = changed(ledger, scope, room.mark_uncollectible, one)
    assert (marked.status, marked.marked_uncollectible_at) == ("uncollectible", NOW + 5_000)
    void = changed(ledger, scope, room.void, marked)
    assert (void.status, void.voided_at, void.auto_advance) == ("void", NOW + 5_000, False)
    assert (void.amount_due, void.marked_uncollectible_at) == (1_012, NOW + 5_000)
    assert told(ledger, scope)[2:] == ["invoice.marked_uncollectible", "invoice.voided"]
    other = changed(
        ledger, scope, room.mark_uncollectible, finalized(ledger, scope, draft(ledger, scope))
    )
    assert changed(ledger, scope, room.pay, other).status == "paid"


def test_lines_are_as_they_were_counted_last(ledger: Ledger, scope: Scope) -> None:
    invoice = draft(ledger, scope, 7)
    lines = [a_line(50), a_line(5)]
    with ledger.write() as connection, posted(connection) as posting:
        room.finalize(posting, Cause(scope, NOW), invoice, lines, [a_segment()], NOW)
    with ledger.read() as connection:
        stored = invoices.find_invoice(connection, scope.id, invoice.id)
        assert stored is not None
        assert (stored.subtotal, stored.total, stored.amount_due) == (55, 55, 55)
        assert invoice_lines.lines_of(connection, [invoice.id]) == {invoice.id: lines}
        segments = invoice_segments.segments_of(connection, [invoice.id])
        assert segments == {invoice.id: [a_segment()]}
    assert told(ledger, scope) == ["invoice.created", "invoice.updated", "invoice.finalized"]
    previous = events_of(ledger, scope)[1]["data"]["previous_attributes"]
    assert (previous["total"], previous["amount_due"]) == (7, 7)
    assert previous.keys() == {
        "amount_due",
        "amount_remaining",
        "lines",
        "subtotal",
        "subtotal_excluding_tax",
        "total",
        "total_excluding_tax",
    }


def test_numbers(ledger: Ledger, scope: Scope) -> None:
    """Drafts have none; one by hand takes no place, and is not given again."""
    draft(ledger, scope)
    by_hand = finalized(ledger, scope, draft(ledger, scope, number="DF67D6F2-0002"))
    others = [finalized(ledger, scope, draft(ledger, scope)).number for _ in range(3)]
    assert by_hand.number == "DF67D6F2-0002"
    assert others == ["DF67D6F2-0001", "DF67D6F2-0003", "DF67D6F2-0004"]


def test_who_the_customer_is_when_it_is_finalized(ledger: Ledger, scope: Scope) -> None:
    invoice = draft(ledger, scope)
    assert invoice.details["customer_name"] == "Ada"
    with ledger.write() as connection:
        found = find_customer(connection, scope.id, "cus_1", lock=True)
        assert found is not None
        renamed = msgspec.structs.replace(found, details={"name": "Grace"}, email=None)
        update_customer(connection, renamed)
    invoice = finalized(ledger, scope, invoice)
    assert (invoice.details["customer_name"], invoice.details["customer_email"]) == ("Grace", None)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_many_at_a_time_have_numbers_without_a_gap(ledger: Ledger, scope: Scope, url: str) -> None:
    """Given a customer's drafts that several finalize at once, then no number is there twice."""
    drafts = [draft(ledger, scope) for _ in range(24)]
    owing(ledger, scope, -2_500)

    def work(share: int) -> list[Invoice]:
        with open_ledger(url) as another:
            return [finalized(another, scope, one) for one in drafts[share::4]]

    with ThreadPoolExecutor(4) as pool:
        made = [one for own in pool.map(work, range(4)) for one in own]
    numbers = sorted(one.number or "" for one in made)
    assert numbers == [f"DF67D6F2-{number:04d}" for number in range(1, 25)]
    assert customer(ledger, scope).next_invoice_sequence == 25
    assert sum(one.amount_due for one in made) == 24 * 1_012 - 2_500
    assert customer(ledger, scope).balance == 0
