"""What `/v1/webhook_endpoints` and `/v2/core/event_destinations` have in common.

They are two views of the same destinations: v1 sees those that take snapshot events.

An answer that tells a signing secret is kept under its idempotency key with a digest in place of
it (`withheld`). It gets the secret after that (`tell_secret`): as a replay, from the ledger.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec
import sqlalchemy as sa

from meterhouse.api.call import Answer, Call
from meterhouse.delivery.address import ForbiddenError, check_url
from meterhouse.ledger import audit, destinations
from meterhouse.ledger.destinations import Destination
from meterhouse.wire import envelope, refusals
from meterhouse.wire.body import to_json
from meterhouse.wire.credentials import digest
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
        private = call.services.config.private_destinations_open(
            livemode=livemode, local=call.local()
        )
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


def withheld(secret: str) -> str:
    """Return what stands for a signing secret in an answer that is kept."""
    return digest(secret).hex()


async def tell_secret(call: Call, answer: Answer, new: str, *members: str) -> Answer:
    """Put the signing secret where the members of an answer lead, unless nothing stands there.

    `new` is the secret that this request has made. Where the answer is a replay it tells another
    one: as long as that one counts, the destination has it; then it is null.
    """
    if answer.status != HTTPStatus.OK:
        return answer
    document: dict[str, Any] = msgspec.json.decode(answer.body)
    *way, last = members
    holder = document
    for name in way:
        holder = holder[name]
    if holder[last] is None:
        return answer
    if holder[last] == withheld(new):
        holder[last] = new
    else:
        told = {withheld(one): one for one in await _secrets(call, document)}
        holder[last] = told.get(holder[last])
    return answer._replace(body=to_json(document))


async def _secrets(call: Call, document: dict[str, Any]) -> list[str]:
    """Return the secrets that count of the destination that an answer is about."""
    named: str = document.get("destination") or document["id"]
    one = await call.services.stores.read(destinations.find_destination, call.scope.id, named)
    return [secret.secret for secret in one.valid_secrets(call.now)] if one else []
