"""`/meterhouse/v1/deliveries`: what was sent to destinations, what they answered, and once more."""

from typing import Any

import sqlalchemy as sa

from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.once import once
from meterhouse.ledger import deliveries, destinations, outbox
from meterhouse.ledger.audit import Change
from meterhouse.ledger.deliveries import Delivery
from meterhouse.render.destination import render_delivery
from meterhouse.wire import envelope, refusals
from meterhouse.wire.expand import check_expand
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.params import RequestParams


class DeliveryList(PageParams):
    """The parameters of the list."""

    destination: str | None = None
    event: str | None = None


async def retrieve(call: Call) -> Answer:
    """Show a delivery and its attempts."""
    check_expand(call.params(RequestParams).expand)

    def work(connection: sa.Connection) -> dict[str, Any]:
        return _shown(connection, call, _find(connection, call))

    return ok(await call.read(work))


async def redeliver(call: Call) -> Answer:
    """Try a delivery once more, now, whatever became of it before."""
    check_expand(call.params(RequestParams).expand)

    def work(connection: sa.Connection) -> Answer:
        again = _find(connection, call)
        target = destinations.find_destination(connection, call.scope.id, again.destination)
        if target is None or not target.enabled:
            raise refusals.destination_disabled(again.destination)
        outbox.resend(connection, again.notification, target.id, call.now)
        whom = {"destination": Change(new=target.id)}
        call.note(connection, "delivery.redelivered", again.id, whom)
        return ok(_shown(connection, call, _find(connection, call)))

    return await once(call, work)


async def list_(call: Call) -> Answer:
    """List deliveries, newest first."""
    params = call.params(DeliveryList)
    check_expand(params.expand)

    def work(connection: sa.Connection) -> Answer:
        page = deliveries.list_deliveries(
            connection,
            call.scope.id,
            params,
            notification=params.event,
            destination=params.destination,
        )
        if page is None:
            raise envelope.no_such("delivery", params.cursor, params.cursor_param)
        rows, has_more = page
        return ok(list_object(call.path, _all_shown(connection, call, rows), has_more))

    return await call.read(work)


def _find(connection: sa.Connection, call: Call) -> Delivery:
    delivery = deliveries.find_delivery(connection, call.scope.id, call.ids[0])
    if delivery is None:
        raise envelope.no_such("delivery", call.ids[0])
    return delivery


def _shown(connection: sa.Connection, call: Call, delivery: Delivery) -> dict[str, Any]:
    (document,) = _all_shown(connection, call, [delivery])
    return document


def _all_shown(connection: sa.Connection, call: Call, rows: list[Delivery]) -> list[dict[str, Any]]:
    attempts = deliveries.attempts_of(connection, [row.id for row in rows])
    livemode = call.scope.livemode
    return [render_delivery(row, attempts[row.id], livemode=livemode) for row in rows]
