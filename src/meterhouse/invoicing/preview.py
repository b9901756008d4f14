"""Previews: an invoice as it would be, of a subscription as it is or as somebody imagines it.

What a reader may rely on:

- A preview is made by the same steps as an invoice: what is owed, counted, and made into lines. As
  long as nobody changes anything, the one at a period's end is the invoice.
- Nothing of it is stored. It has an id of its own, and so has each of its lines, the same when it
  is looked at again; a subscription that is only imagined has none.
- What the customer owes beside it, or has to its credit, and what credit grants pay, is reckoned
  with, as it will be when the invoice is finalized.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from msgspec.structs import replace

from meterhouse.billing.bill import Bill, credited, made, totalled
from meterhouse.billing.change import Recurrences
from meterhouse.billing.credit import Grant, simulated
from meterhouse.billing.invoice import Invoice, InvoiceItem, Line, Segment
from meterhouse.billing.period import period_at
from meterhouse.billing.price import Price
from meterhouse.billing.subscription import Subscription, next_step
from meterhouse.invoicing.bill import bill_of_change, recurrences_of, waiting_for
from meterhouse.invoicing.create import showing
from meterhouse.invoicing.posting import Posting
from meterhouse.invoicing.recount import names
from meterhouse.invoicing.turn import Terms, Turn, draft_of, late_parts, turn_of
from meterhouse.ledger import credit_grants
from meterhouse.ledger.customers import Customer
from meterhouse.wire.ids import derived_id


class Preview(NamedTuple):
    """An invoice that is not there, whose customer has a `balance`, and what it is made of.

    `grants` are what credits may pay for it with.
    """

    invoice: Invoice
    bill: Bill
    balance: int
    grants: Sequence[Grant] = ()


class Previewed(NamedTuple):
    """A preview with its lines, and the prices that they name."""

    invoice: Invoice
    lines: list[Line]
    prices: Mapping[str, Price]


def next_of(
    connection: sa.Connection, customer: Customer, subscription: Subscription, terms: Terms
) -> Preview | None:
    """Return the invoice that comes next of a subscription; None where none will."""
    waiting = waiting_for(connection, subscription)
    turn = next_turn(subscription, recurrences_of(connection, subscription))
    return None if turn is None else preview_of(connection, customer, turn, waiting, terms)


def next_turn(subscription: Subscription, recurrences: Recurrences) -> Turn | None:
    """Return the turn with which the next invoice comes of itself; None where none does."""
    step = next_step(replace(subscription, trial_told=True), notice=0)
    turn = step and turn_of(subscription, step, recurrences)
    return turn if turn and turn.invoice else None


def usual_turn(subscription: Subscription, recurrences: Recurrences, at: int) -> Turn | None:
    """Return the turn of a whole period, as one follows the other: no trial, no change, no end."""
    items = []
    for item in subscription.items:
        period = period_at(subscription.anchor, recurrences[item.price], at)
        items.append(replace(item, period=period, since=period.start))
    status = "active" if subscription.status == "trialing" else subscription.status
    plain = replace(subscription, status=status, trial=None, cancel_at=None, items=tuple(items))
    return next_turn(plain, recurrences)


def preview_of(
    connection: sa.Connection,
    customer: Customer,
    turn: Turn,
    waiting: Sequence[InvoiceItem],
    terms: Terms,
    imagined: Sequence[Price] = (),
) -> Preview | None:
    """Return the invoice of a turn with these pending items; None where nothing would be on it.

    `imagined` are prices that the ledger does not have.
    """
    turn = replace(turn, late=terms.late if turn.draft else None)
    late = late_parts(connection, turn)
    bill = bill_of_change(connection, turn.before, turn.change, waiting, imagined, late)
    if not bill.parts:
        return None
    after = turn.change.subscription
    invoice = replace(
        draft_of(turn, terms, turn.at),
        id=derived_id("upcoming_in", False, customer.id, after.id, turn.at),
        reason="upcoming",
    )
    grants = credit_grants.unspent(connection, {customer.id})[customer.id]
    posting = Posting(connection)
    if turn.before is not None:
        posting.know({turn.before.id: turn.before})
    return Preview(showing(posting, invoice, customer), bill, customer.balance, grants)


def shown(preview: Preview, segments: Sequence[Segment]) -> Previewed:
    """Return a preview with its lines, once the segments of its bill are counted."""
    invoice, bill, balance, grants = preview
    lines, billed = made(bill, segments, names(invoice.id, "il_tmp"))
    lines = simulated(grants, lines, invoice.period.end, invoice.currency)
    invoice = totalled(invoice, lines)
    balance += credited(billed)
    owed = invoice.total + balance
    reckoned = replace(
        invoice, starting_balance=balance, amount_due=max(owed, 0), ending_balance=min(owed, 0)
    )
    return Previewed(reckoned, lines, bill.catalog.prices)
