"""Invoice subscriptions early whose usage has reached a threshold (`billing.threshold`).

What a reader may rely on:

- What is stored of usage by then is compared and billed, whatever may come late: that is found when
  the rest of the period is billed.
- A threshold that is reached makes one invoice, however many look at once: a subscription is billed
  as it was compared, or compared anew.
- While something that was due of a subscription is not done yet it is not compared, and neither is
  one whose test clock is on its way: it is before the clock sets out.
"""

import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import NamedTuple

import sqlalchemy as sa
from msgspec.structs import replace

from meterhouse import limits
from meterhouse.billing.bill import Bill, made
from meterhouse.billing.change import Recurrences, threshold_reached
from meterhouse.billing.credit import Grant, simulated
from meterhouse.billing.invoice import Segment
from meterhouse.billing.subscription import Subscription, overdue
from meterhouse.billing.threshold import Crossed, crossed, is_compared, is_open
from meterhouse.errors import OutdatedError, StoreError
from meterhouse.invoicing.bill import recurrences_of
from meterhouse.invoicing.count import count
from meterhouse.invoicing.recount import names
from meterhouse.invoicing.turn import Terms, Turn, bills_of, take
from meterhouse.ledger import (
    accounts,
    credit_grants,
    customers,
    invoice_segments,
    subscriptions,
    test_clocks,
    thresholds,
)
from meterhouse.ledger.announce import Cause
from meterhouse.stores import Stores

log = logging.getLogger("meterhouse.threshold")

_SECOND = 1000

# A scope, and a meter and a customer of it whose usage has changed.
Touched = tuple[int, str, str]


class _Compared(NamedTuple):
    """What a subscription would be billed now: its turn at an instant, and the bill of it.

    `billed_before` is how much usage of items was billed early, by their ids; `grants` are what
    credits may pay for it with.
    """

    subscription: Subscription
    now: int
    turn: Turn
    bill: Bill
    billed_before: dict[str, Decimal]
    grants: list[Grant]

    def crossed(self, counted: Sequence[Segment]) -> Crossed | None:
        """Return the thresholds that are reached by the usage of the bill's segments."""
        bill = made(self.bill, counted, names(""))
        lines = simulated(self.grants, bill.lines, self.turn.at, self.bill.currency)
        return crossed(self.subscription, bill._replace(lines=lines), self.billed_before)


async def check(stores: Stores, terms: Terms, now: int, touched: Collection[Touched]) -> None:
    """Invoice those of customers whose stored usage has changed who have reached a threshold.

    `now` is the machine's time.
    """
    pairs: defaultdict[int, set[tuple[str, str]]] = defaultdict(set)
    for scope, meter, customer in touched:
        pairs[scope].add((meter, customer))
    look = _Look(stores, terms, now)
    size = limits.THRESHOLD_TOUCHED_ROWS
    for scope, of_scope in pairs.items():
        in_order = sorted(of_scope)
        for start in range(0, len(in_order), size):
            some = in_order[start : start + size]
            await look.at(scope, await stores.read(thresholds.watched_of, scope, some))


async def check_clock(stores: Stores, terms: Terms, now: int, scope: int, test_clock: str) -> None:
    """Invoice those who have reached a threshold by the time at which a test clock sets out."""
    found = await stores.read(thresholds.watched_by_clock, scope, test_clock)
    await _Look(stores, terms, now, leaving=True).at(scope, found)


