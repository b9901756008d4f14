"""What becomes of credits: granted, applied to an invoice, given back, expired, void.

What a reader may rely on:

- Whoever calls has the customer locked, whose grants are thereby nobody else's to change.
- Credits are applied when an invoice is finalized, to its lines as they were counted last and as
  far as something is left, before the customer's balance is. Until then a draft is only shown as
  if they were: nothing is stored of that.
- An invoice that is voided gives back what it took; of a grant that is over by then, what comes
  back expires at once.
- Each change is a transaction, and announced.
"""

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse.billing.credit import (
    Grant,
    Kind,
    Transaction,
    applications,
    simulated,
    with_credits,
)
from meterhouse.billing.invoice import Credit, Invoice, Line
from meterhouse.invoicing.posting import Posting
from meterhouse.ledger import credit_grants
from meterhouse.ledger.announce import Cause, announced
from meterhouse.render.credit import render_grant, render_transaction
from meterhouse.wire.ids import new_id


class Applied(NamedTuple):
    """What credits were applied to."""

    invoice: str
    line: str | None


def grant(posting: Posting, cause: Cause, one: Grant, now: int) -> None:
    """Note a new grant with all that it grants, and announce it."""
    posting.create_grant(one)
    _tell(posting, cause, "created", one)
    _book(posting, cause, one, "credits_granted", one.amount, now)


def change(posting: Posting, cause: Cause, before: Grant, after: Grant) -> None:
    """Note what a grant has become, but for its balance, and announce it."""
    posting.update_grant(after)
    _tell(posting, cause, "updated", after, before)


def expire(posting: Posting, cause: Cause, one: Grant, now: int) -> None:
    """Let what is left of a grant expire."""
    if one.balance:
        _book(posting, cause, one, "credits_expired", -one.balance, now)


def void(posting: Posting, cause: Cause, one: Grant, now: int) -> None:
    """Take back a grant of which nothing is used."""
    _book(posting, cause, one, "credits_voided", -one.balance, now)


def simulated_of(connection: sa.Connection, invoice: Invoice, lines: Sequence[Line]) -> list[Line]:
    """Return the lines of a draft as credits would pay for them now."""
    grants = credit_grants.unspent(connection, {invoice.customer})[invoice.customer]
    return simulated(grants, lines, invoice.period.end, invoice.currency)


def apply_credits(
    posting: Posting, cause: Cause, invoice: Invoice, lines: Sequence[Line], now: int
) -> list[Line]:
    """Let credits pay for the lines of an invoice that is being finalized, and return them so."""
    grants = posting.grants(invoice.customer)
    paid: dict[str, list[Credit]] = {}
    for one in applications(grants, lines, invoice.period.end, invoice.currency):
        grant_ = posting.grant(one.grant)
        to = Applied(invoice.id, one.line)
        booked = _book(posting, cause, grant_, "credits_applied", -one.amount, now, to)
        paid.setdefault(one.line, []).append(Credit(one.amount, booked.id))
    return with_credits(lines, paid)


def return_credits(posting: Posting, cause: Cause, invoice: Invoice, now: int) -> None:
    """Give back what an invoice that is voided took of credits."""
    applied = posting.applied_to(invoice.id)
    touched = dict.fromkeys(one.grant for one in applied)
    posting.hold_grants(touched)
    for one in applied:
        grant_ = posting.grant(one.grant)
        to = Applied(invoice.id, one.line)
        kind: Kind = "credits_application_invoice_voided"
        _book(posting, cause, grant_, kind, -one.amount, now, to)
    for grant_id in touched:
        if posting.grant(grant_id).is_over(now):
            expire(posting, cause, posting.grant(grant_id), now)


def _tell(
    posting: Posting, cause: Cause, what: str, one: Grant, before: Grant | None = None
) -> None:
    livemode = cause.scope.livemode
    posting.tell(
        announced(
            cause,
            f"billing.credit_grant.{what}",
            f"/v1/billing/credit_grants/{one.id}",
            render_grant(one, livemode=livemode),
            render_grant(before, livemode=livemode) if before else None,
        )
    )


def _book(
    posting: Posting,
    cause: Cause,
    one: Grant,
    kind: Kind,
    amount: int,
    now: int,
    applied: Applied | None = None,
) -> Transaction:
    """Change the balance of a grant, and announce that.

    What is granted takes effect when its grant does.
    """
    livemode = cause.scope.livemode
    transaction = Transaction(
        id=new_id("cbtxn", livemode),
        scope=one.scope,
        customer=one.customer,
        test_clock=one.test_clock,
        grant=one.id,
        kind=kind,
        currency=one.currency,
        amount=amount,
        invoice=applied.invoice if applied else None,
        line=applied.line if applied else None,
        effective_at=one.effective_at if kind == "credits_granted" else now,
        created=now,
    )
    posting.book(transaction)
    posting.tell(
        announced(
            cause,
            "billing.credit_balance_transaction.created",
            f"/v1/billing/credit_balance_transactions/{transaction.id}",
            render_transaction(transaction, livemode=livemode),
        )
    )
    return transaction
