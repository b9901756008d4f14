"""`/v1/events/{id}/retry`: an event is sent once more. `stripe events resend` asks for it.

No page describes it; https://github.com/stripe/stripe-cli is its source.
"""

from http import HTTPStatus
from typing import Any

import sqlalchemy as sa

from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.once import REPLAYED, once
from meterhouse.ledger import accounts, deliveries, destinations, notifications, outbox
from meterhouse.ledger.audit import Change
from meterhouse.ledger.destinations import Destination
from meterhouse.metering.model import Scope
from meterhouse.wire import envelope, refusals
from meterhouse.wire.expand import check_expand
from meterhouse.wire.notification import Notification, snapshot_event, thin_event
from meterhouse.wire.param_errors import missing_param
from meterhouse.wire.params import RequestParams


class Retry(RequestParams):
    """Whom to send it to. `account` is the connected account that the event is of."""

    account: str | None = None
    for_stripecli: bool = False
    webhook_endpoint: str | None = None


async def create(call: Call) -> Answer:
    """Send an event to an endpoint again, or to the Stripe CLIs that listen."""
    params = call.params(Retry)
    check_expand(params.expand)
    target = params.webhook_endpoint
    if target is None and not params.for_stripecli:
        raise missing_param("webhook_endpoint")
    event, origin = await call.read(_find, call, params.account)

    def work(connection: sa.Connection) -> Answer:
        if target is not None:
            destination = _target(connection, call, event, target)
            outbox.resend(connection, event.id, destination.id, call.now)
            whom = {"destination": Change(new=destination.id)}
            call.note(connection, "delivery.redelivered", event.id, whom)
        return ok(_shown(connection, call, event, origin))

    customer = event.object_id if event.object_type == "customer" else None
    answer = await once(call, work, customer)
    if params.for_stripecli and answer.status == HTTPStatus.OK and REPLAYED not in answer.headers:
        connected = None if origin == call.scope else origin.account
        await call.services.broadcast.tell(call.scope, event, connected)
    return answer


def _find(connection: sa.Connection, call: Call, account: str | None) -> tuple[Notification, Scope]:
    """Return the event that the path names, and the scope in which it arose."""
    own = account is None or account == call.scope.account
    origin = call.scope if own else accounts.connected_scope(connection, call.scope, account or "")
    if origin is None:
        raise envelope.no_such("account", account or "", "account")
    event = notifications.find(connection, origin.id, call.ids[0])
    if event is None:
        raise envelope.no_such("notification", call.ids[0])
    return event, origin


def _target(connection: sa.Connection, call: Call, event: Notification, target: str) -> Destination:
    destination = destinations.find_destination(connection, call.scope.id, target)
    if destination is None:
        raise envelope.no_such("webhook endpoint", target, "webhook_endpoint")
    if not destination.enabled:
        raise refusals.destination_disabled(target)
    if destination.payload != event.payload:
        raise refusals.wrong_payload(event.type, destination.payload, "webhook_endpoint")
    return destination


def _shown(
    connection: sa.Connection, call: Call, event: Notification, origin: Scope
) -> dict[str, Any]:
    account = origin.account if call.connected or origin != call.scope else None
    if event.payload == "thin":
        return thin_event(event, livemode=origin.livemode, account=account, fetched=True)
    pending = deliveries.undelivered(connection, [event.id])
    return snapshot_event(
        event,
        livemode=origin.livemode,
        account=account,
        pending_webhooks=pending.get(event.id, 0),
    )
