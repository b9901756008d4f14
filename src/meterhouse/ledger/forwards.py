"""Forwards: what a listening Stripe CLI did with an event, as a delivery to that CLI.

A CLI is owed nothing, so such a delivery is never pending. It is there once the CLI has told that
it has read the event; each answer of a URL that it forwards to becomes an attempt of it.

The destination is the device that the CLI runs on. Its row says where the deliveries went and is
like that of a destination which was deleted: nobody finds, lists or owes to it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse.ledger.tables import attempts, deliveries, destinations, notifications
from meterhouse.wire.ids import new_id


class Forward(NamedTuple):
    """An event that a CLI was sent at `sent_at` and has read.

    `destination` is the id of its device, which calls itself `device`. `status` is what a URL
    answered at the instant `at`; None where none has answered.
    """

    scope: int
    notification: str
    destination: str
    device: str
    sent_at: int
    at: int | None = None
    status: int | None = None
    response: str = ""

    @property
    def delivered(self) -> bool:
        """Whether no URL has turned the event down."""
        return self.status is None or 200 <= self.status < 300  # noqa: PLR2004 - HTTP's


_one = sa.and_(
    deliveries.c.notification == sa.bindparam("event"),
    deliveries.c.destination == sa.bindparam("cli"),
)
_find = sa.select(deliveries.c.id).where(_one)
_note = (
    sa.update(deliveries)
    .where(deliveries.c.id == sa.bindparam("delivery"))
    .values(status=sa.bindparam("new_status"), attempts=deliveries.c.attempts + 1)
)


def record(connection: sa.Connection, forwards: Sequence[Forward]) -> None:
    """Record forwards; an event that is no longer kept is passed over."""
    for forward in forwards:
        delivery = _delivery(connection, forward)
        if delivery is not None and forward.at is not None:
            status = "delivered" if forward.delivered else "failed"
            connection.execute(_note, {"delivery": delivery, "new_status": status})
            connection.execute(
                sa.insert(attempts),
                {
                    "delivery": delivery,
                    "at": forward.at,
                    "status": forward.status,
                    "duration_ms": forward.at - forward.sent_at,
                    "response": forward.response,
                },
            )


def _delivery(connection: sa.Connection, forward: Forward) -> str | None:
    """Return the id of the delivery, made if it is not there yet."""
    names = {"event": forward.notification, "cli": forward.destination}
    found: str | None = connection.execute(_find, names).scalar_one_or_none()
    if found is not None:
        return found
    kept = sa.select(notifications.c.seq).where(notifications.c.id == forward.notification)
    if connection.execute(kept).first() is None:
        return None
    _know(connection, forward)
    made = new_id("del")
    connection.execute(
        sa.insert(deliveries),
        {
            "id": made,
            "scope": forward.scope,
            "notification": forward.notification,
            "destination": forward.destination,
            "status": "delivered",
            "attempts": 0,
            "created": forward.sent_at,
        },
    )
    return made


def _know(connection: sa.Connection, forward: Forward) -> None:
    """See to it that the device has its row."""
    known = sa.select(destinations.c.seq).where(destinations.c.id == forward.destination)
    if connection.execute(known).first() is not None:
        return
    connection.execute(
        sa.insert(destinations),
        {
            "id": forward.destination,
            "scope": forward.scope,
            "name": f"Stripe CLI on {forward.device}",
            "description": "",
            "url": "",
            "local": False,
            "payload": "snapshot",
            "enabled_events": [],
            "events_from": [],
            "metadata": {},
            "enabled": False,
            "secrets": [],
            "created": forward.sent_at,
            "updated": forward.sent_at,
            "deleted_at": forward.sent_at,
        },
    )
