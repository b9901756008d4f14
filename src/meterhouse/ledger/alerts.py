"""Alerts (https://docs.stripe.com/api/billing/alert).

- Alerts are never deleted; one that is archived stays so.
- Whoever knows all of them up to a `revision` finds by it what has changed since: those who write
  alerts do so one after the other (`Lock.CATALOG`).
"""

from collections.abc import Collection
from typing import Any

import msgspec
import sqlalchemy as sa

from meterhouse.billing.alert import Alert
from meterhouse.ledger.dialect import any_of
from meterhouse.ledger.paging import read_page
from meterhouse.ledger.tables import alerts
from meterhouse.wire.page import PageParams

_COLUMNS = ("id", "scope", "status", "meter", "customer", "since", "revision", "created")
_DETAILS = ("title", "recurs", "dimensions", "steps", "budget", "hard_limit")

_alerts = sa.select(*(alerts.c[name] for name in (*_COLUMNS, "details")))
_newest = sa.select(sa.func.max(alerts.c.revision))
_changed = _alerts.where(alerts.c.revision > sa.bindparam("revision"))
_watching = sa.select(alerts.c.id, alerts.c.status, alerts.c.meter, alerts.c.customer).where(
    alerts.c.revision > sa.bindparam("revision")
)
_by_ids = _alerts.where(any_of(alerts.c.id, "ids"))
# A bound value would not do for SQLite to use the index of those that are active.
_active = alerts.c.status == sa.literal_column("'active'")
_active_about = _alerts.where(
    alerts.c.meter == sa.bindparam("meter"),
    sa.or_(alerts.c.customer.is_(None), alerts.c.customer == sa.bindparam("customer")),
    _active,
).order_by(alerts.c.seq)
_any_active = sa.select(sa.exists().where(_active))


def newest_revision(connection: sa.Connection) -> int:
    """Return the revision of the alert that was changed last, 0 where there is none."""
    return connection.execute(_newest).scalar_one() or 0


def changed_since(connection: sa.Connection, revision: int) -> list[Alert]:
    """Return the alerts that have changed since a revision, whatever their status."""
    return [_alert(row) for row in connection.execute(_changed, {"revision": revision}).mappings()]


def watching(connection: sa.Connection, revision: int) -> list[tuple[str, bool, str, str | None]]:
    """Return the id of each alert that has changed since, if it is active, its meter and customer.

    That takes a fraction of what `changed_since` does.
    """
    rows = connection.execute(_watching, {"revision": revision})
    return [(id_, status == "active", meter, customer) for id_, status, meter, customer in rows]


def any_active(connection: sa.Connection) -> bool:
    """Tell whether there is an active alert at all."""
    return bool(connection.execute(_any_active).scalar_one())


def create_alert(connection: sa.Connection, alert: Alert) -> None:
    """Store a new alert; nobody else writes alerts until we commit."""
    connection.execute(sa.insert(alerts), _row(connection, alert))


def find_alert(connection: sa.Connection, scope: int, alert_id: str) -> Alert | None:
    """Return an alert; None when `scope` has none of this id."""
    query = _alerts.where(alerts.c.scope == scope, alerts.c.id == alert_id)
    row = connection.execute(query).mappings().one_or_none()
    return _alert(row) if row else None


def by_ids(connection: sa.Connection, ids: Collection[str]) -> dict[str, Alert]:
    """Return the alerts of these ids."""
    rows = connection.execute(_by_ids, {"ids": list(ids)}).mappings()
    return {row["id"]: _alert(row) for row in rows}


def update_alert(connection: sa.Connection, alert: Alert) -> None:
    """Store what an alert has become; nobody else writes alerts until we commit."""
    row = _row(connection, alert)
    connection.execute(sa.update(alerts).where(alerts.c.id == alert.id).values(row))


def active_about(connection: sa.Connection, meter: str, customer: str) -> list[Alert]:
    """Return the active alerts on a meter that are about a customer, oldest first."""
    rows = connection.execute(_active_about, {"meter": meter, "customer": customer}).mappings()
    return [_alert(row) for row in rows]


def count_active(connection: sa.Connection, meter: str, customer: str | None) -> int:
    """Count the active alerts on a meter that are about a customer, or about each of them."""
    own = _about(customer)
    query = sa.select(sa.func.count()).where(alerts.c.meter == meter, own, _active)
    count: int = connection.execute(query).scalar_one()
    return count


def list_alerts(
    connection: sa.Connection,
    scope: int,
    page: PageParams,
    *,
    meter: str | None = None,
    customer: str | None = None,
    plain: bool = False,
) -> tuple[list[Alert], bool] | None:
    """Return a page of the alerts that are not archived, newest first, and whether there are more.

    With a `customer` those that are about it: its own, and those about each. With `plain` those
    alone that Stripe could have made. Returns None when the cursor of `page` names no alert.
    """
    query = _alerts.where(alerts.c.status != "archived")
    if meter is not None:
        query = query.where(alerts.c.meter == meter)
    if customer is not None:
        query = query.where(_about(customer))
    if plain:
        query = query.where(alerts.c.plain)
    found = read_page(connection, alerts, query, scope, page)
    return ([_alert(row) for row in found.rows], found.has_more) if found else None


def _about(customer: str | None) -> sa.ColumnElement[bool]:
    """Return what is so of alerts about each customer, and about this one."""
    return sa.or_(alerts.c.customer.is_(None), alerts.c.customer == customer)


def _row(connection: sa.Connection, alert: Alert) -> dict[str, Any]:
    """Return what is stored: the newest revision, and decimals as text."""
    return {
        **{name: getattr(alert, name) for name in _COLUMNS},
        "plain": alert.plain,
        "revision": newest_revision(connection) + 1,
        "details": msgspec.to_builtins({name: getattr(alert, name) for name in _DETAILS}),
    }


def _alert(row: sa.RowMapping) -> Alert:
    values = {name: row[name] for name in _COLUMNS} | row["details"]
    return msgspec.convert(values, Alert)
