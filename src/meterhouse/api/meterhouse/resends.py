"""`/meterhouse/v1/invalid_meter_events/resend` and `/meterhouse/v1/resends`.

A resend sends rejected events again, once the cause is gone. It goes on after the answer where it
takes long.
"""

from typing import Annotated, Any

import msgspec
import sqlalchemy as sa
from msgspec import Meta, Struct

from meterhouse import limits
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.once import once
from meterhouse.api.v2.event import EventName, Identifier, Payload
from meterhouse.api.wait import found_when
from meterhouse.ledger import journal, meters, resends
from meterhouse.ledger.resends import Resend
from meterhouse.metering.resend import Plan, Replacement
from meterhouse.metering.search import DEFAULT_CUSTOMER_KEY, Bounds, EventSearch
from meterhouse.wire import envelope, refusals
from meterhouse.wire.document import Document
from meterhouse.wire.expand import check_expand
from meterhouse.wire.ids import new_id
from meterhouse.wire.params import RequestParams

Seconds = Annotated[int, Meta(ge=0, le=limits.REQUEST_TIMESTAMP_SECONDS_MAX)]
Name = Annotated[str, Meta(min_length=1, max_length=limits.REQUEST_STRING_CHARS_MAX)]
Identifiers = Annotated[
    list[Identifier], Meta(min_length=1, max_length=limits.RESEND_IDENTIFIERS_ITEMS_MAX)
]


class Received(Struct, forbid_unknown_fields=True):
    """When the events were received, in unix seconds: from `gte` up to, and without, `lt`."""

    gte: Seconds | None = None
    lt: Seconds | None = None

    def window(self) -> Bounds:
        """Return the half-open window in milliseconds."""
        return (
            None if self.gte is None else self.gte * 1000,
            None if self.lt is None else self.lt * 1000,
        )


class Filter(Struct, forbid_unknown_fields=True):
    """Which rejected events to resend; what is left out narrows nothing."""

    meter: Name | None = None
    code: Name | None = None
    event_name: Name | None = None
    customer: Name | None = None
    received: Received | None = None


class Replace(Struct, forbid_unknown_fields=True):
    """What is different in every event that is resent; `timestamp` is in unix seconds."""

    event_name: EventName | None = None
    timestamp: Seconds | None = None
    payload: Payload = {}


class ResendCreate(Document):
    """The body of a request: `identifiers` or `filter`."""

    identifiers: Identifiers | None = None
    filter: Filter | None = None
    replace: Replace | None = None
    dry_run: bool = False


async def create(call: Call) -> Answer:
    """Begin a resend; the answer waits a moment for its end."""
    body = call.document(ResendCreate)
    if (body.identifiers is None) == (body.filter is None):
        raise refusals.identifiers_or_filter()

    def work(connection: sa.Connection) -> Answer:
        resend = Resend(
            id=new_id("rsd"),
            scope=call.scope.id,
            plan=_plan(connection, call, body),
            dry_run=body.dry_run,
            created=call.now,
            end_position=journal.last_position(connection) + 1,
        )
        resends.put(connection, resend)
        if not resend.dry_run:
            call.note(connection, "resend.created", resend.id)
        return ok(_document(resend))

    answer = await once(call, work)
    call.services.signals.send("resend")
    begun = msgspec.json.decode(answer.body)["id"]
    resend = await found_when(
        lambda: call.read(_find, call, begun),
        lambda resend: resend.status == "complete",
        limits.RESEND_ANSWER_SECONDS_MAX,
    )
    return answer._replace(body=ok(_document(resend)).body)


async def retrieve(call: Call) -> Answer:
    """Tell how far a resend is."""
    check_expand(call.params(RequestParams).expand)
    return ok(_document(await call.read(_find, call, call.ids[0])))


def _find(connection: sa.Connection, call: Call, resend_id: str) -> Resend:
    resend = resends.find(connection, call.scope.id, resend_id)
    if resend is None:
        raise envelope.no_such("resend", resend_id)
    return resend


def _plan(connection: sa.Connection, call: Call, body: ResendCreate) -> Plan:
    filter_, replace = body.filter or Filter(), body.replace or Replace()
    keys = meters.customer_keys(connection, call.scope.id)
    return Plan(
        search=EventSearch(
            scope=call.scope,
            meter=filter_.meter,
            event_name=filter_.event_name,
            customer=filter_.customer,
            customer_keys=(DEFAULT_CUSTOMER_KEY, *keys),
            identifiers=None if body.identifiers is None else tuple(body.identifiers),
            outcome="rejected",
            code=filter_.code,
            received=filter_.received.window() if filter_.received else (None, None),
        ),
        replacement=Replacement(
            event_name=replace.event_name,
            timestamp=None if replace.timestamp is None else replace.timestamp * 1000,
            payload=replace.payload,
        ),
        whole=call.whole,
    )


def _document(resend: Resend) -> dict[str, Any]:
    return {
        "id": resend.id,
        "object": "meterhouse.resend",
        "accepted": resend.accepted,
        "codes": resend.codes,
        "created": resend.created // 1000,
        "dry_run": resend.dry_run,
        "duplicate": resend.duplicate,
        "livemode": resend.plan.search.scope.livemode,
        "matched": resend.matched or 0,
        "rejected": sum(resend.codes.values()),
        "status": resend.status,
    }
