"""Turns: what becomes of a subscription at an instant, and the invoice that comes of it.

Requests bring them about, and time does. A turn is taken in one transaction:

1. decide what turn it is, by the subscription as it is, and gather what it bills (`bill_of`);
2. count the usage of the bill's segments, which takes no transaction;
3. lock the subscription, decide anew, and `take` the turn with what was counted.

What a reader may rely on:

- A turn that bills anything else by now than what was counted is not taken (`OutdatedError`), so it
  is decided and counted once more.
- The subscription, what it bills and the events of both are stored together, or not at all.
- Usage that is settled and not invoiced with the turn waits as an invoice item, unless it costs
  nothing.

https://docs.stripe.com/billing/subscriptions/billing-mode/compare
"""

import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, Self

import msgspec
import sqlalchemy as sa

from meterhouse.billing.bill import Bill, Usage, made
from meterhouse.billing.change import (
    Change,
    Recurrences,
    Stretch,
    canceled,
    paused,
    renewed,
    trial_ended,
)
from meterhouse.billing.invoice import (
    Invoice,
    InvoiceItem,
    LateUsage,
    Line,
    Reason,
    Segment,
)
from meterhouse.billing.period import Period
from meterhouse.billing.subscription import Step, Subscription, next_step
from meterhouse.billing.threshold import Crossed, reason_of
from meterhouse.config import Config
from meterhouse.errors import OutdatedError
from meterhouse.invoicing.bill import bill_of_change, late_usage, prices_of, waiting_for_all
from meterhouse.invoicing.create import create_invoice
from meterhouse.invoicing.finalize import finalize, mark_uncollectible, void
from meterhouse.invoicing.posting import Posting, posted
from meterhouse.invoicing.recount import names
from meterhouse.ledger import invoice_segments
from meterhouse.ledger.announce import Cause, announced
from meterhouse.ledger.invoice_segments import Beginning
from meterhouse.limits import LATE_USAGE_DAYS_MAX, THRESHOLD_LATE_MILLISECONDS
from meterhouse.metering.window import MILLISECONDS
from meterhouse.render.invoice import render_invoice_item
from meterhouse.render.subscription import render_subscription
from meterhouse.wire.ids import new_id

_ZERO = Decimal(0)


