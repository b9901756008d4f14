"""Announce what a request has done to an object: a snapshot event and its thin twin.

Both are emitted in the transaction of the change, so there is an event of every change and of
nothing else.
"""

from typing import Any

import sqlalchemy as sa

from meterhouse.api.call import Call
from meterhouse.ledger import outbox
from meterhouse.wire.ids import new_id
from meterhouse.wire.notification import Notification, previous_attributes, twin_of


def announce(
    connection: sa.Connection,
    call: Call,
    type_: str,
    url: str,
    document: dict[str, Any],
    before: dict[str, Any] | None = None,
) -> None:
    """Emit an event of `type_` about the object that `document` shows and `url` leads to.

    `before` shows it as it was, in an event that tells what was updated: that is nothing where
    nothing has changed.
    """
    body = {"object": document}
    if before is not None:
        body["previous_attributes"] = previous_attributes(before, document)
        if not body["previous_attributes"]:
            return
    event = Notification(
        id=new_id("evt"),
        scope=call.scope.id,
        payload="snapshot",
        type=type_,
        created=call.now,
        object_id=document["id"],
        object_type=document["object"],
        object_url=url,
        body=body,
        request_id=call.request,
        idempotency_key=call.idempotency_key,
    )
    outbox.emit(connection, event)
    outbox.emit(connection, twin_of(event, livemode=call.scope.livemode))
