"""Notifications that are kept: the events of both APIs, for 30 days.

They are numbered in the order in which they were put here. `outbox.emit` is the way to put one
here, in the transaction of its cause, so that whoever listens to it is told.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from meterhouse.ledger.dialect import as_json, insert_rows
from meterhouse.ledger.paging import of_time, read_page
from meterhouse.ledger.tables import attempts, deliveries, notifications
from meterhouse.wire.notification import Notification, Payload
from meterhouse.wire.page import PageParams


class Filter(NamedTuple):
    """Which notifications to list; what is None leaves nothing out.

    A type that ends in `*` stands for all that begin so. `created` is a half-open window, open
    where a bound is None. `delivered` tells whether every destination that it is owed to has it.
    `validation_start` is that of an error report.
    """

    payload: Payload
    types: Sequence[str] | None = None
    object_id: str | None = None
    created: tuple[int | None, int | None] = (None, None)
    delivered: bool | None = None
    validation_start: str | None = None


_COLUMNS = tuple(notifications.c[name] for name in Notification.__struct_fields__)
_notifications = sa.select(*_COLUMNS)
_after = (
    sa.select(notifications.c.seq, *_COLUMNS)
    .where(notifications.c.seq > sa.bindparam("after"))
    .order_by(notifications.c.seq)
    .limit(sa.bindparam("rows"))
)
_last = sa.select(sa.func.coalesce(sa.func.max(notifications.c.seq), 0))
_expired = (
    sa.select(notifications.c.seq)
    .where(notifications.c.created < sa.bindparam("before"))
    .order_by(notifications.c.created)
    .limit(sa.bindparam("rows"))
)
# A snapshot event that shows of its object that it was deleted, and nothing else.
ERASED = notifications.c.body["object", "deleted"].as_string().is_not(None)
_whole = sa.and_(notifications.c.payload == "snapshot", sa.not_(ERASED))
_pending = sa.exists().where(
    deliveries.c.notification == notifications.c.id, deliveries.c.next_attempt_at.is_not(None)
)
_undelivered = sa.exists().where(
    deliveries.c.notification == notifications.c.id,
    deliveries.c.status.in_(("failed", "pending")),
)
_expire = sa.delete(notifications).where(notifications.c.seq.in_(_expired))


def put(connection: sa.Connection, *new: Notification) -> None:
    """Keep new notifications, in their order."""
    insert_rows(connection, notifications, Notification.__struct_fields__, [*map(_row, new)])


def find(connection: sa.Connection, scope: int, notification_id: str) -> Notification | None:
    """Return a notification; None when `scope` has no such one, or has it no longer."""
    query = _notifications.where(
        notifications.c.scope == scope, notifications.c.id == notification_id
    )
    row = connection.execute(query).mappings().one_or_none()
    return Notification(**row) if row else None


def list_notifications(
    connection: sa.Connection, scope: int, page: PageParams, wanted: Filter
) -> tuple[list[Notification], bool] | None:
    """Return a page of the notifications that are `wanted`, newest first, and whether more follow.

    Returns None when the cursor of `page` names no notification.
    """
    found = read_page(connection, notifications, _filtered(wanted), scope, page)
    return ([Notification(**row) for row in found.rows], found.has_more) if found else None


def last(connection: sa.Connection) -> int:
    """Return the number of the newest notification, 0 when there is none."""
    number: int = connection.execute(_last).scalar_one()
    return number


def after(connection: sa.Connection, number: int, rows_max: int) -> list[tuple[int, Notification]]:
    """Return up to `rows_max` of the notifications after the one numbered so, with their numbers.

    They are of every scope, oldest first.
    """
    rows = connection.execute(_after, {"after": number, "rows": rows_max})
    names = Notification.__struct_fields__
    return [(seq, Notification(**dict(zip(names, rest, strict=True)))) for seq, *rest in rows]


def expire(connection: sa.Connection, created_before: int, rows_max: int) -> int:
    """Delete up to `rows_max` of the notifications from before an instant; return how many went."""
    return connection.execute(_expire, {"before": created_before, "rows": rows_max}).rowcount


def erase(
    connection: sa.Connection,
    scope: int,
    left: Mapping[str, Any],
    rows_max: int,
    *,
    created_before: int | None = None,
    owed: bool = False,
) -> int:
    """Let up to `rows_max` snapshot events show only what is `left` of their object.

    Those that were not `created_before` an instant stay, and those that are pending at some
    destination, unless what is `owed` goes too. What destinations answered to them, and to thin
    events about the object, goes with them. Returns how many went.
    """
    wanted = _about(scope, left["id"]).where(_whole)
    if created_before is not None:
        wanted = wanted.where(notifications.c.created < created_before)
    if not owed:
        wanted = wanted.where(~_pending)
    found = list(connection.scalars(wanted.limit(rows_max)))
    if found:
        of_these = notifications.c.id.in_(found)
        connection.execute(sa.update(notifications).where(of_these).values(body={"object": left}))
        told = sa.or_(of_these, notifications.c.payload == "thin")
        to_them = deliveries.c.notification.in_(_about(scope, left["id"]).where(told))
        answered = attempts.c.delivery.in_(sa.select(deliveries.c.id).where(to_them))
        connection.execute(sa.update(attempts).where(answered).values(response=""))
    return len(found)


def erased(connection: sa.Connection, scope: int, object_id: str) -> bool:
    """Tell whether no snapshot event shows more of an object than that it was deleted."""
    return connection.execute(_about(scope, object_id).where(_whole).limit(1)).first() is None


def _about(scope: int, object_id: str) -> sa.Select[tuple[str]]:
    return sa.select(notifications.c.id).where(
        notifications.c.scope == scope, notifications.c.object_id == object_id
    )


def _row(notification: Notification) -> tuple[Any, ...]:
    row = msgspec.structs.asdict(notification)
    body = row["body"]
    return tuple((row | {"body": None if body is None else as_json(body)}).values())


def _filtered(wanted: Filter) -> sa.Select[Any]:
    query = _notifications.where(notifications.c.payload == wanted.payload)
    if wanted.types is not None:
        query = query.where(sa.or_(*map(_has_type, wanted.types)))
    if wanted.object_id is not None:
        query = query.where(notifications.c.object_id == wanted.object_id)
    query = of_time(query, notifications.c.created, wanted.created)
    if wanted.delivered is not None:
        query = query.where(~_undelivered if wanted.delivered else _undelivered)
    if wanted.validation_start is not None:
        start_of_report = notifications.c.body["validation_start"].as_string()
        query = query.where(start_of_report == wanted.validation_start)
    return query


def _has_type(pattern: str) -> sa.ColumnElement[bool]:
    if not pattern.endswith("*"):
        return notifications.c.type == pattern
    beginning = pattern[:-1]
    return sa.func.substr(notifications.c.type, 1, len(beginning)) == beginning
