"""`/v1/events`: snapshot events (https://docs.stripe.com/api/events)."""

from typing import Annotated, Any

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.api.call import Answer, Call, ok
from meterhouse.ledger import deliveries, notifications
from meterhouse.ledger.notifications import Filter
from meterhouse.wire import envelope
from meterhouse.wire.expand import check_expand
from meterhouse.wire.notification import Notification, snapshot_event
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.param_errors import exclusive_params
from meterhouse.wire.params import Items, RequestParams, TimeRange


class EventList(PageParams):
    """The parameters of the list; a `type` may end in `*`."""

    created: TimeRange | None = None
    delivery_success: bool | None = None
    type: str | None = None
    types: Annotated[list[str], Items(limits.NOTIFICATION_TYPES_ITEMS_MAX)] | None = None

    def __post_init__(self) -> None:
        """Refuse types that are asked for in two ways."""
        super().__post_init__()
        if self.type is not None and self.types is not None:
            raise exclusive_params("type", "types")


async def retrieve(call: Call) -> Answer:
    """Show an event."""
    check_expand(call.params(RequestParams).expand)

    def work(connection: sa.Connection) -> list[dict[str, Any]]:
        event = notifications.find(connection, call.scope.id, call.ids[0])
        if event is None or event.payload != "snapshot":
            raise envelope.no_such("event", call.ids[0])
        return _shown(connection, call, [event])

    (document,) = await call.read(work)
    return ok(document)


async def list_(call: Call) -> Answer:
    """List events, newest first."""
    params = call.params(EventList)
    check_expand(params.expand)
    wanted = Filter(
        "snapshot",
        [params.type] if params.type else params.types,
        created=params.created.window() if params.created else (None, None),
        delivered=params.delivery_success,
    )

    def work(connection: sa.Connection) -> tuple[list[dict[str, Any]], bool]:
        page = notifications.list_notifications(connection, call.scope.id, params, wanted)
        if page is None:
            raise envelope.no_such("event", params.cursor, params.cursor_param)
        rows, has_more = page
        return _shown(connection, call, rows), has_more

    data, has_more = await call.read(work)
    return ok(list_object(call.path, data, has_more))


def _shown(connection: sa.Connection, call: Call, rows: list[Notification]) -> list[dict[str, Any]]:
    pending = deliveries.undelivered(connection, [event.id for event in rows])
    account = call.scope.account if call.connected else None
    return [
        snapshot_event(
            event,
            livemode=call.scope.livemode,
            account=account,
            pending_webhooks=pending.get(event.id, 0),
        )
        for event in rows
    ]
