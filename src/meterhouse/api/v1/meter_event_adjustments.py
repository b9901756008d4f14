"""`/v1/billing/meter_event_adjustments`.

A cancellation is asked for by identifier and applied by the pipeline. Asking again changes nothing
and tells how far it is (https://docs.stripe.com/api/billing/meter-event-adjustment/create).
"""

from typing import Annotated, Literal, NamedTuple

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.once import once, replay_or_refuse
from meterhouse.ledger import adjustments, identifiers, journal, meters
from meterhouse.ledger.adjustments import Adjustment
from meterhouse.ledger.identifiers import Claim
from meterhouse.ledger.journal import Cancellation
from meterhouse.metering.adjustment import cancellable
from meterhouse.metering.model import Meter, StoredEvent
from meterhouse.usage.store import UsageStore
from meterhouse.wire import envelope
from meterhouse.wire.expand import check_expand
from meterhouse.wire.ids import new_id
from meterhouse.wire.param_errors import missing_param
from meterhouse.wire.params import Length, Params, RequestParams


class Cancel(Params):
    """Which event to cancel."""

    identifier: Annotated[str, Length(limits.EVENT_IDENTIFIER_CHARS_MAX)]


class AdjustmentCreate(RequestParams):
    """The parameters of an adjustment."""

    event_name: Annotated[str, Length(limits.METER_EVENT_NAME_CHARS_MAX)]
    type: Literal["cancel"]
    cancel: Cancel | None = None


class _Found(NamedTuple):
    """The event that a request names: who claimed the identifier, and which meters it may be of."""

    claim: Claim
    meters: list[Meter]


async def create(call: Call) -> Answer:
    """Cancel the event with an identifier, if it was received in the last 24 hours and counts."""
    params = call.params(AdjustmentCreate)
    check_expand(params.expand)
    if params.cancel is None:
        raise missing_param("cancel[identifier]")
    identifier = params.cancel.identifier
    found = await call.house.stores.read(_find, call.scope.id, params.event_name, identifier)
    event = None if found is None else await _stored(call, found)
    if event is None:
        return await replay_or_refuse(call, envelope.no_event_to_cancel(identifier))

    def work(connection: sa.Connection) -> Answer:
        before = adjustments.find(connection, call.scope.id, event.position)
        if before is None:
            if not cancellable(event.received_at, call.now):
                raise envelope.too_late_to_cancel(identifier)
            before = _append(connection, call, event)
        return _shown(call, before)

    answer = await once(call, work)
    call.house.processor.wake()
    return answer


def _find(connection: sa.Connection, scope: int, event_name: str, identifier: str) -> _Found | None:
    claim = identifiers.find(connection, scope, (identifier,)).get(identifier)
    if claim is None:
        return None
    return _Found(claim, meters.all_by_name(connection, scope, event_name))


async def _stored(call: Call, found: _Found) -> StoredEvent | None:
    """Return the event as the usage store has it; wait first until it is judged."""
    processor = call.house.processor
    if processor.stored_position < found.claim.position and not await processor.settle(
        limits.CONSISTENCY_WAIT_SECONDS_MAX
    ):
        raise envelope.unavailable()
    for meter in found.meters:
        event = await call.house.stores.usage(
            UsageStore.find, call.scope, meter.id, found.claim.position
        )
        if event is not None:
            return event
    return None


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
    journal.append_cancellation(
        connection, Cancellation(call.scope.id, adjustment.id, event.meter, event.position)
    )
    return adjustment


def _shown(call: Call, adjustment: Adjustment) -> Answer:
    return ok(
        {
            "object": "billing.meter_event_adjustment",
            "cancel": {"identifier": adjustment.identifier},
            "event_name": adjustment.event_name,
            "livemode": call.scope.livemode,
            "status": adjustment.status,
            "type": "cancel",
        }
    )
