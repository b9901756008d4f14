"""Steps: what time brings about, of subscriptions and of invoices, each once.

A step is planned, what it bills is counted, and then it is taken in a transaction of the ledger,
which holds what it changes. What a reader may rely on:

- A step is taken by the object as it was planned for, or not at all: what has changed meanwhile,
  or was done by somebody else, is planned anew.
- What a transaction locks it locks before it announces anything, the clock first, then customers,
  subscriptions and invoices, each in the order of their ids. So nobody waits for each other.
- Of several steps in a transaction all are taken, or none.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from msgspec.structs import replace

from meterhouse.billing.invoice import Invoice, Segment
from meterhouse.billing.subscription import Subscription, next_step
from meterhouse.invoicing.bill import Stored, recurrences_of
from meterhouse.invoicing.preview import Preview, next_of, shown
from meterhouse.invoicing.tell import tell, tell_of_upcoming
from meterhouse.invoicing.turn import (
    Terms,
    Turn,
    bill_of,
    due_of,
    finalize_for,
    take,
    tell_of_subscription,
    turn_of,
)
from meterhouse.ledger import customers, invoice_lines, invoices, subscriptions, test_clocks
from meterhouse.ledger.announce import Cause
from meterhouse.metering.model import Scope


class Present(NamedTuple):
    """The time in which steps are taken.

    What happens to what lives by `test_clock` happens when it is due, all else `now`, which is what
    the machine's clock says. `pages` is the URL that the links to invoices begin with.
    """

    now: int
    test_clock: str | None
    scopes: Mapping[int, Scope]
    pages: str = ""

    def at(self, due: int) -> int:
        """Return when that happens which was due at an instant."""
        return self.now if self.test_clock is None else due

    def cause(self, scope: int) -> Cause:
        """Return what brings it about, as events tell it."""
        return Cause(self.scopes[scope], self.now, pages=self.pages)


class Planned(NamedTuple):
    """The next step of a subscription: its turn, None where only its time is set anew.

    `segments` are what has to be counted for it: for what it bills, or for the `preview` of the
    invoice that it tells is coming.
    """

    subscription: Subscription
    turn: Turn | None
    segments: Sequence[Segment] = ()
    preview: Preview | None = None


def plan(
    connection: sa.Connection, due: Sequence[Subscription], until: int, terms: Terms
) -> list[Planned]:
    """Return the next steps of subscriptions that are due by an instant."""
    return [_planned(connection, one, until, terms) for one in due]


def _planned(connection: sa.Connection, one: Subscription, until: int, terms: Terms) -> Planned:
    step = next_step(one, terms.notice)
    if step is None or step.at > until:
        return Planned(one, None)
    turn = replace(turn_of(one, step, recurrences_of(connection, one)), late=terms.late)
    if step.kind == "upcoming":
        preview = _coming(connection, one, until, terms)
        return Planned(one, turn, preview.bill.segments if preview else (), preview)
    bill = bill_of(connection, turn)
    return Planned(one, turn, bill.segments if bill else ())


def _coming(
    connection: sa.Connection, one: Subscription, until: int, terms: Terms
) -> Preview | None:
    """Return the invoice that is to be told of: one to be charged, of a period that goes on."""
    if one.collection != "charge_automatically" or one.period.end <= until:
        return None
    customer = customers.find_customer(connection, one.scope, one.customer)
    return next_of(connection, customer, one, terms) if customer else None


def take_steps(
    connection: sa.Connection, present: Present, terms: Terms, steps: Sequence[Planned]
) -> None:
    """Take steps whose segments are counted, of the subscriptions that are as they were."""
    owners = {one.subscription.customer for one in steps}
    if not _hold(connection, present, owners):
        return
    held = subscriptions.hold(connection, [one.subscription.id for one in steps])
    for one in steps:
        now = held.get(one.subscription.id)
        if now is not None and now.revision == one.subscription.revision:
            _take_step(connection, present, terms, one)


def _take_step(connection: sa.Connection, present: Present, terms: Terms, one: Planned) -> None:
    subscription, turn, counted, preview = one
    cause = present.cause(subscription.scope)
    if turn is None:
        due = due_of(subscription, terms)
        subscriptions.update_subscription(connection, subscription, due)
        return
    if preview is not None:
        coming = shown(preview, counted)
        tell_of_upcoming(connection, cause, coming.invoice, coming.lines)
        counted = ()
    take(connection, cause, turn, counted, terms, present.at(turn.at))


def finalize_due(connection: sa.Connection, present: Present, drafts: Sequence[Stored]) -> None:
    """Finalize drafts whose time has come, as they were counted, as far as they are as they were.

    All that was acknowledged before their time must have been counted.
    """
    if not _hold(connection, present, {one.invoice.customer for one in drafts}):
        return
    held = _held(connection, [one.invoice for one in drafts])
    for counted, lines, segments in drafts:
        draft, subscription = held.get(counted.id, (None, None))
        if draft is None or draft.revision != counted.revision or draft.due is None:
            continue
        at = present.at(draft.due)
        cause = present.cause(draft.scope)
        finalize_for(connection, cause, subscription, draft, lines, segments, at)


def tell_overdue(
    connection: sa.Connection, present: Present, terms: Terms, due: Sequence[Invoice]
) -> None:
    """Tell of invoices that have not been paid in time, and of their subscriptions."""
    if not _hold(connection, present, {one.customer for one in due}):
        return
    held = _held(connection, due)
    marked: set[str] = set()  # of one subscription several invoices may be late
    for known in due:
        invoice, subscription = held.get(known.id, (None, None))
        if invoice is None or invoice.revision != known.revision or invoice.due is None:
            continue
        cause = present.cause(invoice.scope)
        if subscription and subscription.status == "active" and subscription.id not in marked:
            marked.add(subscription.id)
            late = replace(subscription, status="past_due")
            late = subscriptions.update_subscription(connection, late, due_of(late, terms))
            tell_of_subscription(connection, cause, "updated", late, subscription)
        told = invoices.update_invoice(connection, replace(invoice, overdue_told=True))
        lines = invoice_lines.lines_of(connection, (told.id,))[told.id]
        tell(connection, cause, "overdue", told, lines)


def _hold(connection: sa.Connection, present: Present, owners: Collection[str]) -> bool:
    """Hold what steps change first; False where the clock is not on its way any more."""
    clock = present.test_clock
    if clock is not None and not test_clocks.hold_advancing(connection, clock):
        return False
    customers.hold(connection, owners)
    return True


def _held(
    connection: sa.Connection, due: Sequence[Invoice]
) -> dict[str, tuple[Invoice, Subscription | None]]:
    """Return invoices, and the subscriptions that they are of, for nobody else to change."""
    named = {one.subscription for one in due if one.subscription is not None}
    of = subscriptions.hold(connection, named)
    held = invoices.hold(connection, [one.id for one in due])
    return {id_: (one, of.get(one.subscription or "")) for id_, one in held.items()}
