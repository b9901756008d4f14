"""Changes of the dimensions of meters, and how far the slots of each are rebuilt.

A change makes a new version of a meter's dimensions. It is running until the meter switches to
that version, in the transaction that completes the change; of one meter at most one is running.
"""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from meterhouse.ledger.tables import (
    dimension_changes,
    dimension_combinations,
    meters,
    rebuilt_months,
)


class DimensionChange(msgspec.Struct, frozen=True, kw_only=True):
    """One change; `keys` are what the meter declares after it.

    `events_total` counts the meter's events, None until that is known. `cleared` tells that nothing
    is left of the versions before.
    """

    scope: int
    meter: str
    version: int
    keys: tuple[str, ...] | None
    created: int
    seq: int = 0
    status: Literal["complete", "running"] = "running"
    events_total: int | None = None
    completed_at: int | None = None
    cleared: bool = False


class RebuiltMonth(msgspec.Struct, frozen=True):
    """A month that has slots: of its `events`, all up to `position`.

    One that was `begun` and is not known to be finished may have some of them, and more.
    """

    month: int
    position: int
    events: int
    begun: bool


_COLUMNS = tuple(dimension_changes.c[name] for name in DimensionChange.__struct_fields__)
_changes = sa.select(*_COLUMNS)
_combinations = dimension_combinations.c
_former = (
    sa.select(_combinations.version, _combinations.customer, _combinations.digest)
    .where(
        _combinations.meter == sa.bindparam("of_meter"),
        _combinations.version < sa.bindparam("before"),
    )
    .limit(sa.bindparam("rows"))
)
_forget = sa.delete(dimension_combinations).where(
    _combinations.meter == sa.bindparam("of_meter"),
    sa.tuple_(_combinations.version, _combinations.customer, _combinations.digest).in_(_former),
)


def begin(connection: sa.Connection, change: DimensionChange) -> None:
    """Keep a new change of a meter that has none running."""
    row = msgspec.structs.asdict(change)
    del row["seq"]
    connection.execute(sa.insert(dimension_changes), row)


def newest(connection: sa.Connection, meter: str) -> DimensionChange | None:
    """Return the last change of a meter (its id), None if it never had one."""
    query = _changes.where(dimension_changes.c.meter == meter)
    return _first(connection, query.order_by(dimension_changes.c.seq.desc()))


def oldest_running(connection: sa.Connection) -> DimensionChange | None:
    """Return the change that has run longest, of any meter."""
    query = _changes.where(dimension_changes.c.status == "running")
    return _first(connection, query.order_by(dimension_changes.c.seq))


def oldest_uncleared(connection: sa.Connection) -> DimensionChange | None:
    """Return the change that was completed first and left something behind."""
    query = _changes.where(
        dimension_changes.c.status == "complete", sa.not_(dimension_changes.c.cleared)
    )
    return _first(connection, query.order_by(dimension_changes.c.completed_at))


def count_events(connection: sa.Connection, change: DimensionChange, events: int) -> None:
    """Note how many events the meter has."""
    connection.execute(_update(change).values(events_total=events))


def months(connection: sa.Connection, change: DimensionChange) -> list[RebuiltMonth]:
    """Return the months that have slots."""
    columns = [rebuilt_months.c[name] for name in RebuiltMonth.__struct_fields__]
    query = sa.select(*columns).where(rebuilt_months.c.change == change.seq)
    return [RebuiltMonth(*row) for row in connection.execute(query)]


def save_months(
    connection: sa.Connection, change: DimensionChange, some: Iterable[RebuiltMonth]
) -> None:
    """Note what months have become."""
    for one in some:
        same = _months_of(change).where(rebuilt_months.c.month == one.month)
        connection.execute(same)
        row = msgspec.structs.asdict(one) | {"change": change.seq}
        connection.execute(sa.insert(rebuilt_months), row)


def renew(connection: sa.Connection, change: DimensionChange) -> DimensionChange:
    """Let a change make another version, of which there is nothing yet."""
    renewed = msgspec.structs.replace(change, version=change.version + 1)
    connection.execute(_months_of(change))
    connection.execute(_update(change).values(version=renewed.version))
    return renewed


def complete(connection: sa.Connection, change: DimensionChange, now: int) -> None:
    """Let the meter switch to the version of a change, whose slots are all there."""
    connection.execute(_months_of(change))
    connection.execute(_update(change).values(status="complete", completed_at=now))
    connection.execute(
        sa.update(meters)
        .where(meters.c.id == change.meter)
        .values(dimension_keys=change.keys, dimension_version=change.version, updated=now)
    )


def forget_combinations(connection: sa.Connection, change: DimensionChange, rows_max: int) -> int:
    """Delete up to `rows_max` combinations of former versions; return how many went."""
    values = {"of_meter": change.meter, "before": change.version, "rows": rows_max}
    return connection.execute(_forget, values).rowcount


def clear(connection: sa.Connection, change: DimensionChange) -> None:
    """Note that nothing is left of the versions before a change."""
    connection.execute(_update(change).values(cleared=True))


def _months_of(change: DimensionChange) -> sa.Delete:
    return sa.delete(rebuilt_months).where(rebuilt_months.c.change == change.seq)


def _update(change: DimensionChange) -> sa.Update:
    return sa.update(dimension_changes).where(dimension_changes.c.seq == change.seq)


def _first(connection: sa.Connection, query: sa.Select[Any]) -> DimensionChange | None:
    row = connection.execute(query.limit(1)).mappings().one_or_none()
    if row is None:
        return None
    keys = row["keys"]
    return DimensionChange(**{**row, "keys": None if keys is None else tuple(keys)})
