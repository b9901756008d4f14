"""`/meterhouse/v1/rejections`: what was wrong with the events that do not count, by kind.

Events are kept for `REJECTED_EVENTS_DAYS`. Those that match no meter are told apart by their event
name.
"""

from typing import Annotated, Any

from meterhouse import limits
from meterhouse.api.call import Answer, Call
from meterhouse.api.meterhouse.meter_events import documents
from meterhouse.metering.search import EventSearch
from meterhouse.render.instant import seconds
from meterhouse.usage.store import UsageStore
from meterhouse.wire.body import to_json
from meterhouse.wire.expand import check_expand
from meterhouse.wire.page import list_object
from meterhouse.wire.params import Between, RequestParams, TimeRange


class RejectionList(RequestParams):
    """The parameters of the list; what is left out narrows nothing."""

    code: str | None = None
    event_name: str | None = None
    limit: Annotated[int, Between(1, limits.PAGE_LIMIT_MAX)] = limits.PAGE_LIMIT_DEFAULT
    meter: str | None = None
    received: TimeRange | None = None


async def list_(call: Call) -> Answer:
    """List kinds of rejected events with some examples; the kind that came last is first."""
    params = call.params(RejectionList)
    check_expand(params.expand)
    search = EventSearch(
        scope=call.scope,
        meter=params.meter,
        event_name=params.event_name,
        outcome="rejected",
        code=params.code,
        received=params.received.window() if params.received else (None, None),
    )
    settled = await call.services.progress.reach(strong=call.strong)
    kinds, samples = await call.usage(UsageStore.kinds_of_rejections, search, params.limit + 1)
    shown = {
        event.position: document
        for event, document in zip(samples, await documents(call, samples), strict=True)
    }
    data: list[dict[str, Any]] = [
        {
            "object": "meterhouse.rejection",
            "code": kind.code,
            "event_name": kind.name or None,
            "events": kind.events,
            "first_received_at": seconds(kind.first_received_at),
            "last_received_at": seconds(kind.last_received_at),
            "meter": kind.meter or None,
            "samples": [shown[position] for position in kind.newest if position in shown],
        }
        for kind in kinds[: params.limit]
    ]
    headers = {"Meterhouse-Consistency": "strong" if settled else "eventual"}
    return Answer(200, to_json(list_object(call.path, data, len(kinds) > params.limit)), headers)
