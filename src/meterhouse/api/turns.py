"""Turns of subscriptions that requests bring about (`invoicing.turn`), each once for its key."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.api.call import Answer, Call
from meterhouse.api.once import once
from meterhouse.billing.invoice import Segment
from meterhouse.billing.subscription import Subscription
from meterhouse.errors import OutdatedError, Refusal
from meterhouse.invoicing.count import count
from meterhouse.invoicing.turn import Terms, Turn, bill_of, take
from meterhouse.wire import envelope, subscription_errors

Show = Callable[[sa.Connection, Subscription], Answer]


class Decide(Protocol):
    """Decides what becomes of a subscription, by the ledger as it is."""

    def __call__(self, connection: sa.Connection, *, lock: bool) -> Turn:
        """Return the turn; with `lock`, of a subscription that nobody else changes."""


async def turned(call: Call, decide: Decide, show: Show, action: str, object_id: str) -> Answer:
    """Take the turn that `decide` decides on, and answer as `show` does.

    What is invoiced with it is counted before, and all that was acknowledged is waited for. What is
    due of the subscription is waited for, too. `action` and `object_id` are for the audit log.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + limits.SUBSCRIPTION_DUE_SECONDS_MAX
    while True:
        try:
            counted = await _counted(call, decide)
            return await once(
                call, partial(_take, call, decide, show, (action, object_id), counted)
            )
        except OutdatedError:
            if loop.time() > until:
                raise subscription_errors.under_way(object_id) from None
        call.services.signals.send("invoice")
        await asyncio.sleep(limits.ANSWER_POLL_MILLISECONDS / 1000)


async def _counted(call: Call, decide: Decide) -> list[Segment]:
    """Return what a turn bills as it is used by now; nothing of one that is refused."""
    try:
        segments = await call.read(_segments, decide)
    except Refusal:
        return []
    if not segments:
        return []
    if not await call.services.progress.settle(limits.CONSISTENCY_WAIT_SECONDS_MAX):
        raise envelope.unavailable()
    return await count(call, call.scope, segments, call.now)


def _segments(connection: sa.Connection, decide: Decide) -> list[Segment]:
    bill = bill_of(connection, decide(connection, lock=False))
    return bill.segments if bill else []


def _take(
    call: Call,
    decide: Decide,
    show: Show,
    noted: tuple[str, str],
    counted: Sequence[Segment],
    connection: sa.Connection,
) -> Answer:
    turn = decide(connection, lock=True)
    after = take(connection, call.cause, turn, counted, Terms.of(call.services.config))
    if after is not turn.before:
        call.note(connection, *noted)
    return show(connection, after)
