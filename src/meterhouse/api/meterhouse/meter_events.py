"""`/meterhouse/v1/meter_events`: raw events, whatever became of them; `/meter_event`: one's life.

An event is found as long as the usage store keeps it: one that was accepted for good, another for
`REJECTED_EVENTS_DAYS` days. An identifier may have come several times; each is an event of its own,
with an id that stands for its place in the order of receipt (`wire.event_id`).
"""

from collections.abc import Iterable
from typing import Any, Literal

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.api.call import Answer, Call
from meterhouse.api.meterhouse.life import life
from meterhouse.errors import SlowError
from meterhouse.judging.pending import find_pending
from meterhouse.ledger import adjustments, journal, meters
from meterhouse.metering.model import Meter
from meterhouse.metering.search import DEFAULT_CUSTOMER_KEY, EventSearch, FoundEvent, filled
from meterhouse.metering.value import print_value
from meterhouse.render.instant import seconds
from meterhouse.usage.search import Page
from meterhouse.usage.store import UsageStore
from meterhouse.wire import envelope, refusals
from meterhouse.wire.body import to_json
from meterhouse.wire.expand import check_expand
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.params import RequestParams, TimeRange

_EVERY_POSITION = (0, 2**63)
# An identifier's event is the one that counts, else the one that may.
_RANK = ("accepted", "pending", "rejected", "duplicate")


class MeterEventList(PageParams):
    """The parameters of the search; what is left out narrows nothing."""

    meter: str | None = None
    event_name: str | None = None
    customer: str | None = None
    identifier: str | None = None
    outcome: Literal["accepted", "duplicate", "pending", "rejected"] | None = None
    code: str | None = None
    received: TimeRange | None = None
    timestamp: TimeRange | None = None


class MeterEventRetrieve(RequestParams):
    """The parameter that names an event; no path could carry each identifier, such as `..`."""

    identifier: str


async def list_(call: Call) -> Answer:
    """Search events, newest first."""
    params = call.params(MeterEventList)
    check_expand(params.expand)
    settled = await _settled(call)
    page = await _page(call, params)
    found = await _find(call, await _search(call, params), page)
    shown = found[: params.limit]
    data = await documents(call, shown[::-1] if page.oldest else shown)
    return _answer(list_object(call.path, data, len(found) > params.limit), settled=settled)


async def retrieve(call: Call) -> Answer:
    """Tell the life of the event with an identifier, which is a parameter or in the path."""
    identifier = _identifier(call)
    settled = await _settled(call)
    search = EventSearch(scope=call.scope, identifiers=(identifier,))
    found = await _find(call, search, Page(*_EVERY_POSITION, limits.LIFE_EVENTS_MAX))
    if not found:
        raise envelope.no_such("meter event", identifier)
    event = min(found, key=lambda one: _RANK.index(one.outcome))
    [document] = await documents(call, [event])
    return _answer(document | await life(call, event, found), settled=settled)


def _identifier(call: Call) -> str:
    if call.ids:
        check_expand(call.params(RequestParams).expand)
        return call.ids[0]
    params = call.params(MeterEventRetrieve)
    check_expand(params.expand)
    return params.identifier


async def _settled(call: Call) -> bool:
    return await call.services.progress.reach(strong=call.strong)


def _answer(document: Any, *, settled: bool) -> Answer:
    headers = {"Meterhouse-Consistency": "strong" if settled else "eventual"}
    return Answer(200, to_json(document), headers)


async def _search(call: Call, params: MeterEventList) -> EventSearch:
    keys = [DEFAULT_CUSTOMER_KEY]
    if params.customer is not None:
        keys += await call.read(meters.customer_keys, call.scope.id)
    return EventSearch(
        scope=call.scope,
        meter=params.meter,
        event_name=params.event_name,
        customer=params.customer,
        customer_keys=tuple(keys),
        identifiers=None if params.identifier is None else (params.identifier,),
        outcome=params.outcome,
        code=params.code,
        received=params.received.window() if params.received else (None, None),
        timestamp=params.timestamp.window() if params.timestamp else (None, None),
    )


async def _page(call: Call, params: MeterEventList) -> Page:
    """Return the page that is asked for, and one more event, which tells of more."""
    first, end = _EVERY_POSITION
    if params.cursor:
        position = call.services.event_ids.position(call.scope.id, params.cursor)
        if position is None or not 0 < position <= await call.read(journal.last_position):
            raise envelope.no_such("meter event", params.cursor, params.cursor_param)
        if params.starting_after is not None:
            end = position
        else:
            first = position + 1
    return Page(first, end, params.limit + 1, oldest=params.ending_before is not None)


async def _find(call: Call, search: EventSearch, page: Page) -> list[FoundEvent]:
    """Return a page of events, in its order; what is judged meanwhile is told as it was judged."""
    last = await call.read(journal.last_position)  # beyond it there is nothing to look through
    pending = await call.read(find_pending, search)
    reached = page._replace(end=min(page.end, last + 1))
    try:
        stored = await call.usage(UsageStore.search, search, reached)
    except SlowError:
        raise refusals.search_too_slow() from None
    found = {event.position: event for event in pending if page.first <= event.position < page.end}
    found |= {event.position: event for event in stored}
    return [found[position] for position in sorted(found, reverse=not page.oldest)][: page.rows_max]


async def documents(call: Call, events: list[FoundEvent]) -> list[dict[str, Any]]:
    """Render events as they are shown."""
    named, cancelled = await call.read(_about, events)
    return [
        _document(
            filled(event, named.get(event.meter)),
            call.services.event_ids.show(call.scope.id, event.position),
            livemode=call.scope.livemode,
            cancelled=event.position in cancelled,
        )
        for event in events
    ]


def _about(
    connection: sa.Connection, events: Iterable[FoundEvent]
) -> tuple[dict[str, Meter], set[int]]:
    """Return the meters of some events, and which positions were cancelled."""
    events = list(events)
    found = adjustments.by_positions(connection, [event.position for event in events])
    cancelled = {position for position, one in found.items() if one.status == "complete"}
    return meters.by_ids(connection, {event.meter for event in events if event.meter}), cancelled


def _document(event: FoundEvent, id_: str, *, livemode: bool, cancelled: bool) -> dict[str, Any]:
    return {
        "id": id_,
        "object": "meterhouse.meter_event",
        "cancelled": cancelled,
        "code": event.code or None,
        "customer": event.customer or None,
        "event_name": event.event_name,
        "identifier": event.identifier,
        "livemode": livemode,
        "message": event.message or None,
        "meter": event.meter or None,
        "outcome": event.outcome,
        "payload": event.payload,
        "received_at": seconds(event.received_at),
        "timestamp": seconds(event.timestamp),
        "value": None if event.value is None else print_value(event.value),
    }
