"""Announce what has become of an object: a snapshot event and its thin twin.

Both are emitted in the transaction of the change, so there is an event of every change and of
nothing else.
"""

from typing import Any, NamedTuple

import sqlalchemy as sa

from meterhouse.ledger import outbox
from meterhouse.metering.model import Scope
from meterhouse.wire.ids import new_id
from meterhouse.wire.notification import Notification, previous_attributes, twin_of


class Cause(NamedTuple):
    """What brought something about in `scope` at the instant `now`: a request, or time itself.

    `pages` is the URL that the links to invoices begin with; empty where there are none.
    """

    scope: Scope
    now: int
    request: str | None = None
    idempotency_key: str | None = None
    pages: str = ""


class About(NamedTuple):
    """The object that an event is about, and that its thin twin leads to."""

    id: str
    type: str
    url: str


def announce(
    connection: sa.Connection,
    cause: Cause,
    type_: str,
    url: str,
    document: dict[str, Any],
    before: dict[str, Any] | None = None,
) -> None:
    """Emit an event of `type_` about the object that `document` shows and `url` leads to.

    `before` shows it as it was, in an event that tells what was updated: that is nothing where
    nothing has changed.
    """
    outbox.emit_all(connection, announced(cause, type_, url, document, before))


def announced(
    cause: Cause,
    type_: str,
    url: str,
    document: dict[str, Any],
    before: dict[str, Any] | None = None,
) -> list[Notification]:
    """Return what `announce` emits."""
    body = {"object": document}
    if before is not None:
        body["previous_attributes"] = previous_attributes(before, document)
        if not body["previous_attributes"]:
            return []
    return both(cause, type_, body, About(document["id"], document["object"], url))


def both(cause: Cause, type_: str, body: dict[str, Any], about: About) -> list[Notification]:
    """Return an event of `type_` with all that it says, and its thin twin."""
    event = Notification(
        id=new_id("evt"),
        scope=cause.scope.id,
        payload="snapshot",
        type=type_,
        created=cause.now,
        object_id=about.id,
        object_type=about.type,
        object_url=about.url,
        body=body,
        request_id=cause.request,
        idempotency_key=cause.idempotency_key,
    )
    return [event, twin_of(event, livemode=cause.scope.livemode)]
