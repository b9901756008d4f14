"""Invoice: time goes on for whoever is billed, by the machine's clock and by test clocks.

What a reader may rely on:

- What is due is done in the order of its time, step by step, each of them once: wherever this is
  killed, what was done is on disk, and the rest is due. After a standstill it is made up for.
- A draft is finalized when all that was acknowledged before has been counted, and not before.
- A test clock that was sent on its way has arrived when all that was acknowledged before is counted
  and all that was due until then is done. What happens to its customers happens at the instant at
  which it was due; to others it happens when it is done.
- Clocks go on in turn, a batch of steps each, so none waits for the way of another to end.
- What is due of an object and fails holds up nobody else: it is noted with why (`ledger.holdups`),
  and tried again after a pause. A test clock on whose way it is stands still there, and has failed.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.background import Worker, is_set_within
from meterhouse.billing.credit import Grant
from meterhouse.billing.invoice import Invoice
from meterhouse.billing.subscription import Subscription
from meterhouse.clock import Clock
from meterhouse.errors import OvertakenError, Refusal, StoreError
from meterhouse.invoicing.count import count
from meterhouse.invoicing.hold_up import hold_up
from meterhouse.invoicing.recount import recounted
from meterhouse.invoicing.step import (
    Planned,
    Present,
    expire_due,
    finalize_due,
    plan,
    take_steps,
    tell_overdue,
)
from meterhouse.invoicing.threshold import check_clock
from meterhouse.invoicing.turn import Terms
from meterhouse.ledger import (
    accounts,
    credit_grants,
    holdups,
    invoices,
    subscriptions,
    test_clocks,
)
from meterhouse.ledger.announce import Cause, announce
from meterhouse.ledger.test_clocks import TestClock
from meterhouse.processing.stillness import Settle
from meterhouse.processing.timekeeper import Timekeeper
from meterhouse.render.test_clock import render_test_clock
from meterhouse.stores import Stores

log = logging.getLogger("meterhouse.invoice")

T = TypeVar("T", Subscription, Invoice, Grant)
StepT = TypeVar("StepT")


class Invoicer(Worker):
    """Does what is due, and looks once in a while for what has become so.

    `settle(seconds)` waits until what was acknowledged is counted.
    """

    def __init__(
        self, stores: Stores, settle: Settle, clock: Clock, timekeeper: Timekeeper, terms: Terms
    ) -> None:
        super().__init__()
        self._stores = stores
        self._settle = settle
        self._clock = clock
        self._timekeeper = timekeeper
        self._terms = terms
        self._failed: set[str] = set()  # ids of what is tried again after a pause
        self._begun: set[str] = set()  # clocks on their way, before which all was counted

    async def bill(self) -> None:
        """Do what is due by every clock, as far as it does not fail."""
        self._failed.clear()
        while await self._round():
            pass

    async def _run(self) -> None:
        while True:
            self._work.clear()
            try:
                await self.bill()
            except OvertakenError:
                return
            except Exception:
                log.exception("what is due could not be billed and will be tried again")
                await asyncio.sleep(limits.INVOICE_RETRY_SECONDS)
                continue
            await is_set_within(self._work, limits.INVOICE_LOOK_SECONDS)

    async def _round(self) -> bool:
        """Do some of what is due by each clock in turn; False where nothing is left but failures.

        So a clock that has a long way to go holds up neither others nor the machine's.
        """
        moved = False
        clocks = await self._stores.read(test_clocks.advancing)
        self._begun &= {clock_id for _, clock_id in clocks}
        for scope, clock_id in clocks:
            if clock_id not in self._failed:
                moved |= await self._advance(scope, clock_id)
        present = await self._present(None)
        return await self._play(present, self._timekeeper.now()) or moved

    async def _advance(self, scope: int, clock_id: str) -> bool:
        """Bring a test clock nearer to where it was sent; False where it is held up."""
        if clock_id not in self._begun:
            if not await self._is_counted():
                log.info("the test clock %s waits until what was acknowledged is stored", clock_id)
                self._failed.add(clock_id)
                return False
            now = self._clock.now()
            await check_clock(self._stores, self._terms, now, scope, clock_id)
            self._begun.add(clock_id)
        due = await self._stores.read(_next_due, scope, clock_id)
        if due is None:
            self._begun.discard(clock_id)
            await self._stores.write(_arrive, scope, clock_id, self._clock.now())
            return True
        if await self._play(await self._present(clock_id), due):
            return True
        now = self._clock.now()
        held = await self._stores.write(_stop, scope, clock_id, due, now)
        if held:
            self._begun.discard(clock_id)
            self._failed.difference_update(held)  # when it goes on, they are tried at once
            log.error("the test clock %s has failed: what was due could not be done", clock_id)
            return True
        log.info("the test clock %s waits, and goes on later", clock_id)
        self._failed.add(clock_id)
        return False

    async def _present(self, test_clock: str | None) -> Present:
        scopes = await self._stores.read(accounts.scopes_by_id)
        now = self._timekeeper.now() if test_clock is None else self._clock.now()
        return Present(now, test_clock, scopes, self._terms.pages)

    async def _play(self, present: Present, until: int) -> bool:
        """Do some of what is due by an instant; False where nothing is that does not fail."""
        rows = limits.INVOICE_BATCH_ROWS_MAX
        read, clock = self._stores.read, present.test_clock
        again = rows + len(self._failed)
        due = self._left(await read(subscriptions.due, clock, until, again))[:rows]
        if due:
            await self._try(due, lambda some: self._turn(present, some, until), _of)
            return True
        owed = self._left(await read(invoices.due, clock, until, again))[:rows]
        drafts = [one for one in owed if one.status == "draft"]
        late = [one for one in owed if one.status != "draft"]
        if drafts and await self._is_counted():
            await self._try(drafts, lambda some: self._finalize(present, some), _of)
        elif drafts:
            log.info("invoices are not finalized until what was acknowledged is stored")
            self._failed |= {one.id for one in drafts}
        await self._in_parts(
            late, lambda some: self._stores.write(tell_overdue, present, self._terms, some), _of
        )
        over = self._left(await read(credit_grants.due, clock, until, again))[:rows]
        await self._in_parts(over, lambda some: self._stores.write(expire_due, present, some), _of)
        return bool(owed or over)

    def _left(self, due: Sequence[T]) -> list[T]:
        return [one for one in due if one.id not in self._failed]

    async def _turn(self, present: Present, due: Sequence[Subscription], until: int) -> None:
        """Take the next step of each of some subscriptions."""
        planned = await self._stores.read(plan, due, until, self._terms)
        # What is counted here is only shown; a draft is counted anew until it is finalized.
        await self._settle(limits.INVOICE_DRAFT_SETTLE_SECONDS_MAX)
        steps = await self._counted(present, planned)
        await self._in_parts(
            steps,
            lambda some: self._stores.write(take_steps, present, self._terms, some),
            lambda one: one.subscription.id,
        )

    async def _counted(self, present: Present, planned: Sequence[Planned]) -> list[Planned]:
        """Count what steps bill, all of a scope at once."""
        counted: list[Planned] = []
        for scope, steps in _by_scope(planned, lambda one: one.subscription.scope).items():
            asked = [segment for one in steps for segment in one.segments]
            found = iter(await count(self._stores, present.scopes[scope], asked, present.now))
            counted += [one._replace(segments=[next(found) for _ in one.segments]) for one in steps]
        return counted

    async def _finalize(self, present: Present, drafts: Sequence[Invoice]) -> None:
        """Finalize drafts, all of whose usage is stored."""
        for scope, some in _by_scope(drafts, lambda one: one.scope).items():
            counted = await recounted(self._stores, present.scopes[scope], some, present.now)
            await self._in_parts(
                counted,
                lambda part: self._stores.write(finalize_due, present, part),
                lambda one: one.invoice.id,
            )

    async def _is_counted(self) -> bool:
        """Wait until what was acknowledged is stored; False if that takes too long."""
        return await self._settle(limits.CONSISTENCY_WAIT_SECONDS_MAX)

    async def _in_parts(
        self,
        steps: Sequence[StepT],
        write: Callable[[Sequence[StepT]], Awaitable[None]],
        name: Callable[[StepT], str],
    ) -> None:
        """Take steps some at a time, so that others write, too."""
        size = limits.INVOICE_WRITE_ROWS_MAX
        for start in range(0, len(steps), size):
            await self._try(steps[start : start + size], write, name)

    async def _try(
        self,
        some: Sequence[StepT],
        work: Callable[[Sequence[StepT]], Awaitable[None]],
        name: Callable[[StepT], str],
    ) -> None:
        """Do something with all of some; where that fails by halves, so that one fails alone."""
        try:
            await work(some)
        except StoreError:
            raise  # it is nobody's fault here
        except Exception as error:  # noqa: BLE001 - it is told where it is held up
            if len(some) > 1:
                middle = len(some) // 2
                for half in (some[:middle], some[middle:]):
                    await self._try(half, work, name)
                return
            await self._hold_up(name(some[0]), error)

    async def _hold_up(self, object_id: str, error: Exception) -> None:
        """Note that what is due of an object has failed, and say why."""
        self._failed.add(object_id)
        now = self._timekeeper.now()
        held = await self._stores.write(hold_up, object_id, error, now)
        if held is None:
            return
        again = "when its test clock is advanced again"
        if held.again_at is not None:
            again = f"in {(held.again_at - now) // 1000} seconds"
        log.error(
            "what is due of %s failed at attempt %d and is tried again %s: %s %s",
            object_id,
            held.attempts,
            again,
            held.message,
            held.advice,
            exc_info=None if isinstance(error, Refusal) else error,
        )


def _by_scope(some: Sequence[StepT], scope: Callable[[StepT], int]) -> dict[int, list[StepT]]:
    found: defaultdict[int, list[StepT]] = defaultdict(list)
    for one in some:
        found[scope(one)].append(one)
    return found


def _of(one: Subscription | Invoice | Grant) -> str:
    return one.id


def _next_due(connection: sa.Connection, scope: int, clock_id: str) -> int | None:
    """Return the instant of what is due first on the way of a clock; None where nothing is."""
    clock = test_clocks.find_test_clock(connection, scope, clock_id)
    if clock is None or clock.target is None:
        return None
    first = [
        subscriptions.next_due(connection, clock_id),
        *(one.due for one in invoices.due(connection, clock_id, clock.target, 1)),
        *(one.due for one in credit_grants.due(connection, clock_id, clock.target, 1)),
    ]
    return min((at for at in first if at is not None and at <= clock.target), default=None)


def _stop(connection: sa.Connection, scope_id: int, clock_id: str, at: int, now: int) -> list[str]:
    """Let a clock stand where something is held up; return the ids of that."""
    clock = test_clocks.find_test_clock(connection, scope_id, clock_id, lock=True)
    held = holdups.of_test_clock(connection, clock_id)
    if clock is None or clock.target is None or not held:
        return []
    frozen = max(at, clock.frozen_time)
    stopped = msgspec.structs.replace(clock, frozen_time=frozen, target=None, failed=True)
    _stand(connection, stopped, "internal_failure", now)
    return held


def _arrive(connection: sa.Connection, scope_id: int, clock_id: str, now: int) -> None:
    """Let a clock stand where it was sent."""
    clock = test_clocks.find_test_clock(connection, scope_id, clock_id, lock=True)
    if clock is None or clock.target is None:
        return
    arrived = msgspec.structs.replace(clock, frozen_time=clock.target, target=None)
    _stand(connection, arrived, "ready", now)


def _stand(connection: sa.Connection, clock: TestClock, event: str, now: int) -> None:
    """Store a clock that stands by now, and announce it."""
    test_clocks.update_test_clock(connection, clock)
    announce(
        connection,
        Cause(accounts.scopes_by_id(connection)[clock.scope], now),
        f"test_helpers.test_clock.{event}",
        f"/v1/test_helpers/test_clocks/{clock.id}",
        render_test_clock(clock),
    )
