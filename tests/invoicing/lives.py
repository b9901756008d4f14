"""Lives of a subscription with a threshold, by a usage store that is a list of events.

What a life bills is compared with a model that knows nothing of thresholds but where they let a
period begin anew: it keeps the ranges that are billed, each at a price, and counts them at last.
"""

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import count
from typing import Any, cast

import sqlalchemy as sa
from msgspec.structs import replace

from meterhouse.billing import change
from meterhouse.billing.change import Change
from meterhouse.billing.charge import billable, charges
from meterhouse.billing.invoice import Invoice
from meterhouse.billing.period import Period
from meterhouse.billing.price import Pricing
from meterhouse.billing.subscription import Item, Subscription, Threshold, next_step
from meterhouse.billing.threshold import is_open
from meterhouse.invoicing.bill import recurrences_of
from meterhouse.invoicing.count import count as counted
from meterhouse.invoicing.finalize import void
from meterhouse.invoicing.posting import posted
from meterhouse.invoicing.recount import recounted
from meterhouse.invoicing.step import Present, finalize_due
from meterhouse.invoicing.threshold import check
from meterhouse.invoicing.turn import Terms, Turn, bill_of, take, turn_of
from meterhouse.ledger import invoices, prices, subscriptions
from meterhouse.ledger.announce import Cause
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.invoice_segments import segments_of
from meterhouse.metering.model import Scope
from meterhouse.metering.usage import PeriodQuery, PeriodUsage
from meterhouse.stores import Stores
from meterhouse.wire.ids import new_id
from meterhouse.wire.page import PageParams
from tests.billing.samples import tiered, unit
from tests.invoicing.samples import a_price, scope_of_tests, stock

START = 1_667_260_800_000  # 2022-11-01
HOUR = 3_600_000
TERMS = Terms(notice=0, delay=HOUR)
PRICINGS: dict[str, Pricing] = {
    "unit": unit("7"),
    "graduated": tiered("graduated", [(50, "9", 20), (200, "5", None), (None, "2", 100)]),
    "volume": tiered("volume", [(60, "10", 20), (150, "6", None), (None, "3", None)]),
}
_numbers = count(2)


def stocked(ledger: Ledger) -> Scope:
    """Put what is sold into a ledger."""
    scope = scope_of_tests(ledger)
    stock(ledger, scope.id)
    with ledger.write() as connection:
        for name, pricing in PRICINGS.items():
            price = replace(a_price(scope.id), id=name, pricing=pricing)
            prices.create_price(connection, price)
    return scope


