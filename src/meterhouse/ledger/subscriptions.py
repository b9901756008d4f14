"""Subscriptions and their items (https://docs.stripe.com/api/subscriptions).

- A subscription is stored and read whole, with its items, oldest first.
- Whoever changes one reads it with `lock` before; what it has become has a higher `revision`.
- `due` is when something happens to one of itself, by the clock that its customer lives by.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from meterhouse.billing.period import Period
from meterhouse.billing.subscription import Item, Subscription
from meterhouse.ledger.dialect import any_of
from meterhouse.ledger.holdups import not_waiting
from meterhouse.ledger.paging import of_time, read_page
from meterhouse.ledger.tables import subscription_items as items
from meterhouse.ledger.tables import subscriptions
from meterhouse.ledger.watched_meters import watch
from meterhouse.wire.page import PageParams

Window = tuple[int | None, int | None]

_COLUMNS = (
    "id",
    "scope",
    "customer",
    "test_clock",
    "status",
    "collection",
    "revision",
    "metadata",
    "created",
)
_DETAILS = tuple(
    name for name in Subscription.__struct_fields__ if name not in {*_COLUMNS, "items"}
)
_ITEM = ("id", "price", "quantity", "since", "usage_gte", "metadata", "created")
_OVER = ("canceled", "incomplete_expired")

_subscriptions = sa.select(*(subscriptions.c[name] for name in (*_COLUMNS, "details")))
_found = _subscriptions.where(
    subscriptions.c.scope == sa.bindparam("scope"),
    subscriptions.c.id == sa.bindparam("subscription"),
)
_locked = _found.with_for_update()
_by_ids = _subscriptions.where(
    subscriptions.c.scope == sa.bindparam("scope"), any_of(subscriptions.c.id, "ids")
)
_held = (
    _subscriptions.where(any_of(subscriptions.c.id, "ids"))
    .order_by(subscriptions.c.id)
    .with_for_update()
)
_revisions = _held.with_only_columns(subscriptions.c.id, subscriptions.c.revision)
_CHANGING = ("status", "collection", "due", "watched", "revision", "metadata", "details")
_update = (
    sa.update(subscriptions)
    .where(subscriptions.c.id == sa.bindparam("of_id"))
    .values({name: sa.bindparam(name) for name in _CHANGING})
)
_item_ids = sa.select(items.c.id).where(any_of(items.c.subscription, "subscriptions"))
_delete_items = sa.delete(items).where(any_of(items.c.id, "ids"))
_items = (
    sa.select(*(items.c[name] for name in (*_ITEM, "period_start", "period_end", "subscription")))
    .where(any_of(items.c.subscription, "ids"))
    .order_by(items.c.seq)
)
_ITEM_CHANGING = (
    "price",
    "quantity",
    "period_start",
    "period_end",
    "since",
    "usage_gte",
    "metadata",
)
_update_item = (
    sa.update(items)
    .where(items.c.id == sa.bindparam("of_id"))
    .values({name: sa.bindparam(name) for name in _ITEM_CHANGING})
)


class Filter(NamedTuple):
    """What the subscriptions of a list are like; what is None leaves nothing out.

    `statuses` are those that are wanted. Of `clocked` None wants both what lives by a test clock
    and what does not.
    """

    customer: str | None = None
    price: str | None = None
    statuses: tuple[str, ...] | None = None
    collection: str | None = None
    test_clock: str | None = None
    clocked: bool | None = None
    created: Window = (None, None)
    period_start: Window = (None, None)
    period_end: Window = (None, None)


def create_subscription(
    connection: sa.Connection, subscription: Subscription, due: int | None
) -> None:
    """Store a new subscription and its items."""
    connection.execute(sa.insert(subscriptions), _row(subscription, due))
    connection.execute(
        sa.insert(items), [_item_row(subscription.id, item) for item in subscription.items]
    )
    _watch(connection, [subscription])


def find_subscription(
    connection: sa.Connection, scope: int, subscription_id: str, *, lock: bool = False
) -> Subscription | None:
    """Return a subscription; None when `scope` has none of this id.

    With `lock`, inside `Ledger.write()`, nobody else changes it until we commit.
    """
    values = {"scope": scope, "subscription": subscription_id}
    found = _read(connection, _locked if lock else _found, values)
    return found[0] if found else None


def metadata_of(connection: sa.Connection, subscription_id: str) -> dict[str, str]:
    """Return the metadata of a subscription that there is."""
    query = sa.select(subscriptions.c.metadata).where(subscriptions.c.id == subscription_id)
    metadata: dict[str, str] = connection.execute(query).scalar_one()
    return metadata


def find_item(
    connection: sa.Connection, scope: int, item_id: str, *, lock: bool = False
) -> tuple[Subscription, Item] | None:
    """Return an item and the subscription that it is of; None when `scope` has none of this id.

    With `lock` it is the subscription that nobody else changes.
    """
    named = sa.select(items.c.subscription).where(items.c.id == item_id)
    owner = connection.execute(named).scalar_one_or_none()
    found = owner and find_subscription(connection, scope, owner, lock=lock)
    if not found:
        return None
    return next(((found, item) for item in found.items if item.id == item_id), None)


def by_ids(connection: sa.Connection, scope: int, ids: Iterable[str]) -> dict[str, Subscription]:
    """Return the subscriptions of a scope that have these ids."""
    found = _read(connection, _by_ids, {"scope": scope, "ids": list(ids)})
    return {one.id: one for one in found}


def of_customer(
    connection: sa.Connection, scope: int, customer: str, *, lock: bool = False
) -> list[Subscription]:
    """Return the subscriptions of a customer that are not over, oldest first."""
    query = _subscriptions.where(
        subscriptions.c.scope == scope,
        subscriptions.c.customer == customer,
        subscriptions.c.status.not_in(_OVER),
    ).order_by(subscriptions.c.seq)
    return _read(connection, query.with_for_update() if lock else query)


def due(
    connection: sa.Connection, test_clock: str | None, until: int, rows: int
) -> list[Subscription]:
    """Return up to `rows` subscriptions to which something happens until then, earliest first.

    They are those that live by a test clock, or, where that is None, by the machine's. What is held
    up is left out. Nothing is locked: by the time that one is changed, its `revision` may be
    another.
    """
    query = (
        _subscriptions.where(
            subscriptions.c.test_clock.is_(None)
            if test_clock is None
            else subscriptions.c.test_clock == test_clock,
            subscriptions.c.due <= until,
            not_waiting(subscriptions, until),
        )
        .order_by(subscriptions.c.due, subscriptions.c.seq)
        .limit(rows)
    )
    return _read(connection, query)


def next_due(connection: sa.Connection, test_clock: str | None) -> int | None:
    """Return when something happens next to a subscription that lives by a clock; None: never."""
    earliest = sa.select(sa.func.min(subscriptions.c.due)).where(
        subscriptions.c.test_clock.is_(None)
        if test_clock is None
        else subscriptions.c.test_clock == test_clock
    )
    at: int | None = connection.execute(earliest).scalar_one()
    return at


def hold(connection: sa.Connection, ids: Iterable[str]) -> dict[str, Subscription]:
    """Return the subscriptions that have these ids, for nobody else to change until we commit.

    They are locked in the order of their ids.
    """
    return {one.id: one for one in _read(connection, _held, {"ids": list(ids)})}


def hold_unchanged(
    connection: sa.Connection, some: Iterable[Subscription]
) -> dict[str, Subscription]:
    """Return those of different subscriptions that are as they were read, and hold them so."""
    known = {one.id: one for one in some}
    found = connection.execute(_revisions, {"ids": list(known)})
    return {row.id: known[row.id] for row in found if row.revision == known[row.id].revision}


def update_subscription(
    connection: sa.Connection, subscription: Subscription, due: int | None
) -> Subscription:
    """Store what a subscription and its items have become; return it in its new revision."""
    changed = revised(subscription)
    put_revised(connection, [(changed, due)])
    return changed


def revised(subscription: Subscription) -> Subscription:
    """Return a subscription that has changed in its new revision, which is to be stored."""
    return msgspec.structs.replace(subscription, revision=subscription.revision + 1)


def put_revised(connection: sa.Connection, some: Sequence[tuple[Subscription, int | None]]) -> None:
    """Store new revisions of subscriptions, each with when something happens to it of itself."""
    if some:
        connection.execute(_update, [_changes(_row(one, due), _CHANGING) for one, due in some])
        _put_items(connection, [one for one, _ in some])
        _watch(connection, [one for one, _ in some])


def list_subscriptions(
    connection: sa.Connection, scope: int, page: PageParams, wanted: Filter
) -> tuple[list[Subscription], bool] | None:
    """Return a page of the subscriptions, newest first, and whether there are more.

    Returns None when the cursor of `page` names no subscription.
    """
    query = of_time(_subscriptions, subscriptions.c.created, wanted.created)
    for name in ("collection", "customer", "test_clock"):
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(subscriptions.c[name] == value)
    if wanted.clocked is not None:
        query = query.where(subscriptions.c.test_clock.is_not(None) == sa.literal(wanted.clocked))
    if wanted.statuses is not None:
        query = query.where(subscriptions.c.status.in_(wanted.statuses))
    own = items.c.subscription == subscriptions.c.id
    if wanted.price is not None:
        query = query.where(sa.exists().where(own, items.c.price == wanted.price))
    # The period of a subscription is what those of its items have in common.
    for column, common, window in (
        (items.c.period_start, sa.func.max, wanted.period_start),
        (items.c.period_end, sa.func.min, wanted.period_end),
    ):
        query = of_time(query, sa.select(common(column)).where(own).scalar_subquery(), window)
    found = read_page(connection, subscriptions, query, scope, page)
    return (_whole(connection, found.rows), found.has_more) if found else None


def list_items(
    connection: sa.Connection, subscription_id: str, page: PageParams
) -> tuple[list[Item], bool] | None:
    """Return a page of the items of a subscription, newest first, and whether there are more.

    Returns None when the cursor of `page` names none of them.
    """
    own = items.c.subscription == subscription_id
    query = sa.select(*(items.c[name] for name in (*_ITEM, "period_start", "period_end")))
    found = read_page(connection, items, query, None, page, own=own)
    return ([_item(row) for row in found.rows], found.has_more) if found else None


def _read(
    connection: sa.Connection, query: sa.Select[Any], values: dict[str, Any] | None = None
) -> list[Subscription]:
    return _whole(connection, connection.execute(query, values or {}).mappings().all())


def _whole(connection: sa.Connection, rows: Sequence[sa.RowMapping]) -> list[Subscription]:
    """Return subscriptions with their items."""
    if not rows:
        return []
    belonging: dict[str, list[Item]] = {row["id"]: [] for row in rows}
    for row in connection.execute(_items, {"ids": list(belonging)}).mappings():
        belonging[row["subscription"]].append(_item(row))
    return [_subscription(row, tuple(belonging[row["id"]])) for row in rows]


def _subscription(row: sa.RowMapping, belonging: tuple[Item, ...]) -> Subscription:
    values = {name: row[name] for name in _COLUMNS} | row["details"] | {"items": ()}
    return msgspec.structs.replace(msgspec.convert(values, Subscription), items=belonging)


def _row(subscription: Subscription, due: int | None) -> dict[str, Any]:
    return {
        **{name: getattr(subscription, name) for name in _COLUMNS},
        "due": due,
        "watched": subscription.watched,
        "details": msgspec.to_builtins({name: getattr(subscription, name) for name in _DETAILS}),
    }


def _changes(row: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return what an update of a row is given, which would set whatever else it got."""
    return {"of_id": row["id"], **{name: row[name] for name in names}}


