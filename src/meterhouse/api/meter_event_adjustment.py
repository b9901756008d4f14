"""The cancellation of a meter event, whichever API asks for it: what v1 and v2 do alike.

A cancellation is asked for by identifier and applied by the pipeline. Asking again changes nothing
and tells how far it is.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.once import once, replay_or_refuse
from meterhouse.ledger import adjustments, journal, meters
from meterhouse.ledger.adjustments import Adjustment
from meterhouse.ledger.journal import Cancellation
from meterhouse.metering.adjustment import cancellable
from meterhouse.metering.identifier import Claim, identifier_digest
from meterhouse.metering.model import Meter, StoredEvent
from meterhouse.usage.store import UsageStore
from meterhouse.wire import envelope, refusals
from meterhouse.wire.ids import new_id

Show = Callable[[Adjustment], dict[str, Any]]


class _Found(NamedTuple):
    """The event that a request names: who claimed the identifier, and which meters it may be of."""

    claim: Claim
    meters: list[Meter]


async def cancel(call: Call, event_name: str, identifier: str, show: Show) -> Answer:
    """Cancel the event with an identifier, if it was received in the last 24 hours and counts.

    The answer is what `show` makes of the adjustment.
    """
    found = await _claimed(call, event_name, identifier)
    event = None if found is None else await _stored(call, found)
    if event is None:
        return await replay_or_refuse(call, refusals.no_event_to_cancel(identifier))

    def work(connection: sa.Connection) -> Answer:
        before = adjustments.find(connection, call.scope.id, event.position)
        if before is None:
            if not cancellable(event.received_at, call.services.timekeeper.now()):
                raise refusals.too_late_to_cancel(identifier)
            before = _append(connection, call, event)
        return ok(show(before))

    answer = await once(call, work)
    call.services.progress.wake()
    return answer


async def _claimed(call: Call, event_name: str, identifier: str) -> _Found | None:
    """Return who claimed the identifier last.

    While a claim holds there is no newer one. Else a newer one may be on its way.
    """
    claim = await _claim(call, identifier)
    if claim is None or not _holds(call, claim):
        await _settle(call)
        claim = await _claim(call, identifier)
    if claim is None:
        return None
    named = await call.read(meters.all_by_name, call.scope.id, event_name)
    return _Found(claim, named)


def _holds(call: Call, claim: Claim) -> bool:
    return call.services.identifiers.holds(claim.day, call.services.timekeeper.now())


async def _claim(call: Call, identifier: str) -> Claim | None:
    digest = identifier_digest(call.scope.id, identifier)
    found = await call.usage(UsageStore.claims, [digest])
    return found.get(digest)


async def _stored(call: Call, found: _Found) -> StoredEvent | None:
    """Return the event as the usage store has it; wait until it is judged, where it has not."""
    event = await _find(call, found)
    if event is None:
        await _settle(call)
        event = await _find(call, found)
    return event


async def _find(call: Call, found: _Found) -> StoredEvent | None:
    for meter in found.meters:
        event = await call.usage(UsageStore.find, call.scope, meter.id, found.claim.position)
        if event is not None:
            return event
    return None


async def _settle(call: Call) -> None:
    """Wait until what was acknowledged is judged; refuse with 503 when that takes too long."""
    if not await call.services.progress.settle(limits.CONSISTENCY_WAIT_SECONDS_MAX):
        raise envelope.unavailable()


def _append(connection: sa.Connection, call: Call, event: StoredEvent) -> Adjustment:
    adjustment = Adjustment(
        new_id("mea", call.scope.livemode),
        call.scope.id,
        event.identifier,
        event.event_name,
        event.position,
        "pending",
        call.now,
    )
    adjustments.put(connection, adjustment)
    call.note(connection, "meter_event_adjustment.created", adjustment.id)
    journal.append_cancellation(
        connection,
        Cancellation(call.scope.id, adjustment.id, event.meter, event.position, call.now),
        call.services.acceptor.partition_of(call.scope.id, event.identifier),
    )
    return adjustment
