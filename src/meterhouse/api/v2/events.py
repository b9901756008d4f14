"""`/v2/core/events`: thin events (https://docs.stripe.com/api/v2/core/events)."""

from typing import Annotated, Any

from meterhouse import limits
from meterhouse.api.call import Answer, Call, ok
from meterhouse.ledger import notifications
from meterhouse.ledger.notifications import Filter
from meterhouse.wire import envelope
from meterhouse.wire.notification import Notification, thin_event
from meterhouse.wire.params import Items
from meterhouse.wire.query import InstantRange, PageQuery, Query, bad_page, page_object


class EventList(PageQuery):
    """The parameters of the list."""

    lists = frozenset({"types"})

    created: InstantRange | None = None
    object_id: str | None = None
    types: Annotated[list[str], Items(limits.NOTIFICATION_TYPES_ITEMS_MAX)] | None = None


async def retrieve(call: Call) -> Answer:
    """Show an event, with all that it says."""
    call.query(Query)
    event = await call.read(notifications.find, call.scope.id, call.ids[0])
    if event is None or event.payload != "thin":
        raise envelope.no_such("event", call.ids[0])
    return ok(_shown(call, event))


async def list_(call: Call) -> Answer:
    """List events, newest first."""
    params = call.query(EventList)
    created = params.created.window("created") if params.created else (None, None)
    wanted = Filter("thin", params.types, params.object_id, created)
    cut = params.cut()
    page = await call.read(notifications.list_notifications, call.scope.id, cut, wanted)
    if page is None:
        raise bad_page()
    rows, has_more = page
    data = [_shown(call, row) for row in rows]
    return ok(page_object(call.path, call.parameters, cut, data, has_more=has_more))


def _shown(call: Call, event: Notification) -> dict[str, Any]:
    account = call.scope.account if call.connected else None
    return thin_event(event, livemode=call.scope.livemode, account=account, fetched=True)