def _put_items(connection: sa.Connection, some: Sequence[Subscription]) -> None:
    """Store the items that subscriptions have now, and no others."""
    ids = [one.id for one in some]
    stored = set(connection.execute(_item_ids, {"subscriptions": ids}).scalars())
    rows = [_item_row(one.id, item) for one in some for item in one.items]
    kept = [_changes(row, _ITEM_CHANGING) for row in rows if row["id"] in stored]
    new = [row for row in rows if row["id"] not in stored]
    gone = stored - {row["id"] for row in rows}
    if gone:
        connection.execute(_delete_items, {"ids": list(gone)})
    if kept:
        connection.execute(_update_item, kept)
    if new:
        connection.execute(sa.insert(items), new)


def _watch(connection: sa.Connection, some: Sequence[Subscription]) -> None:
    watch(connection, {item.price for one in some if one.watched for item in one.items})


def _item_row(subscription: str, item: Item) -> dict[str, Any]:
    start, end = item.period
    return {
        **{name: getattr(item, name) for name in _ITEM},
        "subscription": subscription,
        "period_start": start,
        "period_end": end,
    }


def _item(row: sa.RowMapping) -> Item:
    period = Period(row["period_start"], row["period_end"])
    return Item(period=period, **{name: row[name] for name in _ITEM})
