"""The life of one event: what answers "why does my event not count?"."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.api.call import Call
from meterhouse.ledger import adjustments, customers, meters, notifications
from meterhouse.ledger.adjustments import Adjustment
from meterhouse.ledger.notifications import Filter
from meterhouse.metering.model import Meter
from meterhouse.metering.report import WINDOW
from meterhouse.metering.search import FoundEvent, Hint, filled, hint
from meterhouse.metering.window import window_of
from meterhouse.render.instant import seconds
from meterhouse.usage.store import UsageStore
from meterhouse.wire.page import PageParams
from meterhouse.wire.timestamp import print_timestamp

_REPORTS = {
    False: "v1.billing.meter.error_report_triggered",
    True: "v1.billing.meter.no_meter_found",
}


class _Told(NamedTuple):
    """What the ledger knows about an event."""

    meter: Meter | None
    adjustment: Adjustment | None
    hint: Hint | None
    report: str | None


async def life(call: Call, event: FoundEvent, found: Sequence[FoundEvent]) -> dict[str, Any]:
    """Return what has happened to an event; `found` are all those with its identifier."""
    told = await call.read(_told, call, event)
    counts = event.outcome == "accepted" and told.adjustment is None
    others = [one for one in found if one is not event]
    return {
        "adjustments": [] if told.adjustment is None else [_adjustment(told.adjustment)],
        "duplicates": [
            {"received_at": seconds(one.received_at)}
            for one in others
            if one.outcome == "duplicate"
        ],
        "error_report": told.report,
        "hint": None if told.hint is None else told.hint._asdict(),
        "rejections": [
            {
                "code": one.code,
                "message": one.message,
                "received_at": seconds(one.received_at),
            }
            for one in others
            if one.outcome == "rejected"
        ],
        "summary_window": (
            await _summary_window(call, event, told.meter) if counts and told.meter else None
        ),
    }


def _adjustment(adjustment: Adjustment) -> dict[str, Any]:
    return {
        "id": adjustment.id,
        "created": seconds(adjustment.created),
        "status": adjustment.status,
        "type": "cancel",
    }


async def _summary_window(call: Call, event: FoundEvent, meter: Meter) -> dict[str, Any]:
    """Return the hour or day in whose summary an event counts.

    On a meter with an event time window a later event may count in its place.
    """
    size = meter.event_time_window or "hour"
    window = window_of(event.timestamp, size)
    overwritten_by = None
    if meter.event_time_window is not None:
        overwritten_by = await call.usage(UsageStore.overwritten_by, call.scope, event, window)
    return {
        "end_time": seconds(window.end),
        "overwritten_by": overwritten_by,
        "start_time": seconds(window.start),
        "value_grouping_window": size,
    }


def _told(connection: sa.Connection, call: Call, event: FoundEvent) -> _Told:
    """Read what the ledger knows about an event."""
    meter = meters.find_meter(connection, call.scope.id, event.meter)
    return _Told(
        meter,
        adjustments.find(connection, call.scope.id, event.position),
        _hint(connection, call.scope.id, filled(event, meter), meter),
        _report(connection, call.scope.id, event) if event.outcome == "rejected" else None,
    )


def _hint(
    connection: sa.Connection, scope: int, event: FoundEvent, meter: Meter | None
) -> Hint | None:
    known: list[str] = []
    if event.code == "no_meter":
        known = meters.event_names(connection, scope)
    elif event.code == "meter_event_customer_not_found":
        rows_max = limits.HINT_CUSTOMERS_ROWS_MAX
        known = customers.near(connection, scope, event.customer, rows_max)
    return hint(event, meter, known)


def _report(connection: sa.Connection, scope: int, event: FoundEvent) -> str | None:
    """Return the id of the first report about the window in which an event was rejected."""
    start = event.received_at - event.received_at % WINDOW
    wanted = Filter(
        "thin",
        [_REPORTS[event.code == "no_meter"]],
        event.meter or None,
        created=(start + WINDOW, None),
        validation_start=print_timestamp(start),
    )
    page = notifications.list_notifications(
        connection, scope, PageParams(limit=limits.PAGE_LIMIT_MAX), wanted
    )
    reports = page[0] if page else []
    return reports[-1].id if reports else None
