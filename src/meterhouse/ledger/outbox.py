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
    emit_all(connection, [notification])


def emit_all(connection: sa.Connection, new: Sequence[Notification]) -> None:
    """Keep notifications, in their order, and owe each to every destination that listens to it."""
    if new:
        _put(connection, [(one, _listening(connection, one)) for one in new])


def emit_to(connection: sa.Connection, notification: Notification, destination_id: str) -> None:
    """Keep a notification, and owe it to one destination, whatever that listens to."""
    _put(connection, [(notification, [destination_id])])


def resend(connection: sa.Connection, notification_id: str, destination_id: str, now: int) -> None:
    """Owe a notification to a destination from now on, whatever became of it before."""
    deliveries.owe_again(connection, notification_id, destination_id, now)
    _stir(connection)


def stirred(connection: sa.Connection) -> bool:
    """Return whether this transaction has put something here, and forget it."""
    return bool(connection.info.pop(_STIRRED, False))


def _listening(connection: sa.Connection, one: Notification) -> list[str]:
    return destinations.subscribed(connection, one.scope, one.type, one.payload)


def _put(connection: sa.Connection, new: Sequence[tuple[Notification, Sequence[str]]]) -> None:
    """Keep notifications, each of which is owed to destinations."""
    hold(connection, Lock.OUTBOX)
    notifications.put(connection, *(one for one, _ in new))
    owed = [(one.id, to, one.created) for one, destinations_ in new for to in destinations_]
    deliveries.owe(connection, owed)
    _stir(connection)


def _stir(connection: sa.Connection) -> None:
    signals.notify(connection, "outbox")
    connection.info[_STIRRED] = True