class _Look:
    """Compares subscriptions `now`, by the machine's time.

    With `leaving` they live by a test clock that has been sent on its way, and has not moved yet.
    """

    def __init__(self, stores: Stores, terms: Terms, now: int, *, leaving: bool = False) -> None:
        self._stores = stores
        self._terms = terms
        self._now = now
        self._leaving = leaving

    async def at(self, scope: int, found: Sequence[Subscription]) -> None:
        """Compare subscriptions of a scope, some at a time; one that fails fails alone."""
        if not found:
            return
        cause = Cause(
            (await self._stores.read(accounts.scopes_by_id))[scope],
            self._now,
            pages=self._terms.pages,
        )
        size = limits.INVOICE_BATCH_ROWS_MAX
        for start in range(0, len(found), size):
            await self._try(cause, found[start : start + size])

    async def _try(self, cause: Cause, some: Sequence[Subscription]) -> None:
        try:
            await self._bill(cause, some)
        except StoreError:
            raise  # it is nobody's fault here
        except Exception:
            if len(some) > 1:
                for one in some:
                    await self._try(cause, [one])
                return
            log.exception("the thresholds of %s could not be compared", some[0].id)

    async def _bill(self, cause: Cause, some: Sequence[Subscription]) -> None:
        """Compare and bill subscriptions, those that change meanwhile anew."""
        for _ in range(limits.INVOICE_COUNT_ATTEMPTS):
            compared = await self._stores.read(self._compare, some)
            asked = [segment for one in compared for segment in one.bill.segments]
            found = iter(await count(self._stores, cause.scope, asked, self._now))
            changed = []
            for one in compared:
                counted = [next(found) for _ in one.bill.segments]
                if not await self._take(cause, one, counted):
                    changed.append(one.subscription.id)
            if not changed:
                return
            known = await self._stores.read(subscriptions.by_ids, cause.scope.id, changed)
            some = list(known.values())

    def _compare(self, connection: sa.Connection, some: Sequence[Subscription]) -> list[_Compared]:
        """Return what those would be billed now who are to be compared."""
        turns: list[tuple[Subscription, int, Turn]] = []
        for one in some:
            now = self._present(connection, one, lock=False)
            if now is not None and not overdue(one, now) and is_compared(one, now):
                turns.append((one, now, _turn(one, recurrences_of(connection, one), now)))
        bills = bills_of(connection, [turn for _, _, turn in turns])
        asked = [segment for bill in bills if bill for segment in bill.segments]
        before = invoice_segments.billed_early(connection, [one for one in asked if is_open(one)])
        used = {key.subscription_item or "": last.usage for key, last in before.items()}
        grants = credit_grants.unspent(connection, {one.customer for one, _, _ in turns})
        return [
            _Compared(one, now, turn, bill, used, grants[one.customer])
            for (one, now, turn), bill in zip(turns, bills, strict=True)
            if bill is not None
        ]

    def _present(self, connection: sa.Connection, one: Subscription, *, lock: bool) -> int | None:
        """Return what time it is for a subscription; None where its clock is elsewhere."""
        if one.test_clock is None:
            return self._now
        clock = test_clocks.find_test_clock(connection, one.scope, one.test_clock, lock=lock)
        if clock is None or (clock.target is not None) != self._leaving:
            return None
        return clock.frozen_time

    async def _take(self, cause: Cause, one: _Compared, counted: Sequence[Segment]) -> bool:
        """Bill a subscription if it has reached a threshold; False where it has changed."""
        reached = one.crossed(counted)
        if reached is None:
            return True
        turn = replace(one.turn, crossed=reached)

        def write(connection: sa.Connection) -> bool:
            known = one.subscription
            if self._present(connection, known, lock=True) != one.now:
                return True  # it is compared where its clock is now
            customers.find_customer(connection, known.scope, known.customer, lock=True)
            held = subscriptions.find_subscription(connection, known.scope, known.id, lock=True)
            if held is None or held.revision != known.revision:
                return False
            take(connection, cause, turn, counted, self._terms)
            return True

        try:
            return await self._stores.write(write)
        except OutdatedError:
            return False


def _turn(one: Subscription, recurrences: Recurrences, now: int) -> Turn:
    """Return the turn of a subscription whose threshold is reached.

    Usage of the second that goes on belongs to it, since senders tell time in whole ones.
    """
    at = max(now // _SECOND * _SECOND, *(item.since for item in one.items))
    return Turn(
        before=one,
        change=threshold_reached(one, recurrences, at, at + _SECOND),
        at=at,
        events=("updated",),
        invoice="subscription_threshold",
    )
