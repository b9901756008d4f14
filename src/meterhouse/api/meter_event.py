"""A single meter event, whichever API it came by: what v1 and v2 do alike."""

from collections.abc import Callable
from typing import Any, NamedTuple

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.once import record, replay, replay_or_refuse
from meterhouse.errors import Refusal
from meterhouse.ingest.commit import Submission, Timed
from meterhouse.ledger import meters, test_clocks
from meterhouse.ledger.idempotency import Record
from meterhouse.metering.model import MeterEvent
from meterhouse.metering.problem import earliest_timestamp, timestamp_problem
from meterhouse.wire import envelope, refusals
from meterhouse.wire.envelope_v2 import too_many_concurrent_requests


class Sent(NamedTuple):
    """What a request tells of an event; `timestamp` is in milliseconds, None where it has none."""

    event_name: str
    identifier: str
    payload: dict[str, str]
    timestamp: int | None


Show = Callable[[MeterEvent], dict[str, Any]]
Check = Callable[[sa.Connection, MeterEvent], Refusal | None]


async def accept(call: Call, sent: Sent, show: Show, check: Check | None = None) -> Answer:
    """Accept an event and answer as `show` says; the answer comes when the event is on disk.

    What the ledger says against it, beside its time, is the business of `check`. Of a customer with
    a test clock the event is measured by that, which the commit finds out: nothing is asked of
    others.
    """
    frozen: int | None = None
    for _ in range(limits.ACCEPT_ATTEMPTS_MAX):
        event = _event(call, sent, frozen)
        refusal = _timestamp_refusal(event, call.now if frozen is None else frozen)
        if refusal is not None and frozen is None:
            frozen = await call.read(_frozen_time, event)
            if frozen is not None:
                continue
        if refusal is None and check is not None:
            refusal = await call.read(check, event)
        if refusal is not None:
            return await replay_or_refuse(call, refusal)
        answer = await _accept_in_turn(call, event, show(event), frozen)
        if isinstance(answer, Answer):
            return answer
        frozen = answer.frozen
    raise envelope.lock_timeout()


def _event(call: Call, sent: Sent, frozen: int | None) -> MeterEvent:
    """Return the event that a request sends, at `frozen` or else now unless it says when."""
    now = call.now if frozen is None else frozen
    if call.api == "v1":
        now -= now % 1000  # it counts in seconds
    return MeterEvent(
        call.scope.id,
        sent.identifier,
        sent.event_name,
        now if sent.timestamp is None else sent.timestamp,
        call.now,
        sent.payload,
        None,
        call.whole,
        None,
        "sender" if frozen is None else "clock",
    )


def _timestamp_refusal(event: MeterEvent, now: int) -> Refusal | None:
    problem = timestamp_problem(event.timestamp, now)
    if problem is None:
        return None
    if problem == "timestamp_in_future":
        return refusals.timestamp_in_future()
    return refusals.timestamp_too_old(-(-earliest_timestamp(now) // 1000))


def _frozen_time(connection: sa.Connection, event: MeterEvent) -> int | None:
    """Return the time of the test clock of an event's customer, if it has one."""
    name = (event.scope, event.event_name)
    meter = meters.active_by_names(connection, {name}).get(name)
    if meter is None:
        return None
    customer = (event.scope, meter.customer_of(event.payload))
    return test_clocks.frozen_times(connection, {customer}).get(customer)


async def _accept_in_turn(
    call: Call, event: MeterEvent, document: dict[str, Any], frozen: int | None
) -> Answer | Timed:
    """Accept an event, whose time was checked; tell if it has to be measured by another time.

    Under the limits profile `stripe` a customer has one event at a time on its way to a meter.
    """
    if call.services.rate_limits is None:
        return await _accept(call, event, document, frozen)
    meter, customer = await call.read(_aim, event)
    with call.services.rate_limits.hold(call.scope, meter, customer) as free:
        if not free:
            raise envelope.lock_timeout() if call.api == "v1" else too_many_concurrent_requests()
        return await _accept(call, event, document, frozen)


async def _accept(
    call: Call, event: MeterEvent, document: dict[str, Any], frozen: int | None
) -> Answer | Timed:
    answer = ok(document)
    key = call.idempotency_key
    kept = None if key is None else record(call, key, answer)
    submission = Submission(event, call.version.decimals_allowed, kept, frozen)
    result = await call.services.acceptor.accept(submission)
    if isinstance(result, Record):
        return replay(result, call)
    if isinstance(result, Refusal):
        raise result
    return answer if result is None else result


def _aim(connection: sa.Connection, event: MeterEvent) -> tuple[str, str]:
    """Return the meter and the customer that an event is meant for."""
    name = (event.scope, event.event_name)
    meter = meters.active_by_names(connection, {name}).get(name)
    if meter is None:
        return event.event_name, event.identifier  # nobody else's; it is about to be refused
    return meter.id, event.payload.get(meter.customer_key, event.identifier)
