"""Write, once for each idempotency key."""

from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from meterhouse.api.call import Answer, Call
from meterhouse.api.idempotency import KEPT_MILLISECONDS
from meterhouse.errors import Refusal
from meterhouse.ledger import idempotency
from meterhouse.ledger.idempotency import Record
from meterhouse.ledger.locks import Lock, hold
from meterhouse.wire import envelope
from meterhouse.wire.envelope_v2 import error_of
from meterhouse.wire.version import Api

Work = Callable[[sa.Connection], Answer]

REPLAYED = "Idempotent-Replayed"  # the header of an answer for which nothing was done


async def once(call: Call, work: Work, customer: str | None = None) -> Answer:
    """Run `work(connection)` in a ledger transaction, or replay what it answered before.

    `customer` is the id of the customer that the answer shows: once that is deleted, a replay
    tells so and nothing else.

    A refusal raised by `work` undoes what it wrote. In API v1 it is itself the answer that is kept;
    in v2 nothing is kept of it.

    A write may change the catalog: what was acknowledged before it, and is held back because nobody
    asks, is judged by the catalog that its sender knew. Where several processes write, these writes
    go one after the other all the same, so what `work` looks up stays as it is until it is done.
    """
    await call.services.progress.reach(strong=False)
    return await call.services.stores.write(_alone, call, work, customer)


async def replay_or_refuse(call: Call, refusal: Refusal) -> Answer:
    """Replay what was answered under the request's key; raise `refusal` when nothing was.

    This is for what is refused only because time has gone on since: the first request may have
    been in order, and its retry must hear so.
    """
    key = call.idempotency_key
    before = None if key is None else await call.read(_find, call, key)
    if before is None or not _kept(before, call):
        raise refusal
    return replay(before, call)


def _alone(connection: sa.Connection, call: Call, work: Work, customer: str | None) -> Answer:
    hold(connection, Lock.CATALOG)
    if call.idempotency_key is None:
        return work(connection)
    return _recorded(connection, call, call.idempotency_key, work, customer)


def _recorded(
    connection: sa.Connection, call: Call, key: str, work: Work, customer: str | None
) -> Answer:
    before = _find(connection, call, key)
    if before is not None and _kept(before, call):
        return replay(before, call)
    if before is not None:
        idempotency.forget(connection, (before,))
    try:
        with connection.begin_nested():
            answer = work(connection)
    except Refusal as refusal:
        if call.api == "v2":
            raise
        answer, customer = refused(refusal, call.api), None
    try:
        idempotency.put(connection, (record(call, key, answer, customer),))
    except IntegrityError:  # events came under it to another process, and were first
        raise envelope.idempotency_in_use(key) from None
    return answer


def _find(connection: sa.Connection, call: Call, key: str) -> Record | None:
    return idempotency.find(connection, call.scope.id, call.api, (key,)).get(key)


def _kept(before: Record, call: Call) -> bool:
    return before.expires_at > call.services.timekeeper.now()


def record(call: Call, key: str, answer: Answer, customer: str | None = None) -> Record:
    """Return what is kept of `answer` under `key`."""
    return Record(
        call.scope.id,
        call.api,
        key,
        call.fingerprint,
        call.request,
        answer.status,
        answer.body,
        call.now + KEPT_MILLISECONDS[call.api],
        customer,
    )


def replay(before: Record, call: Call) -> Answer:
    """Answer as the first request under the key was answered; refuse a different request."""
    if before.fingerprint != call.fingerprint:
        raise envelope.idempotency_mismatch(before.key)
    headers = {REPLAYED: "true", "Original-Request": before.request}
    return Answer(before.status, before.body, headers)


def refused(refusal: Refusal, api: Api) -> Answer:
    """Answer with Stripe's error object, in the shape of the API that was asked."""
    return Answer(refusal.status, error_of(refusal, api), refusal.headers)
