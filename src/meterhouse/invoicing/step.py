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

from meterhouse.billing.bill import Bill
from meterhouse.billing.credit import Grant
from meterhouse.billing.invoice import Invoice, Segment
from meterhouse.billing.subscription import Subscription, next_step
from meterhouse.invoicing.bill import Stored, recurrences_of
from meterhouse.invoicing.credit import expire
from meterhouse.invoicing.finalize import expect
from meterhouse.invoicing.posting import Posting, posted
from meterhouse.invoicing.preview import Preview, next_of, shown
from meterhouse.invoicing.tell import told, told_of_upcoming
from meterhouse.invoicing.turn import (
    Terms,
    Turn,
    bills_of,
    due_of,
    finalize_for,
    take_billed,
    tell_of_subscription,
    turn_of,
)
from meterhouse.ledger import customers, invoices, subscriptions, test_clocks
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
    planned = [_planned(connection, one, until, terms) for one in due]
    bills = iter(bills_of(connection, [one.turn for one in planned if one.turn]))
    return [
        one._replace(segments=bill.segments) if one.turn and (bill := next(bills)) else one
        for one in planned
    ]


def _planned(connection: sa.Connection, one: Subscription, until: int, terms: Terms) -> Planned:
    """Return the next step of a subscription, without what it bills."""
    step = next_step(one, terms.notice)
    if step is None or step.at > until:
        return Planned(one, None)
    turn = replace(turn_of(one, step, recurrences_of(connection, one)), late=terms.late)
    if step.kind == "upcoming":
        preview = _coming(connection, one, until, terms)
        return Planned(one, turn, preview.bill.segments if preview else (), preview)
    return Planned(one, turn)


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
    with posted(connection) as posting:
        owners = {one.subscription.customer for one in steps}
        if not _hold(posting, present, owners):
            return
        posting.expect_grants(owners)
        held = subscriptions.hold_unchanged(connection, [one.subscription for one in steps])
        posting.know(held)
        same = [one for one in steps if one.subscription.id in held]
        bills = iter(bills_of(connection, [one.turn for one in same if one.turn]))
        for one in same:
            bill = next(bills) if one.turn else None
            _take_step(posting, present, terms, bill, one)


def _take_step(
    posting: Posting, present: Present, terms: Terms, bill: Bill | None, one: Planned
) -> None:
    subscription, turn, counted, preview = one
    cause = present.cause(subscription.scope)
    if turn is None:
        posting.update_subscription(subscription, due_of(subscription, terms))
        return
    if preview is not None:
        coming = shown(preview, counted)
        posting.tell(told_of_upcoming(cause, coming.invoice, coming.lines))
        counted = ()
    take_billed(posting, cause, turn, bill, counted, terms, present.at(turn.at))


def finalize_due(connection: sa.Connection, present: Present, drafts: Sequence[Stored]) -> None:
    """Finalize drafts whose time has come, as they were counted, as far as they are as they were.

    All that was acknowledged before their time must have been counted.
    """
    with posted(connection) as posting:
        if not _hold(posting, present, {one.invoice.customer for one in drafts}):
            return
        held = _held(posting, [one.invoice for one in drafts])
        expect(posting, [one for one, _ in held.values()])
        for counted, lines, segments in drafts:
            draft, subscription = held.get(counted.id, (None, None))
            if draft is None or draft.revision != counted.revision or draft.due is None:
                continue
            at = present.at(draft.due)
            cause = present.cause(draft.scope)
            finalize_for(posting, cause, subscription, draft, lines, segments, at)


def tell_overdue(
    connection: sa.Connection, present: Present, terms: Terms, due: Sequence[Invoice]
) -> None:
    """Tell of invoices that have not been paid in time, and of their subscriptions."""
    with posted(connection) as posting:
        if not _hold(posting, present, {one.customer for one in due}):
            return
        held = _held(posting, due)
        posting.expect_lines(held)
        marked: set[str] = set()  # of one subscription several invoices may be late
        for known in due:
            invoice, subscription = held.get(known.id, (None, None))
            if invoice is None or invoice.revision != known.revision or invoice.due is None:
                continue
            cause = present.cause(invoice.scope)
            if subscription and subscription.status == "active" and subscription.id not in marked:
                marked.add(subscription.id)
                late = replace(subscription, status="past_due")
                late = posting.update_subscription(late, due_of(late, terms))
                tell_of_subscription(posting, cause, "updated", late, subscription)
            overdue = posting.update_invoice(replace(invoice, overdue_told=True))
            posting.tell(told(cause, "overdue", overdue, posting.lines(overdue.id)))


def expire_due(connection: sa.Connection, present: Present, due: Sequence[Grant]) -> None:
    """Let what is left of credit grants expire whose time has come, as they are by now."""
    with posted(connection) as posting:
        if not _hold(posting, present, {one.customer for one in due}):
            return
        held = posting.hold_grants({one.id for one in due})
        for known in due:
            grant = held[known.id]
            if grant.due is not None and grant.due == known.due:
                expire(posting, present.cause(grant.scope), grant, present.at(grant.due))


def _hold(posting: Posting, present: Present, owners: Collection[str]) -> bool:
    """Hold what steps change first; False where the clock is not on its way any more."""
    clock = present.test_clock
    if clock is not None and not test_clocks.hold_advancing(posting.connection, clock):
        return False
    posting.hold(owners)
    return True


def _held(
    posting: Posting, due: Sequence[Invoice]
) -> dict[str, tuple[Invoice, Subscription | None]]:
    """Return invoices, and the subscriptions that they are of, for nobody else to change."""
    named = {one.subscription for one in due if one.subscription is not None}
    of = subscriptions.hold(posting.connection, named) if named else {}
    posting.know(of)
    held = invoices.hold(posting.connection, [one.id for one in due])
    return {id_: (one, of.get(one.subscription or "")) for id_, one in held.items()}