class Terms(NamedTuple):
    """How long before a period's end it is told, and how long a draft stays one: milliseconds.

    `late` is what becomes of usage that has changed since it was billed; None: nothing.
    `pages` is the URL that the links to invoices begin with.
    """

    notice: int
    delay: int
    late: LateUsage | None = None
    pages: str = ""

    @classmethod
    def of(cls, config: Config) -> Self:
        """Return what the settings say."""
        return cls(
            config.invoice_upcoming_days * MILLISECONDS["day"],
            config.invoice_finalization_delay * 1000,
            None if config.late_usage == "report" else config.late_usage,
            config.pages,
        )


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription, None where it begins, and what becomes of it at the instant `at`.

    `events` are told of it, in their order. `invoice` is why what it bills is invoiced with it;
    None where that waits. With `draft` the invoice is left as one, to be finalized after
    `Terms.delay`; else it is finalized at once. `late` is what it does about usage that has changed
    since it was billed. `crossed` are the thresholds that were reached by it.
    """

    before: Subscription | None
    change: Change
    at: int
    events: tuple[str, ...]
    invoice: Reason | None = None
    draft: bool = False
    late: LateUsage | None = None
    crossed: Crossed | None = None


def turn_of(one: Subscription, step: Step, recurrences: Recurrences) -> Turn:
    """Return what becomes of a subscription by a step of time."""
    at = step.at
    if step.kind == "trial_will_end":
        told = msgspec.structs.replace(one, trial_told=True)
        return Turn(before=one, change=Change(told), at=at, events=("trial_will_end",))
    if step.kind == "upcoming":
        told = msgspec.structs.replace(one, upcoming_told=one.period.end)
        return Turn(before=one, change=Change(told), at=at, events=())
    if step.kind == "cancels":
        return _cycle(one, canceled(one, at, billed=True), at, "deleted")
    if step.kind == "renews":
        return _cycle(one, renewed(one, recurrences, at), at, "updated")
    return _after_trial(one, recurrences, at)


def _after_trial(one: Subscription, recurrences: Recurrences, at: int) -> Turn:
    """Return what becomes of a trial that is over: nobody has a payment method here."""
    settings = one.details.get("trial_settings") or {}
    behavior = (settings.get("end_behavior") or {}).get("missing_payment_method")
    if behavior == "cancel":
        change = canceled(one, at, billed=False)
        return Turn(before=one, change=change, at=at, events=("deleted",))
    if behavior == "pause":
        change = paused(one, at, billed=False)
        return Turn(before=one, change=change, at=at, events=("updated", "paused"))
    return _cycle(one, trial_ended(one, recurrences, at), at, "updated")


def _cycle(one: Subscription, change: Change, at: int, event: str) -> Turn:
    return Turn(
        before=one,
        change=change,
        at=at,
        events=(event,),
        invoice="subscription_cycle",
        draft=True,
    )


def bill_of(connection: sa.Connection, turn: Turn) -> Bill | None:
    """Return what is invoiced with a turn; None where nothing is."""
    return bills_of(connection, [turn])[0]


def bills_of(connection: sa.Connection, turns: Sequence[Turn]) -> list[Bill | None]:
    """Return what is invoiced with each of some turns."""
    invoiced = [turn for turn in turns if turn.invoice is not None]
    waiting = waiting_for_all(connection, [turn.change.subscription for turn in invoiced])
    late = late_parts_of(connection, invoiced)
    bills = iter(
        bill_of_change(connection, turn.before, turn.change, own, late=parts)
        for turn, own, parts in zip(invoiced, waiting, late, strict=True)
    )
    found = [None if turn.invoice is None else next(bills) for turn in turns]
    return [bill if bill and bill.parts else None for bill in found]


def late_parts(connection: sa.Connection, turn: Turn) -> list[Usage]:
    """Return the usage that was billed before, and may have changed since, to be billed again."""
    return late_parts_of(connection, [turn])[0]


def late_parts_of(connection: sa.Connection, turns: Sequence[Turn]) -> list[list[Usage]]:
    """Return the same of each of some turns, of different subscriptions."""
    since: dict[str, int] = {}
    for turn in turns:
        if turn.late is not None and turn.before is not None:
            begun = min(item.period.start for item in turn.before.items)
            since[turn.before.id] = begun - LATE_USAGE_DAYS_MAX * MILLISECONDS["day"]
    found = invoice_segments.billed_again(connection, since)
    early = {turn.before.id for turn in turns if turn.before and turn.before.billed_early}
    left = invoice_segments.left_early(connection, early)
    return [
        [
            *(late_usage(one, turn.before) for one in _ended(turn, left)),
            *(
                late_usage(msgspec.structs.replace(segment, late=turn.late), turn.before)
                for segment in (found.get(turn.before.id, ()) if turn.before else ())
            ),
        ]
        for turn in turns
    ]


def _ended(turn: Turn, left: Mapping[str, list[Segment]]) -> list[Segment]:
    """Return what was billed early in ranges that have ended, as they do where periods begin anew.

    It was not a draft, which waits for what comes late; so it is billed again once, whatever
    becomes of late usage else. The next threshold may be reached in the same second.
    """
    before = turn.before
    if before is None or before.id not in left:
        return []
    open_ = {Beginning(item.price, item.id, item.since) for item in before.items}
    early = turn.invoice == "subscription_threshold"
    until = turn.at - THRESHOLD_LATE_MILLISECONDS if early else sys.maxsize
    return [
        one
        for one in left[before.id]
        if Beginning.of(one) not in open_ and one.usage_in.end <= until
    ]


def take(
    connection: sa.Connection,
    cause: Cause,
    turn: Turn,
    counted: Sequence[Segment],
    terms: Terms,
    created: int | None = None,
) -> Subscription:
    """Store a turn and what it bills, and announce both; return what it has made.

    One that changes nothing is none: what was before is returned. `counted` are the segments of its
    bill; `created` is when the invoice is made, where that is not the instant of the turn.
    """
    bill = bill_of(connection, turn)
    with posted(connection) as posting:
        return take_billed(posting, cause, turn, bill, counted, terms, created)


def take_billed(
    posting: Posting,
    cause: Cause,
    turn: Turn,
    bill: Bill | None,
    counted: Sequence[Segment],
    terms: Terms,
    created: int | None = None,
) -> Subscription:
    """Take a turn as `take` does, whose bill is known."""
    if [_uncounted(one) for one in counted] != [*map(_uncounted, bill.segments if bill else ())]:
        raise OutdatedError(f"The usage of '{turn.change.subscription.id}' is another by now.")
    after = turn.change.subscription
    if bill is None and turn.before is not None and after == turn.before:
        return turn.before
    if bill is None:
        stored = _store(posting, turn, after, terms)
        _put_aside(posting, cause, turn, stored)
        _tell(posting, cause, turn, stored)
        return stored
    invoice = draft_of(turn, terms, turn.at if created is None else created)
    after = msgspec.structs.replace(after, latest_invoice=invoice.id)
    stored = _store(posting, turn, after, terms)
    _tell(posting, cause, turn, stored)
    lines, segments = made(bill, counted, names(invoice.id))
    if turn.crossed is not None:
        reason = {"threshold_reason": reason_of(turn.crossed, lines)}
        invoice = msgspec.structs.replace(invoice, details=invoice.details | reason)
    draft = create_invoice(posting, cause, invoice, lines, segments)
    if not turn.draft and draft.auto_advance:
        finalize_for(posting, cause, stored, draft, lines, segments, invoice.created)
    return stored


def finalize_for(
    posting: Posting,
    cause: Cause,
    subscription: Subscription | None,
    draft: Invoice,
    lines: Sequence[Line],
    segments: Sequence[Segment],
    now: int,
) -> Invoice:
    """Finalize a draft, and give it up at once where its subscription's collection is paused."""
    invoice = finalize(posting, cause, draft, lines, segments, now)
    behavior = pause_behavior(subscription)
    if invoice.status == "open" and behavior == "void":
        return void(posting, cause, invoice, now)
    if invoice.status == "open" and behavior == "mark_uncollectible":
        return mark_uncollectible(posting, cause, invoice, now)
    return invoice


