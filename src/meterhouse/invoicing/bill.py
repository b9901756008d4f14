"""Gather from the ledger what goes on a bill: what is owed, what waits, and the prices of it all.

What a reader may rely on:

- What waits for an invoice of the customer stands first, newest first; then what is owed for the
  items of the subscription; and then what was billed before and has changed since.
- A bill without parts is none: nothing is invoiced.
- A draft's bill is what the draft was made of, so it can be counted and made anew at any time.

These are the ways onto a bill; none of them writes. Count its segments (`invoicing.count`), and
make its lines (`invoicing.recount`).
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import sqlalchemy as sa
from msgspec.structs import replace

from meterhouse.billing.bill import Bill, Catalog, Part, Usage, bill_of, item_part
from meterhouse.billing.change import Change, canceled, renewed, trial_ended
from meterhouse.billing.invoice import Invoice, InvoiceItem, Line, Segment
from meterhouse.billing.owed import owed
from meterhouse.billing.price import Price, Recurrence
from meterhouse.billing.subscription import Subscription
from meterhouse.ledger import (
    invoice_items,
    invoice_segments,
    memo,
    prices,
    products,
    subscriptions,
)
from meterhouse.ledger.invoice_segments import Beginning


class Stored(NamedTuple):
    """An invoice with its lines and its segments."""

    invoice: Invoice
    lines: list[Line]
    segments: list[Segment]


def catalog_of(
    connection: sa.Connection,
    scope: int,
    price_ids: Iterable[str],
    imagined: Sequence[Price] = (),
) -> Catalog:
    """Return these prices and their products; `imagined` are prices that the ledger lacks."""
    found = prices_of(connection, scope, price_ids)
    found |= {price.id: price for price in imagined}
    sold = {price.product for price in found.values()}
    products_of = partial(products.by_ids, connection, scope)
    return Catalog(
        found, memo.remembered_by_ids(connection, f"products {scope}", sold, products_of)
    )


def prices_of(connection: sa.Connection, scope: int, price_ids: Iterable[str]) -> dict[str, Price]:
    """Return the prices of a scope that have these ids, of which many subscriptions name the same.

    Nothing that bills changes a price or a product.
    """
    read = partial(prices.by_ids, connection, scope)
    return memo.remembered_by_ids(connection, f"prices {scope}", set(price_ids), read)


def recurrences_of(
    connection: sa.Connection, subscription: Subscription
) -> Mapping[str, Recurrence]:
    """Return how often each price of a subscription is billed."""
    ids = {item.price for item in subscription.items}
    found = prices_of(connection, subscription.scope, ids)
    return {id_: price.recurring.recurrence for id_, price in found.items() if price.recurring}


def of_start(connection: sa.Connection, change: Change) -> Bill:
    """Return what is owed as a subscription begins, which may have been in the past."""
    return of_change(connection, None, change)


def of_renewal(connection: sa.Connection, subscription: Subscription, at: int) -> Bill:
    """Return what is owed as periods of a subscription, or its trial, have ended at `at`."""
    recurrences = recurrences_of(connection, subscription)
    go_on = trial_ended if subscription.status == "trialing" else renewed
    return of_change(connection, subscription, go_on(subscription, recurrences, at))


def of_end(connection: sa.Connection, subscription: Subscription, at: int) -> Bill:
    """Return what is owed as a subscription ends at `at`, and is billed to its end."""
    return of_change(connection, subscription, canceled(subscription, at, billed=True))


def of_change(
    connection: sa.Connection,
    before: Subscription | None,
    change: Change,
    late: Sequence[Usage] = (),
) -> Bill:
    """Return what is owed as a subscription changes from what it was `before`, and what waits.

    `late` is usage that was billed before.
    """
    waiting = waiting_for(connection, change.subscription)
    return bill_of_change(connection, before, change, waiting, late=late)


def waiting_for(connection: sa.Connection, subscription: Subscription) -> list[InvoiceItem]:
    """Return the pending items that the next invoice of a subscription takes along."""
    return waiting_for_all(connection, [subscription])[0]


def waiting_for_all(
    connection: sa.Connection, some: Sequence[Subscription]
) -> list[list[InvoiceItem]]:
    """Return the pending items that the next invoice of each of some subscriptions takes along.

    What belongs to none of a customer's subscriptions goes along with the first of them.
    """
    found = invoice_items.pending_of(connection, {one.customer for one in some}) if some else {}
    taken: set[str] = set()
    each: list[list[InvoiceItem]] = []
    for one in some:
        own = [
            item
            for item in found[one.customer]
            if item.subscription in (None, one.id) and item.currency == one.currency
        ]
        each.append([item for item in own if item.id not in taken])
        taken |= {item.id for item in own}
    return each


def bill_of_change(
    connection: sa.Connection,
    before: Subscription | None,
    change: Change,
    waiting: Sequence[InvoiceItem],
    imagined: Sequence[Price] = (),
    late: Sequence[Usage] = (),
) -> Bill:
    """Return what is owed as a subscription changes, with these pending items.

    They wait on where it begins and nothing is owed: then there is no first invoice. `late` usage
    makes no invoice by itself. `imagined` are prices that the ledger does not have.
    """
    after = change.subscription
    named = {item.price for item in after.items} | {one.item.price for one in change.settled}
    named |= {item.price for item in waiting if item.price is not None}
    named |= {usage.segment.price for usage in late}
    catalog = catalog_of(connection, after.scope, named, imagined)
    parts = owed(before, change, catalog)
    if before is None and not parts:
        waiting = ()
    if not parts and not waiting:
        late = ()
    taken = [item_part(item, catalog, after.mode) for item in waiting]
    if any(stretch.fate == "early" for stretch in change.settled):
        taken = [_early(part) for part in taken]
    if before is not None and before.billed_early:
        return bill_of(after.currency, catalog, _less_early(connection, [*taken, *parts], late))
    return bill_of(after.currency, catalog, [*taken, *parts, *late])


def _early(part: Part) -> Part:
    """Return a part whose usage is billed early, too."""
    if isinstance(part, Line):
        return part
    return replace(part, segment=replace(part.segment, early=True))


def _less_early(
    connection: sa.Connection, parts: Sequence[Part], late: Sequence[Usage]
) -> list[Part]:
    """Return parts that take off what was billed of them early, and then what is late.

    What is late is not billed by two of them.
    """
    taken = less_early(connection, parts)
    known = {Beginning.of(part.segment) for part in taken if isinstance(part, Usage)}
    return [*taken, *(one for one in late if Beginning.of(one.segment) not in known)]


def less_early(connection: sa.Connection, parts: Sequence[Part]) -> list[Part]:
    """Return parts that take off what was billed of their usage early."""
    fresh = [part.segment for part in parts if isinstance(part, Usage) and not part.segment.late]
    early = invoice_segments.billed_early(connection, fresh) if fresh else {}

    def less(part: Part) -> Part:
        if isinstance(part, Line) or part.segment.late:
            return part
        found = early.get(Beginning.of(part.segment))
        segment = replace(part.segment, billed_before=found.amount if found else 0)
        return replace(part, segment=segment)

    return [less(part) for part in parts]


def of_waiting(connection: sa.Connection, subscription: Subscription) -> Bill:
    """Return what waits for an invoice of a subscription, to be billed at once."""
    waiting = waiting_for(connection, subscription)
    named = [item.price for item in waiting if item.price is not None]
    catalog = catalog_of(connection, subscription.scope, named)
    parts = [item_part(item, catalog, subscription.mode) for item in waiting]
    if subscription.billed_early:
        parts = less_early(connection, parts)
    return bill_of(subscription.currency, catalog, parts)


def of_drafts(connection: sa.Connection, drafts: Sequence[Stored]) -> list[Bill]:
    """Return the bills of drafts of one scope, in their order."""
    if not drafts:
        return []
    scope = drafts[0].invoice.scope
    prices_of = {segment.price for one in drafts for segment in one.segments}
    catalog = catalog_of(connection, scope, prices_of)
    of = {one.invoice.subscription for one in drafts if one.invoice.subscription is not None}
    known = subscriptions.by_ids(connection, scope, of) if of else {}
    return [
        Bill(
            currency=one.invoice.currency,
            parts=tuple(_parts(connection, one, known.get(one.invoice.subscription or ""))),
            catalog=catalog,
        )
        for one in drafts
    ]


def _parts(
    connection: sa.Connection, draft: Stored, subscription: Subscription | None
) -> list[Part]:
    """Return the parts that a draft was made of: in the order of its lines, then what came late.

    What was billed early of them may have become void meanwhile.
    """
    left = {segment.place: segment for segment in draft.segments if not segment.late}
    parts: list[Part] = []
    for line in draft.lines:
        if line.segment is None:
            parts.append(line)
        elif line.segment in left:
            parts.append(_usage(left.pop(line.segment), line, subscription))
    if subscription is not None and subscription.billed_early:
        parts = less_early(connection, parts)
    late = [segment for segment in draft.segments if segment.late]
    return [*parts, *(late_usage(segment, subscription) for segment in late)]


def late_usage(segment: Segment, subscription: Subscription | None) -> Usage:
    """Return the part that usage of a subscription is which was billed before."""
    if subscription is None:
        return Usage(segment=segment)
    return Usage(
        segment=segment,
        subscription=subscription.id,
        mode=subscription.mode,
        metadata=subscription.metadata,
    )


def _usage(segment: Segment, line: Line, subscription: Subscription | None) -> Usage:
    """Return the part that a segment is; a line that it did not have yet is like its others."""
    mode = subscription.mode if subscription else "flexible"
    metadata = line.metadata
    if subscription is not None and segment.invoice_item is None:
        metadata = subscription.metadata
    return Usage(segment=segment, subscription=line.subscription, mode=mode, metadata=metadata)
