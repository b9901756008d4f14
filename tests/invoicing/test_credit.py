"""What becomes of credits: whatever happens in whatever order, their books balance."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meterhouse.billing.credit import Grant, simulated
from meterhouse.billing.invoice import Invoice, Line
from meterhouse.invoicing import credit
from meterhouse.invoicing.create import create_invoice
from meterhouse.invoicing.finalize import expect, finalize, void
from meterhouse.invoicing.posting import Posting, posted
from meterhouse.ledger import credit_books, credit_grants, credit_transactions, invoice_lines
from meterhouse.ledger.announce import Cause
from meterhouse.ledger.engine import Ledger, open_ledger
from meterhouse.ledger.invoices import find_invoice
from meterhouse.metering.model import Scope
from meterhouse.wire.ids import new_id
from tests.billing.test_credit import a_grant
from tests.invoicing.samples import (
    NOVEMBER,
    NOW,
    a_line,
    a_segment,
    an_invoice,
    events_of,
    scope_of_tests,
    stock,
)


@pytest.fixture
def scope(ledger: Ledger) -> Scope:
    scope = scope_of_tests(ledger)
    stock(ledger, scope.id)
    return scope


def post(ledger: Ledger, work: Callable[[Posting], Any]) -> Any:
    with ledger.write() as connection, posted(connection) as posting:
        posting.hold(["cus_1"])
        return work(posting)


def granted(ledger: Ledger, scope: Scope, amount: int = 600, **members: Any) -> str:
    """Grant credit that was effective in November."""
    one = a_grant(new_id("credgr"), amount, scope=scope.id, balance=0, **members)
    post(ledger, lambda posting: credit.grant(posting, Cause(scope, NOW), one, NOW))
    return one.id


def a_draft(scope: Scope, *amounts: int) -> tuple[Invoice, list[Line]]:
    lines = [a_line(amount, segment=place) for place, amount in enumerate(amounts)]
    return an_invoice(scope.id), lines


def billed(posting: Posting, scope: Scope, *amounts: int) -> Invoice:
    """Make an invoice of usage, and finalize it."""
    invoice, lines = a_draft(scope, *amounts)
    segments = [a_segment(place) for place in range(len(amounts))]
    draft = create_invoice(posting, Cause(scope, NOW), invoice, lines, segments)
    return finalize(posting, Cause(scope, NOW), draft, lines, segments, NOW)


def balance(ledger: Ledger, scope: Scope, grant_id: str) -> int:
    with ledger.read() as connection:
        grant = credit_grants.find_grant(connection, scope.id, grant_id)
    assert grant is not None
    return grant.balance


def kinds(ledger: Ledger, grant_id: str) -> list[tuple[str, int]]:
    with ledger.read() as connection:
        rows = connection.execute(
            sa.text(
                'SELECT kind, amount FROM credit_transactions WHERE "grant" = :grant ORDER BY seq'
            ),
            {"grant": grant_id},
        )
        return [(kind, amount) for kind, amount in rows]


def wrong(ledger: Ledger) -> list[Any]:
    with ledger.read() as connection:
        invoices, after = credit_books.wrong_invoices(connection, "", 1_000)
        assert after is None
        return [*credit_books.wrong_balances(connection, 10), *invoices]


def test_credits_are_told_between_the_invoice_and_its_end(ledger: Ledger, scope: Scope) -> None:
    """And the draft is shown as they would pay for it."""
    granted(ledger, scope)
    invoice = post(ledger, lambda posting: billed(posting, scope, 1_000))
    events = events_of(ledger, scope)
    assert [one["type"] for one in events] == [
        "billing.credit_grant.created",
        "billing.credit_balance_transaction.created",
        "invoice.created",
        "billing.credit_balance_transaction.created",
        "invoice.finalized",
    ]
    created, final = (events[place]["data"]["object"] for place in (2, 4))
    assert (created["total"], final["total"], invoice.amount_due) == (400, 400, 400)
    assert created["total_pretax_credit_amounts"][0]["credit_balance_transaction"] is None
    [paid] = final["total_pretax_credit_amounts"]
    assert paid["credit_balance_transaction"] == events[3]["data"]["object"]["id"]


def test_invoices_that_are_finalized_together_share_a_grant(ledger: Ledger, scope: Scope) -> None:
    """In the order in which they are; nothing is asked for each of them."""
    grant = granted(ledger, scope)

    def work(posting: Posting) -> list[int]:
        drafts = [a_draft(scope, amount) for amount in (400, 300, 100)]
        for draft, lines in drafts:
            create_invoice(posting, Cause(scope, NOW), draft, lines, [])
        expect(posting, [draft for draft, _ in drafts])
        return [
            finalize(posting, Cause(scope, NOW), draft, lines, [], NOW).total
            for draft, lines in drafts
        ]

    assert post(ledger, work) == [0, 100, 100]
    assert balance(ledger, scope, grant) == 0
    assert wrong(ledger) == []


def test_what_is_void_as_soon_as_it_is_final_takes_nothing(ledger: Ledger, scope: Scope) -> None:
    """Given a subscription whose invoices are voided, in one transaction."""
    grant = granted(ledger, scope)

    def work(posting: Posting) -> None:
        void(posting, Cause(scope, NOW), billed(posting, scope, 1_000), NOW)

    post(ledger, work)
    assert kinds(ledger, grant)[1:] == [
        ("credits_applied", -600),
        ("credits_application_invoice_voided", 600),
    ]
    assert balance(ledger, scope, grant) == 600
    assert wrong(ledger) == []


def test_what_was_only_expected_is_not_stored(ledger: Ledger, scope: Scope) -> None:
    """Given lines that were shown with a credit, once that is gone, then they are paid in full."""
    grant = granted(ledger, scope, expires_at=NOVEMBER.end + 1)
    draft, lines = a_draft(scope, 1_000)

    def work(posting: Posting) -> Invoice:
        create_invoice(posting, Cause(scope, NOW), draft, lines, [])
        known = posting.hold_grants({grant})[grant]
        shown = simulated([known], lines, NOVEMBER.end, "usd")
        assert shown[0].credits
        credit.expire(posting, Cause(scope, NOW), known, NOW)
        return finalize(posting, Cause(scope, NOW), draft, shown, [], NOW)

    assert post(ledger, work).total == 1_000
    with ledger.read() as connection:
        [line] = invoice_lines.lines_of(connection, [draft.id])[draft.id]
    assert line.credits == ()


def test_the_ledger_takes_no_balance_out_of_bounds(ledger: Ledger, scope: Scope) -> None:
    grant = granted(ledger, scope)
    for change in ("balance = -1", "balance = amount + 1"):
        with pytest.raises(sa.exc.IntegrityError), ledger.write() as connection:
            connection.execute(sa.text(f"UPDATE credit_grants SET {change}"))  # noqa: S608
    assert balance(ledger, scope, grant) == 600


def test_nobody_spends_twice_what_is_there_once(ledger: Ledger, scope: Scope, url: str) -> None:
    """Given several who finalize invoices of one customer at the same time."""
    grant = granted(ledger, scope, 1_000)

    def work(share: int) -> list[int]:
        with open_ledger(url) as another:
            return [
                post(another, lambda posting: billed(posting, scope, 90 + share).total)
                for _ in range(4)
            ]

    with ThreadPoolExecutor(4) as pool:
        totals = [total for own in pool.map(work, range(4)) for total in own]
    assert sum(totals) == sum(4 * (90 + share) for share in range(4)) - 1_000
    assert balance(ledger, scope, grant) == 0
    assert wrong(ledger) == []


class _Life:
    """Grants and invoices of a customer, and what is done to them."""

    def __init__(self, ledger: Ledger, scope: Scope) -> None:
        self.ledger = ledger
        self.scope = scope
        self.cause = Cause(scope, NOW)
        self.grants: list[str] = []
        self.invoices: list[str] = []

    def grant(self, amount: int) -> None:
        expires_at = NOW + 1 if amount % 2 else None
        self.grants.append(granted(self.ledger, self.scope, amount, expires_at=expires_at))

    def bill(self, amount: int) -> None:
        made = post(self.ledger, lambda posting: billed(posting, self.scope, amount, amount // 3))
        self.invoices.append(made.id)

    def void(self, place: int) -> None:
        if not self.invoices:
            return
        invoice_id = self.invoices[place % len(self.invoices)]

        def work(posting: Posting) -> None:
            found = find_invoice(posting.connection, self.scope.id, invoice_id, lock=True)
            if found is not None and found.status == "open":
                void(posting, self.cause, found, NOW + place)

        post(self.ledger, work)

    def expire(self, place: int) -> None:
        self._on_grant(place, lambda posting, one: credit.expire(posting, self.cause, one, NOW))

    def take_back(self, place: int) -> None:
        def work(posting: Posting, one: Grant) -> None:
            if one.balance == one.amount and one.voided_at is None:
                over = msgspec.structs.replace(one, voided_at=NOW)
                credit.change(posting, self.cause, one, over)
                credit.void(posting, self.cause, over, NOW)

        self._on_grant(place, work)

    def _on_grant(self, place: int, work: Callable[[Posting, Grant], None]) -> None:
        if self.grants:
            id_ = self.grants[place % len(self.grants)]
            post(self.ledger, lambda posting: work(posting, posting.hold_grants({id_})[id_]))


steps = st.lists(
    st.tuples(
        st.sampled_from([_Life.grant, _Life.bill, _Life.void, _Life.expire, _Life.take_back]),
        st.integers(1, 700),
    ),
    max_size=12,
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_the_books_balance_whatever_happens(ledger: Ledger, scope: Scope, steps: Any) -> None:
    """No grant is ever below zero: the ledger itself would refuse."""
    life = _Life(ledger, scope)
    for step, number in [(_Life.grant, 100), *steps]:
        step(life, number)
        assert wrong(ledger) == []
    for id_ in life.grants:
        assert sum(amount for _, amount in kinds(ledger, id_)) == balance(ledger, scope, id_)
    with ledger.read() as connection:
        lines = invoice_lines.lines_of(connection, life.invoices)
        for id_ in life.invoices:
            applied = credit_transactions.applied_to(connection, id_)
            paid = [one for line in lines[id_] for one in line.credits]
            assert [one.transaction for one in paid] == [one.id for one in applied]
