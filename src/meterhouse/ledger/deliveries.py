"""Deliveries: what destinations are owed of notifications, and every attempt to pay it.

A delivery is owed from the transaction of its cause until it is delivered, has failed too often, or
its destination is gone. While it is owed it is pending, and `next_attempt_at` tells when to try. It
goes, with its attempts, when its notification goes.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import sqlalchemy as sa

from meterhouse.ledger import audit, destinations
from meterhouse.ledger.destinations import Destination
from meterhouse.ledger.dialect import any_of
from meterhouse.ledger.notifications import ERASED
from meterhouse.ledger.paging import read_page
from meterhouse.ledger.tables import attempts, deliveries, scopes
from meterhouse.ledger.tables import destinations as destinations_table
from meterhouse.ledger.tables import notifications as notifications_table
from meterhouse.limits import DELIVERY_SHOWN_ATTEMPTS_MAX, DESTINATION_FAILING_DAYS_MAX
from meterhouse.metering.model import Scope
from meterhouse.metering.window import MILLISECONDS
from meterhouse.wire.ids import new_id
from meterhouse.wire.notification import Notification
from meterhouse.wire.page import PageParams

Status = Literal["cancelled", "delivered", "failed", "pending"]

_FAILING_MAX = DESTINATION_FAILING_DAYS_MAX * MILLISECONDS["day"]


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What a destination is owed of a notification; `attempts` counts those that were made.

    `scope` is that of the destination. The notification may be of a connected account.
    """

    id: str
    scope: int
    notification: str
    destination: str
    status: Status
    attempts: int
    next_attempt_at: int | None
    created: int


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt: when, what the destination answered and how soon, or why there is no answer.

    `response` is how the body of the answer begins.
    """

    at: int
    status: int | None
    duration_ms: int
    error: str | None
    response: str


class Waiting(NamedTuple):
    """A destination that is owed something; `first` is when the first of it is due.

    `exists` is False for one that is disabled or deleted.
    """

    destination: str
    exists: bool
    first: int


class Debt(NamedTuple):
    """A delivery that is pending, and when to try next."""

    delivery: str
    due: int


class Owed(NamedTuple):
    """All that an attempt needs.

    `origin` is the scope in which the notification arose, `undelivered` how many destinations it
    has not arrived at.
    """

    debt: Debt
    delivery: Delivery
    destination: Destination
    notification: Notification
    origin: Scope
    undelivered: int


class Step(NamedTuple):
    """What has become of a debt, after an attempt or without one."""

    debt: Debt
    attempt: Attempt | None
    status: Status
    next_attempt_at: int | None


_COLUMNS = tuple(deliveries.c[name] for name in Delivery.__struct_fields__)
_ATTEMPT = tuple(attempts.c[name] for name in Attempt.__struct_fields__)
_NOTIFICATION = tuple(notifications_table.c[name] for name in Notification.__struct_fields__)

_owe = sa.insert(deliveries).values(
    id=sa.bindparam("new_id"),
    scope=sa.select(destinations_table.c.scope)
    .where(destinations_table.c.id == sa.bindparam("new_destination"))
    .scalar_subquery(),
    notification=sa.bindparam("new_notification"),
    destination=sa.bindparam("new_destination"),
    status="pending",
    attempts=0,
    next_attempt_at=sa.bindparam("now"),
    created=sa.bindparam("now"),
)
_deliveries = sa.select(*_COLUMNS)
_there = (
    sa.select(deliveries.c.id, ERASED)
    .join_from(deliveries, notifications_table)
    .where(any_of(deliveries.c.id, "ids"))
)
_first_due = (
    sa.select(sa.func.min(deliveries.c.next_attempt_at))
    .where(
        deliveries.c.destination == destinations_table.c.id,
        deliveries.c.next_attempt_at.is_not(None),
    )
    .scalar_subquery()
)
_waiting = sa.select(
    destinations_table.c.id,
    sa.and_(destinations_table.c.enabled, destinations_table.c.deleted_at.is_(None)),
    _first_due.label("first"),
)
_debts = (
    sa.select(deliveries.c.id, deliveries.c.next_attempt_at)
    .where(
        deliveries.c.destination == sa.bindparam("wanted"),
        deliveries.c.next_attempt_at.is_not(None),
    )
    .order_by(deliveries.c.next_attempt_at, deliveries.c.seq)
    .limit(sa.bindparam("rows"))
)
_others = deliveries.alias("others")
_not_arrived = (
    sa.select(sa.func.count())
    .where(
        _others.c.notification == deliveries.c.notification,
        _others.c.status.in_(("failed", "pending")),
    )
    .scalar_subquery()
    .label("undelivered")
)
_owed = (
    sa.select(
        *_COLUMNS,
        *destinations.COLUMNS,
        *_NOTIFICATION,
        scopes.c.account,
        scopes.c.livemode,
        _not_arrived,
    )
    .join_from(deliveries, destinations_table)
    .join(notifications_table, deliveries.c.notification == notifications_table.c.id)
    .join(scopes, notifications_table.c.scope == scopes.c.id)
    .where(any_of(deliveries.c.id, "ids"))
)
# An attempt pays the debt that it was made for, and not one that was asked for meanwhile.
_count_attempt = (
    sa.update(deliveries)
    .where(deliveries.c.id == sa.bindparam("tried"))
    .values(attempts=deliveries.c.attempts + 1)
)
_settle = (
    sa.update(deliveries)
    .where(
        deliveries.c.id == sa.bindparam("delivery"),
        deliveries.c.next_attempt_at == sa.bindparam("due"),
    )
    .values(status=sa.bindparam("new_status"), next_attempt_at=sa.bindparam("next_due"))
)
_tried = sa.and_(
    destinations_table.c.id
    == sa.select(deliveries.c.destination)
    .where(deliveries.c.id == sa.bindparam("tried"))
    .scalar_subquery(),
    destinations_table.c.enabled,
    destinations_table.c.deleted_at.is_(None),
)
_fails = (
    sa.update(destinations_table)
    .where(_tried, destinations_table.c.failing_since.is_(None))
    .values(failing_since=sa.bindparam("moment"))
)
_works = (
    sa.update(destinations_table)
    .where(_tried, destinations_table.c.failing_since.is_not(None))
    .values(failing_since=None)
)
_disable = (
    sa.update(destinations_table)
    .where(_tried, destinations_table.c.failing_since <= sa.bindparam("since") - _FAILING_MAX)
    .values(enabled=False, updated=sa.bindparam("moment"))
    .returning(destinations_table.c.id, destinations_table.c.scope)
)
_ranked = (
    sa.select(
        attempts.c.seq,
        sa.func.row_number()
        .over(partition_by=attempts.c.delivery, order_by=attempts.c.seq.desc())
        .label("rank"),
    )
    .where(any_of(attempts.c.delivery, "ids"))
    .subquery()
)
_attempts = (
    sa.select(attempts.c.delivery, *_ATTEMPT)
    .join_from(_ranked, attempts, attempts.c.seq == _ranked.c.seq)
    .where(_ranked.c.rank <= DELIVERY_SHOWN_ATTEMPTS_MAX)
    .order_by(attempts.c.seq)
)
_undelivered = (
    sa.select(deliveries.c.notification, sa.func.count())
    .where(any_of(deliveries.c.notification, "ids"), deliveries.c.status.in_(("failed", "pending")))
    .group_by(deliveries.c.notification)
)


def owe(connection: sa.Connection, owed: Iterable[tuple[str, str, int]]) -> None:
    """Owe notifications: each to a destination, from an instant on."""
    rows = [
        {
            "new_id": new_id("del"),
            "new_notification": notification_id,
            "new_destination": destination_id,
            "now": now,
        }
        for notification_id, destination_id, now in owed
    ]
    if rows:
        connection.execute(_owe, rows)


def owe_again(
    connection: sa.Connection, notification_id: str, destination_id: str, now: int
) -> None:
    """Owe a notification to a destination from `now` on, whatever became of it before.

    What is due already becomes due a little earlier: that is how `record` knows this debt from
    the one that an attempt may be under way for.
    """
    due = deliveries.c.next_attempt_at
    again = connection.execute(
        sa.update(deliveries)
        .where(
            deliveries.c.notification == notification_id,
            deliveries.c.destination == destination_id,
        )
        .values(status="pending", next_attempt_at=sa.case((due <= now, due - 1), else_=now))
    )
    if again.rowcount == 0:
        owe(connection, [(notification_id, destination_id, now)])


def recall(connection: sa.Connection, now: int, wait: int = 0) -> None:
    """Make everything due that waits for longer than `wait` milliseconds.

    A clock that was ahead has put it off.
    """
    put_off = deliveries.c.next_attempt_at > now + wait
    connection.execute(sa.update(deliveries).where(put_off).values(next_attempt_at=now))


def waiting(connection: sa.Connection) -> list[Waiting]:
    """Return each destination that is owed something."""
    rows = connection.execute(_waiting)
    return [Waiting(*row) for row in rows if row.first is not None]


def debts(connection: sa.Connection, destination_id: str, rows_max: int) -> list[Debt]:
    """Return up to `rows_max` of what a destination is owed, in the order in which it is due."""
    rows = connection.execute(_debts, {"wanted": destination_id, "rows": rows_max})
    return [Debt(*row) for row in rows]


def owed(connection: sa.Connection, wanted: Sequence[Debt]) -> list[Owed]:
    """Return what attempts to pay these debts need."""
    by_id = {debt.delivery: debt for debt in wanted}
    rows = connection.execute(_owed, {"ids": list(by_id)}).mappings()
    return [
        Owed(
            by_id[row[deliveries.c.id]],
            Delivery(**_pick(row, deliveries, Delivery)),
            destinations.read_row(_pick(row, destinations_table, Destination)),
            Notification(**_pick(row, notifications_table, Notification)),
            Scope(row[notifications_table.c.scope], row[scopes.c.account], row[scopes.c.livemode]),
            row[_not_arrived],
        )
        for row in rows
    ]


def record(connection: sa.Connection, steps: Sequence[Step], reached: int) -> list[str]:
    """Record what became of debts; a delivery that is no longer there is passed over.

    A delivery that was asked for again since its debt was read stays pending. What a destination
    answered to an event that was erased meanwhile, it answered to the whole: it is not kept.

    Returns the destinations that this disables, because a delivery to them was given up after
    nothing had arrived for `DESTINATION_FAILING_DAYS_MAX` days. `reached` is the latest instant
    that such an attempt is surely not earlier than, whatever the clock says of it.
    """
    settled = [
        {
            "delivery": step.debt.delivery,
            "due": step.debt.due,
            "new_status": step.status,
            "next_due": step.next_attempt_at,
        }
        for step in steps
    ]
    connection.execute(_settle, settled)
    rows = connection.execute(_there, {"ids": [step.debt.delivery for step in steps]})
    there = {row[0]: row[1] for row in rows}
    made = [
        msgspec.structs.asdict(step.attempt)
        | {"delivery": step.debt.delivery}
        | ({"response": ""} if there[step.debt.delivery] else {})
        for step in steps
        if step.attempt is not None and step.debt.delivery in there
    ]
    if made:
        connection.execute(_count_attempt, [{"tried": one["delivery"]} for one in made])
        connection.execute(sa.insert(attempts), made)
    known = [step for step in steps if step.debt.delivery in there]
    return _judge_destinations(connection, known, reached)


def _judge_destinations(
    connection: sa.Connection, steps: Sequence[Step], reached: int
) -> list[str]:
    """Note whether destinations fail or work; disable those that have failed for too long."""
    moments: dict[Status, list[dict[str, Any]]] = {"delivered": [], "failed": [], "pending": []}
    for step in steps:
        if step.attempt is not None:
            at = step.attempt.at
            moment = {"tried": step.debt.delivery, "moment": at, "since": min(at, reached)}
            moments[step.status].append(moment)
    if failed := moments["pending"] + moments["failed"]:
        connection.execute(_fails, failed)
    if arrived := moments["delivered"]:
        connection.execute(_works, arrived)
    disabled: list[str] = []
    for given_up in moments["failed"]:
        for destination, scope in connection.execute(_disable, given_up).all():
            by, what = (
                audit.system(given_up["moment"]),
                {"enabled": audit.Change(old=True, new=False)},
            )
            audit.note(connection, by, "event_destination.disabled", scope, destination, what)
            disabled.append(destination)
    return disabled


def find_delivery(connection: sa.Connection, scope: int, delivery_id: str) -> Delivery | None:
    """Return a delivery; None when the destinations of `scope` have no such one."""
    query = _deliveries.where(deliveries.c.scope == scope, deliveries.c.id == delivery_id)
    row = connection.execute(query).mappings().one_or_none()
    return Delivery(**row) if row else None


def list_deliveries(
    connection: sa.Connection,
    scope: int,
    page: PageParams,
    *,
    notification: str | None = None,
    destination: str | None = None,
) -> tuple[list[Delivery], bool] | None:
    """Return a page of the deliveries, newest first, and whether there are more.

    Returns None when the cursor of `page` names no delivery.
    """
    query = _deliveries
    own = deliveries.c.scope == scope
    if notification is not None:
        query = query.where(deliveries.c.notification == notification)
        own = deliveries.c.scope + 0 == scope  # SQLite would go through all of the scope in order
    if destination is not None:
        query = query.where(deliveries.c.destination == destination)
    found = read_page(connection, deliveries, query, None, page, own=own)
    return ([Delivery(**row) for row in found.rows], found.has_more) if found else None


def attempts_of(connection: sa.Connection, ids: Sequence[str]) -> dict[str, list[Attempt]]:
    """Return the attempts of each of these deliveries, oldest first.

    They are the newest `DELIVERY_SHOWN_ATTEMPTS_MAX`: who tries by hand may make any number.
    """
    found: dict[str, list[Attempt]] = {delivery_id: [] for delivery_id in ids}
    for row in connection.execute(_attempts, {"ids": list(ids)}).mappings():
        values: dict[str, Any] = dict(row)
        found[values.pop("delivery")].append(Attempt(**values))
    return found


def undelivered(connection: sa.Connection, notification_ids: Sequence[str]) -> dict[str, int]:
    """Count the deliveries of each notification that have not arrived; none is left out."""
    rows = connection.execute(_undelivered, {"ids": list(notification_ids)})
    return {row[0]: row[1] for row in rows}


def _pick(row: sa.RowMapping, table: sa.Table, cls: type[msgspec.Struct]) -> dict[str, Any]:
    return {name: row[table.c[name]] for name in cls.__struct_fields__}