def pause_behavior(subscription: Subscription | None) -> str | None:
    """Return what becomes of the invoices of a subscription that are not collected now."""
    paused = subscription.details.get("pause_collection") if subscription else None
    return paused["behavior"] if paused else None


def tell_of_subscription(
    posting: Posting,
    cause: Cause,
    event: str,
    one: Subscription,
    before: Subscription | None = None,
) -> None:
    """Announce `customer.subscription.<event>`; `before` is what it was, where it is updated."""
    named = {item.price for item in (*one.items, *(before.items if before else ()))}
    known = prices_of(posting.connection, one.scope, named)
    livemode = cause.scope.livemode
    events = announced(
        cause,
        f"customer.subscription.{event}",
        f"/v1/subscriptions/{one.id}",
        render_subscription(one, known, livemode=livemode),
        render_subscription(before, known, livemode=livemode) if before else None,
    )
    posting.tell(events)


def due_of(subscription: Subscription, terms: Terms) -> int | None:
    """Return when something happens to a subscription of itself; None: never."""
    step = next_step(subscription, terms.notice)
    return None if step is None else step.at


def _store(posting: Posting, turn: Turn, after: Subscription, terms: Terms) -> Subscription:
    due = due_of(after, terms)
    if turn.before is None:
        return posting.create_subscription(after, due)
    return posting.update_subscription(after, due)


def _tell(posting: Posting, cause: Cause, turn: Turn, stored: Subscription) -> None:
    for event in turn.events:
        before = turn.before if event == "updated" else None
        tell_of_subscription(posting, cause, event, stored, before)


def _put_aside(posting: Posting, cause: Cause, turn: Turn, subscription: Subscription) -> None:
    """Let usage that a turn settles wait for the next invoice, and announce that."""
    items = [put_aside(subscription, one, turn.at) for one in turn.change.billed]
    known = prices_of(posting.connection, cause.scope.id, {item.price or "" for item in items})
    for item in items:
        posting.create_item(item)
        document = render_invoice_item(item, livemode=cause.scope.livemode, prices=known)
        url = f"/v1/invoiceitems/{item.id}"
        posting.tell(announced(cause, "invoiceitem.created", url, document))


def put_aside(subscription: Subscription, stretch: Stretch, now: int) -> InvoiceItem:
    """Return the item as which usage waits for the next invoice."""
    return InvoiceItem(
        id=new_id("ii"),
        scope=subscription.scope,
        customer=subscription.customer,
        subscription=subscription.id or None,
        subscription_item=stretch.item.id,
        invoice=None,
        test_clock=subscription.test_clock,
        currency=subscription.currency,
        description=None,
        amount=0,
        quantity=_ZERO,
        unit_amount=_ZERO,
        price=stretch.item.price,
        period=stretch.usage_in,
        usage_in=stretch.usage_in,
        created=now,
    )


def draft_of(turn: Turn, terms: Terms, created: int) -> Invoice:
    """Return the draft of the invoice of a turn."""
    after = turn.change.subscription
    keeps = pause_behavior(after) == "keep_as_draft"
    settings: dict[str, Any] = after.details.get("invoice_settings") or {}
    shown = settings.get("custom_fields")
    due_date = None
    if after.days_until_due is not None:
        due_date = created + after.days_until_due * MILLISECONDS["day"]
    return Invoice(
        id=new_id("in"),
        scope=after.scope,
        customer=after.customer,
        subscription=after.id or None,
        test_clock=after.test_clock,
        status="draft",
        reason=turn.invoice or "subscription_update",
        currency=after.currency,
        period=_elapsed(turn),
        collection=after.collection,
        due_date=due_date,
        auto_advance=not keeps,
        finalizes_at=None if keeps or not turn.draft else created + terms.delay,
        description=settings.get("description"),
        footer=settings.get("footer"),
        details={} if shown is None else {"custom_fields": shown},
        created=created,
    )


def _elapsed(turn: Turn) -> Period:
    """Return the period that is over with a turn; that of what begins or changes is an instant.

    What is invoiced early is the period that goes on, as far as it has come.
    """
    items = turn.before.items if turn.before else ()
    early = turn.invoice == "subscription_threshold"
    begun = [item.period.start for item in items if early or item.period.end <= turn.at]
    return Period(min(begun, default=turn.at), turn.at)


def _uncounted(segment: Segment) -> Segment:
    return msgspec.structs.replace(segment, usage=_ZERO, events=0, amount=0, counted_at=None)
