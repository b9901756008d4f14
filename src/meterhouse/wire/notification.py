"""Notifications: what happened, and how both of Stripe's event objects tell it.

A *snapshot event* of API v1 carries the object as it was at that moment
(https://docs.stripe.com/api/events/object). A *thin event* of API v2 names the object and is
fetched for more (https://docs.stripe.com/api/v2/core/events/object). What happens to an object of
API v1 is told both ways: the thin event is then the *twin* of the snapshot event.
"""

from typing import Any, Literal

import msgspec

from meterhouse.wire.ids import new_id
from meterhouse.wire.timestamp import print_timestamp
from meterhouse.wire.version import DEFAULT_VERSION

Payload = Literal["snapshot", "thin"]

TWIN_PREFIX = "v1."  # of a thin twin's type, before that of its snapshot event


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """One event, of which `payload` tells the kind.

    The object that it is about has an id, a type such as `billing.meter`, and a URL; a thin event
    may be about none. `body` is `{"object": …}` of a snapshot event, with `previous_attributes`
    where the object was updated; of a thin event it is the `data`, None where it has none.
    `request_id` and `idempotency_key` are those of the request that caused it, None without one.
    `snapshot_event` is the id of the snapshot event whose twin this is.
    """

    id: str
    scope: int
    payload: Payload
    type: str
    created: int
    object_id: str | None = None
    object_type: str | None = None
    object_url: str | None = None
    body: dict[str, Any] | None = None
    request_id: str | None = None
    idempotency_key: str | None = None
    snapshot_event: str | None = None


def twin_of(snapshot: Notification, *, livemode: bool) -> Notification:
    """Return the thin twin of a snapshot event."""
    return msgspec.structs.replace(
        snapshot,
        id=new_id("evt_thin", livemode),
        payload="thin",
        type=TWIN_PREFIX + snapshot.type,
        body=None,
        snapshot_event=snapshot.id,
    )


def snapshot_event(
    event: Notification, *, livemode: bool, account: str | None = None, pending_webhooks: int = 0
) -> dict[str, Any]:
    """Render a snapshot event. `account` is the connected account, for the platform's eyes."""
    request = {"id": event.request_id, "idempotency_key": event.idempotency_key}
    document = {
        "id": event.id,
        "object": "event",
        "api_version": DEFAULT_VERSION.text,
        "created": event.created // 1000,
        "data": event.body,
        "livemode": livemode,
        "pending_webhooks": pending_webhooks,
        "request": request if event.request_id else None,
        "type": event.type,
    }
    return document if account is None else document | {"account": account}


def thin_event(
    event: Notification, *, livemode: bool, account: str | None = None, fetched: bool
) -> dict[str, Any]:
    """Render a thin event: as it is delivered, or with all that it says when it is fetched.

    `account` is the connected account, for the platform's eyes.
    """
    request = {"id": event.request_id, "idempotency_key": event.idempotency_key}
    document: dict[str, Any] = {
        "id": event.id,
        "object": "v2.core.event",
        "context": account,
        "created": print_timestamp(event.created),
        "livemode": livemode,
        "reason": {"type": "request", "request": request} if event.request_id else None,
        "type": event.type,
    }
    if event.object_id is not None:
        document["related_object"] = {
            "id": event.object_id,
            "type": event.object_type,
            "url": event.object_url,
        }
    if fetched:
        document |= {"changes": None, "snapshot_event": event.snapshot_event}
        if event.body is not None:
            document["data"] = event.body
    return document


def previous_attributes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return what `before` had of the attributes that are different in `after`.

    Of a hash only the keys that are different are told; what was not there was null.
    """
    return {
        name: _previous(before.get(name), after.get(name))
        for name in before | after
        if before.get(name) != after.get(name)
    }


def _previous(before: Any, after: Any) -> Any:
    both_hashes = isinstance(before, dict) and isinstance(after, dict)
    return previous_attributes(before, after) if both_hashes else before
