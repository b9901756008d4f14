"""`/meterhouse/v1/customers/{id}/erase` and `/meterhouse/v1/erasures`: the operator forgets one.

An erasure goes on after the answer where it takes long. No API key may begin one: it cannot be
taken back, and reaches into events that were recorded long ago.
"""

from typing import Annotated, Any

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from meterhouse import limits
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.once import once
from meterhouse.api.v1.customers import forget
from meterhouse.api.wait import found_when
from meterhouse.ledger import customers, erasures, meters
from meterhouse.ledger.audit import Change
from meterhouse.ledger.erasures import Erasure
from meterhouse.render.instant import seconds
from meterhouse.wire import envelope, refusals
from meterhouse.wire.document import Document
from meterhouse.wire.expand import check_expand
from meterhouse.wire.ids import new_id
from meterhouse.wire.params import RequestParams

Key = Annotated[str, Meta(min_length=1, max_length=limits.EVENT_PAYLOAD_KEY_CHARS_MAX)]

Keys = Annotated[tuple[Key, ...], Meta(max_length=limits.ERASURE_KEYS_ITEMS_MAX)]


class ErasureCreate(Document):
    """The body of a request: keys whose values go from events, and whether only these go."""

    payload_keys: Keys = ()
    keep_customer: bool = False


async def create(call: Call) -> Answer:
    """Forget a customer, deleted or not; the answer waits a moment for the end."""
    body = call.document(ErasureCreate)
    keys = tuple(dict.fromkeys(body.payload_keys))
    if body.keep_customer and not keys:
        raise refusals.nothing_to_erase()
    await call.services.request_logs.store()

    def work(connection: sa.Connection) -> Answer:
        customer = customers.find_customer(connection, call.scope.id, call.ids[0], lock=True)
        if customer is None:
            raise envelope.no_such("customer", call.ids[0])
        _check(connection, call, keys)
        if customer.deleted_at is None and not body.keep_customer:
            forget(connection, call, customer.id)
        erasure = Erasure(
            id=new_id("ers"),
            scope=call.scope.id,
            customer=customer.id,
            created=call.now,
            payload_keys=keys,
            at_once=True,
            step="events" if body.keep_customer else "customer",
        )
        erasures.put(connection, erasure)
        told = {"payload_keys": Change(new=keys)} if keys else {}
        call.note(connection, "customer.erased", customer.id, told)
        return ok(_document(call, erasure))

    answer = await once(call, work)
    call.services.signals.send("erase")
    begun = msgspec.json.decode(answer.body)["id"]
    erasure = await found_when(
        lambda: call.read(_find, call, begun),
        lambda one: one.step == "complete" or one.due_at > call.services.timekeeper.now(),
        limits.ERASURE_ANSWER_SECONDS_MAX,
    )
    return answer._replace(body=ok(_document(call, erasure)).body)


async def retrieve(call: Call) -> Answer:
    """Tell how far an erasure is."""
    check_expand(call.params(RequestParams).expand)
    return ok(_document(call, await call.read(_find, call, call.ids[0])))


def _check(connection: sa.Connection, call: Call, keys: tuple[str, ...]) -> None:
    for meter in meters.of_scope(connection, call.scope.id):
        for key in (meter.customer_key, meter.value_key):
            if key in keys:
                raise refusals.key_of_usage(key, meter.id)


def _find(connection: sa.Connection, call: Call, erasure_id: str) -> Erasure:
    erasure = erasures.find(connection, call.scope.id, erasure_id)
    if erasure is None:
        raise envelope.no_such("erasure", erasure_id)
    return erasure


def _document(call: Call, erasure: Erasure) -> dict[str, Any]:
    complete = erasure.step == "complete"
    return {
        "id": erasure.id,
        "object": "meterhouse.erasure",
        "created": seconds(erasure.created),
        "customer": erasure.customer,
        "events": erasure.events,
        "ledger_rewritten": erasure.rewritten,
        "livemode": call.scope.livemode,
        "payload_keys": erasure.payload_keys,
        "status": "complete" if complete else "running",
        "step": None if complete else erasure.step,
    }
