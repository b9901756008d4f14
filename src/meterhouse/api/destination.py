"""What `/v1/webhook_endpoints` and `/v2/core/event_destinations` have in common.

They are two views of the same destinations: v1 sees those that take snapshot events.
"""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from meterhouse.api.call import Call
from meterhouse.delivery.address import ForbiddenError, check_url
from meterhouse.ledger import audit, destinations
from meterhouse.ledger.destinations import Destination
from meterhouse.wire import envelope, refusals
from meterhouse.wire.event_type import is_pattern, may_match
from meterhouse.wire.notification import Payload

_UNTOLD = frozenset({"deleted_at", "failing_since", "local", "secrets", "updated"})

NOUNS = {"v1": "webhook endpoint", "v2": "event destination"}


def check(
    call: Call,
    payload: Payload,
    *,
    url: str | None,
    url_param: str,
    enabled_events: Sequence[str] | None,
) -> None:
    """Refuse a URL or types of events that a destination cannot have; None is not checked."""
    if url is not None:
        livemode = call.scope.livemode
        private = call.house.config.private_destinations_open(livemode=livemode, local=call.local())
        try:
            check_url(url, livemode=livemode, private=private)
        except ForbiddenError as error:
            raise refusals.invalid_url(str(error), url_param) from None
    for index, pattern in enumerate(enabled_events or ()):
        name = f"enabled_events[{index}]"
        if not is_pattern(pattern):
            raise refusals.invalid_event_type(pattern, name)
        if not may_match(pattern, payload):
            raise refusals.wrong_payload(pattern, payload, name)


def create(connection: sa.Connection, call: Call, destination: Destination) -> None:
    """Store a new destination; refuse one more than there may be."""
    if not destinations.create_destination(connection, destination):
        raise refusals.too_many_destinations(call.scope.livemode)
    call.note(connection, "event_destination.created", destination.id)


def find(connection: sa.Connection, call: Call, *, lock: bool = False) -> Destination:
    """Return the destination that the path names; refuse with 404 when there is none."""
    destination = destinations.find_destination(connection, call.scope.id, call.ids[0], lock=lock)
    if destination is None or (call.api == "v1" and destination.payload != "snapshot"):
        raise envelope.no_such(NOUNS[call.api], call.ids[0])
    return destination


def change(
    connection: sa.Connection, call: Call, before: Destination, **new: object
) -> Destination:
    """Change a destination, unless the change is none; return what it has become.

    One that is enabled or disabled starts anew: what failed before does not count. A URL is as
    local as the request that names it.
    """
    if "url" in new:
        new["local"] = call.local()
    changed = msgspec.structs.replace(before, **new)
    if changed == before:
        return before
    failing_since = before.failing_since if changed.enabled == before.enabled else None
    changed = msgspec.structs.replace(changed, updated=call.now, failing_since=failing_since)
    destinations.update_destination(connection, changed)
    told = audit.changed(before, changed, told=("enabled", "enabled_events"), but=_UNTOLD)
    call.note(connection, _action(before, changed), changed.id, told)
    return changed


def delete(connection: sa.Connection, call: Call) -> Destination:
    """Delete the destination that the path names; nothing more is sent to it."""
    gone = find(connection, call, lock=True)
    return change(connection, call, gone, deleted_at=call.now, secrets=[])


def _action(before: Destination, changed: Destination) -> str:
    """Return what the audit log calls a change."""
    if changed.deleted_at is not None:
        return "event_destination.deleted"
    if changed.secrets != before.secrets:
        return "event_destination.secret_rolled"
    if changed.enabled != before.enabled:
        return f"event_destination.{'enabled' if changed.enabled else 'disabled'}"
    return "event_destination.updated"
