"""The outbox: what happened is noted, and owed to its listeners, in the transaction of its cause.

After a crash there are either the cause, the notification and its deliveries, or none of them. A
transaction that put something here says so (`stirred`), so that it can be sent as soon as it is
committed.

Where several processes put something here, one waits for the other: the numbers of notifications
become visible in their order, so who has read up to one misses none before it.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from meterhouse.ledger import deliveries, destinations, notifications, signals
from meterhouse.ledger.locks import Lock, hold
from meterhouse.wire.notification import Notification

_STIRRED = "meterhouse.outbox.stirred"


def emit(connection: sa.Connection, notification: Notification) -> None:
    """Keep a notification, and owe it to every destination that listens to it."""
    listening = destinations.subscribed(
        connection, notification.scope, notification.type, notification.payload
    )
    _put(connection, notification, listening)


def emit_to(connection: sa.Connection, notification: Notification, destination_id: str) -> None:
    """Keep a notification, and owe it to one destination, whatever that listens to."""
    _put(connection, notification, [destination_id])


def resend(connection: sa.Connection, notification_id: str, destination_id: str, now: int) -> None:
    """Owe a notification to a destination from now on, whatever became of it before."""
    deliveries.owe_again(connection, notification_id, destination_id, now)
    _stir(connection)


def stirred(connection: sa.Connection) -> bool:
    """Return whether this transaction has put something here, and forget it."""
    return bool(connection.info.pop(_STIRRED, False))


def _put(connection: sa.Connection, notification: Notification, listening: Sequence[str]) -> None:
    hold(connection, Lock.OUTBOX)
    notifications.put(connection, notification)
    deliveries.owe(connection, notification.id, listening, notification.created)
    _stir(connection)


def _stir(connection: sa.Connection) -> None:
    signals.notify(connection, "outbox")
    connection.info[_STIRRED] = True