class Life:
    """A subscription, what was used, and the ranges that have to be billed."""

    def __init__(self, ledger: Ledger, scope: Scope, price: str, threshold: Threshold) -> None:
        self.ledger = ledger
        self.scope = scope
        self.now = START
        self.used: list[tuple[int, int]] = []
        self.customer = f"cus_{next(_numbers)}"
        self.id = new_id("sub")
        self._ranges: list[tuple[str, Period]] = []
        self._unsure: dict[Period, bool] = {}  # ended, counted again: if they were billed early
        stock(ledger, scope.id, self.customer)
        with ledger.write() as connection:
            self._begin(connection, price, threshold)

    async def read(self, work: Callable[..., Any], /, *args: Any) -> Any:
        """Answer as `Stores.read` does."""
        with self.ledger.read() as connection:
            return work(connection, *args)

    async def write(self, work: Callable[..., Any], /, *args: Any) -> Any:
        """Do what `Stores.write` does."""
        with self.ledger.write() as connection:
            return work(connection, *args)

    async def usage(self, work: Any, scope: Scope, questions: Sequence[PeriodQuery]) -> Any:
        """Answer as the usage store does."""
        del work, scope
        return [PeriodUsage(*self._total(Period(one.start, one.end))) for one in questions]

    def use(self, value: int, ago: int) -> None:
        """Use something, or hear that it was used so many seconds ago."""
        floor = min((one.start for one in self._unsure), default=self.item.since)
        self.used.append((max(self.now - ago * 1000, floor), value))
        self.look()

    def look(self) -> None:
        """Compare the threshold."""
        before, made = self.item, len(self.invoices())
        touched = {(self.scope.id, "mtr_1", self.customer)}
        asyncio.run(check(cast("Stores", self), TERMS, self.now, touched))
        if len(self.invoices()) == made:
            return
        recent = self.invoices()[-1].created - HOUR
        self._unsure = {
            one: True for one, early in self._unsure.items() if not early or one.end > recent
        }
        if self.item.since != before.since:
            self._close(before, self.item.since)
            self._unsure[Period(before.since, self.item.since)] = True

    def go_on(self, hours: int) -> None:
        """Let time pass; what is due is done and finalized."""
        until = self.now + hours * HOUR
        while (step := next_step(self.found, TERMS.notice)) and step.at <= until:
            self.now = step.at
            with self.ledger.read() as connection:
                turn = turn_of(self.found, step, recurrences_of(connection, self.found))
            self._take(turn)
        self.now = until

    def change_price(self, price: str, *, at_once: bool) -> None:
        """Go over to another price."""
        with self.ledger.read() as connection:
            often = recurrences_of(connection, self.found)
        often = dict.fromkeys(PRICINGS, often[self.item.price])
        new = replace(self.item, price=price)
        made = change.item_changed(self.found, new, often, self._second, billed=True)
        self._turn(made, at_once=at_once)

    def end(self) -> None:
        """Cancel it, and bill all that was used."""
        until = self._second + 1000
        self._turn(change.canceled(self.found, self.now, billed=True, until=until), at_once=True)

    def void(self) -> None:
        """Declare the last invoice void, if a threshold has made it of a range that goes on."""
        with self.ledger.write() as connection:
            for last in self.invoices()[-1:]:
                segments = segments_of(connection, [last.id])[last.id]
                if last.status == "open" and all(map(is_open, segments)):
                    with posted(connection) as posting:
                        void(posting, Cause(self.scope, self.now), last, self.now)

    def invoices(self) -> list[Invoice]:
        """Return what was invoiced, oldest first."""
        with self.ledger.read() as connection:
            wanted = invoices.Filter(customer=self.customer)
            page = invoices.list_invoices(connection, self.scope.id, PageParams(limit=100), wanted)
        assert page is not None
        return page[0][::-1]

    def billed(self) -> int:
        """Return what all invoices come to that are not void."""
        return sum(one.total for one in self.invoices() if one.status != "void")

    def owed(self) -> int:
        """Return what the ranges come to that are to be billed, counted now."""
        return sum(
            charge.amount
            for price, range_ in self._ranges
            for charge in charges(PRICINGS[price], billable(self._total(range_)[0]))
        )

    @property
    def found(self) -> Subscription:
        """The subscription as it is."""
        with self.ledger.read() as connection:
            found = subscriptions.find_subscription(connection, self.scope.id, self.id)
        assert found is not None
        return found

    @property
    def item(self) -> Item:
        """Its only item."""
        (item,) = self.found.items
        return item

    @property
    def _second(self) -> int:
        return max(self.now // 1000 * 1000, self.found.settled)

    def _begin(self, connection: sa.Connection, price: str, threshold: Threshold) -> None:
        item = Item(
            id=new_id("si"),
            price=price,
            quantity=None,
            period=Period(START, START),
            since=START,
            metadata={},
            created=START,
        )
        one = Subscription(
            id=self.id,
            scope=self.scope.id,
            customer=self.customer,
            test_clock=None,
            status="active",
            currency="usd",
            mode="flexible",
            anchor=START,
            start=START,
            items=(item,),
            threshold=threshold,
            created=START,
        )
        made = change.started(one, recurrences_of(connection, one), START)
        turn = Turn(before=None, change=made, at=START, events=("created",))
        take(connection, Cause(self.scope, START), turn, [], TERMS)

    def _turn(self, made: Change, *, at_once: bool) -> None:
        reason = "subscription_update" if at_once and made.settled else None
        self._take(
            Turn(
                before=self.found,
                change=made,
                at=self._second,
                events=("updated",),
                invoice=cast("Any", reason),
            )
        )

    def _take(self, turn: Turn) -> None:
        before = self.item
        with self.ledger.read() as connection:
            bill = bill_of(connection, turn)
        segments = bill.segments if bill else []
        found = asyncio.run(counted(self, self.scope, segments, self.now))
        with self.ledger.write() as connection:
            take(connection, Cause(self.scope, self.now), turn, found, TERMS)
        self._close(before, self.item.since)
        if turn.invoice is None:
            self._unsure |= {one.usage_in: False for one in turn.change.settled}
            return
        self._unsure = {}
        drafts = [one for one in self.invoices() if one.status == "draft"]
        stored = asyncio.run(recounted(self, self.scope, drafts, self.now))
        with self.ledger.write() as connection:
            present = Present(self.now, None, {self.scope.id: self.scope})
            finalize_due(connection, present, stored)

    def _close(self, item: Item, until: int) -> None:
        if until > item.since:
            self._ranges.append((item.price, Period(item.since, until)))

    def _total(self, range_: Period) -> tuple[Decimal, int]:
        values = [value for at, value in self.used if range_.start <= at < range_.end]
        return Decimal(sum(values)), len(values)
