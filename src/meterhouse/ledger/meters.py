"""Meters: how events of a name become usage (https://docs.stripe.com/api/billing/meter).

- In a scope at most one active meter has an event name; the database itself sees to it.
- Formula, keys and event name of a meter never change, and meters are never deleted: what an
  event counted as once stays explained.
"""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from meterhouse.ledger.dialect import any_of
from meterhouse.ledger.paging import read_page
from meterhouse.ledger.tables import meters
from meterhouse.metering.model import Meter
from meterhouse.wire.page import PageParams

Status = Literal["active", "inactive"]
Name = tuple[int, str]  # a scope and an event name

_COLUMNS = (
    *(meters.c[name] for name in Meter.__struct_fields__ if name != "active"),
    meters.c.status,
)

_meters = sa.select(*_COLUMNS)
_by_ids = _meters.where(any_of(meters.c.id, "ids"))
_named = _meters.where(any_of(meters.c.scope, "scopes"), any_of(meters.c.event_name, "names"))
_active = _named.where(meters.c.status == "active")
_inactive = _named.where(meters.c.status == "inactive").order_by(
    meters.c.deactivated_at, meters.c.seq
)


def create_meter(connection: sa.Connection, meter: Meter) -> Meter | None:
    """Store a new meter and return it; None when an active meter has its event name."""
    row = msgspec.structs.asdict(meter)
    row["status"] = "active" if row.pop("active") else "inactive"
    return _claim_name(connection, meter, sa.insert(meters).values(row))


def find_meter(connection: sa.Connection, scope: int, meter_id: str) -> Meter | None:
    """Return a meter; None when `scope` has no such meter."""
    query = _meters.where(meters.c.scope == scope, meters.c.id == meter_id)
    row = connection.execute(query).mappings().one_or_none()
    return _meter(row) if row else None


def rename_meter(connection: sa.Connection, meter: Meter, display_name: str, now: int) -> Meter:
    """Give a meter another display name; return what it has become."""
    values = {"display_name": display_name, "updated": now}
    return _change(connection, _update(meter).values(values))


def deactivate_meter(connection: sa.Connection, meter: Meter, now: int) -> Meter:
    """Deactivate a meter; return what it has become."""
    values = {"status": "inactive", "deactivated_at": now, "updated": now}
    return _change(connection, _update(meter).values(values))


def reactivate_meter(connection: sa.Connection, meter: Meter, now: int) -> Meter | None:
    """Activate a meter; return what it has become.

    Returns None when another active meter has its event name.
    """
    values = {"status": "active", "deactivated_at": None, "updated": now}
    return _claim_name(connection, meter, _update(meter).values(values))


def list_meters(
    connection: sa.Connection, scope: int, page: PageParams, *, status: Status | None = None
) -> tuple[list[Meter], bool] | None:
    """Return a page of the meters, newest first, and whether there are more.

    Returns None when the cursor of `page` names no meter.
    """
    query = _meters if status is None else _meters.where(meters.c.status == status)
    found = read_page(connection, meters, query, scope, page)
    return ([_meter(row) for row in found.rows], found.has_more) if found else None


def by_ids(connection: sa.Connection, ids: Iterable[str]) -> dict[str, Meter]:
    """Return the meters of any scope that have these ids."""
    rows = connection.execute(_by_ids, {"ids": list(ids)}).mappings()
    return {row["id"]: _meter(row) for row in rows}


def active_by_names(connection: sa.Connection, names: Iterable[Name]) -> dict[Name, Meter]:
    """Return the active meters that have these names."""
    return _by_names(connection, _active, names)


def archived_by_names(connection: sa.Connection, names: Iterable[Name]) -> dict[Name, Meter]:
    """Return the inactive meters that have these names; of several the one deactivated last."""
    return _by_names(connection, _inactive, names)


def all_by_name(connection: sa.Connection, scope: int, event_name: str) -> list[Meter]:
    """Return every meter of `scope` that has this event name, active or not."""
    query = _meters.where(meters.c.scope == scope, meters.c.event_name == event_name)
    return [_meter(row) for row in connection.execute(query).mappings()]


def all_meters(connection: sa.Connection) -> list[Meter]:
    """Return every meter of every scope, oldest first."""
    return [_meter(row) for row in connection.execute(_meters.order_by(meters.c.seq)).mappings()]


def of_scope(connection: sa.Connection, scope: int) -> list[Meter]:
    """Return every meter of `scope`, oldest first."""
    query = _meters.where(meters.c.scope == scope).order_by(meters.c.seq)
    return [_meter(row) for row in connection.execute(query).mappings()]


def event_names(connection: sa.Connection, scope: int) -> list[str]:
    """Return the event names of the active meters of `scope`."""
    query = sa.select(meters.c.event_name).where(
        meters.c.scope == scope, meters.c.status == "active"
    )
    return list(connection.execute(query).scalars())


def customer_keys(connection: sa.Connection, scope: int) -> list[str]:
    """Return the payload keys under which the meters of `scope` find a customer."""
    query = sa.select(meters.c.customer_key).where(meters.c.scope == scope).distinct()
    return list(connection.execute(query).scalars())


def _by_names(
    connection: sa.Connection, query: sa.Select[Any], names: Iterable[Name]
) -> dict[Name, Meter]:
    wanted = set(names)
    scopes = [scope for scope, _ in wanted]
    rows = connection.execute(query, {"scopes": scopes, "names": [name for _, name in wanted]})
    found = {(row["scope"], row["event_name"]): _meter(row) for row in rows.mappings()}
    return {name: meter for name, meter in found.items() if name in wanted}


def _update(meter: Meter) -> sa.Update:
    return sa.update(meters).where(meters.c.id == meter.id)


def _change(connection: sa.Connection, statement: sa.Insert | sa.Update) -> Meter:
    return _meter(connection.execute(statement.returning(*_COLUMNS)).mappings().one())


def _claim_name(
    connection: sa.Connection, meter: Meter, statement: sa.Insert | sa.Update
) -> Meter | None:
    """Execute what makes `meter` active; None when the database says that its name is taken."""
    try:
        with connection.begin_nested():
            return _change(connection, statement)
    except IntegrityError:
        name = (meter.scope, meter.event_name)
        if not active_by_names(connection, [name]):
            raise
        return None


def _meter(row: sa.RowMapping) -> Meter:
    keys = row["dimension_keys"]
    values: dict[str, Any] = {
        **row,
        "dimension_keys": None if keys is None else tuple(keys),
        "active": row["status"] == "active",
    }
    del values["status"]
    return Meter(**values)
