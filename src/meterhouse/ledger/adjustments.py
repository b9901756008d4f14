"""Cancellations that were asked for: at most one for an event, pending until it is applied."""

from collections.abc import Iterable

import msgspec
import sqlalchemy as sa

from meterhouse.ledger.dialect import any_of
from meterhouse.ledger.tables import adjustments


class Adjustment(msgspec.Struct, frozen=True):
    """A cancellation of the event with `identifier`, which stands at `position`."""

    id: str
    scope: int
    identifier: str
    event_name: str
    position: int
    status: str
    created: int


_COLUMNS = tuple(adjustments.c[name] for name in Adjustment.__struct_fields__)

_by_positions = sa.select(*_COLUMNS).where(any_of(adjustments.c.position, "positions"))


def find(connection: sa.Connection, scope: int, position: int) -> Adjustment | None:
    """Return the cancellation of the event at `position`, if there is one."""
    row = connection.execute(
        sa.select(*_COLUMNS).where(adjustments.c.scope == scope, adjustments.c.position == position)
    ).one_or_none()
    return Adjustment(*row) if row else None


def by_positions(connection: sa.Connection, positions: Iterable[int]) -> dict[int, Adjustment]:
    """Return the cancellations of the events at these positions."""
    rows = connection.execute(_by_positions, {"positions": list(positions)})
    return {adjustment.position: adjustment for adjustment in (Adjustment(*row) for row in rows)}


def put(connection: sa.Connection, adjustment: Adjustment) -> None:
    """Record a new cancellation."""
    connection.execute(sa.insert(adjustments), msgspec.structs.asdict(adjustment))


def complete(connection: sa.Connection, ids: Iterable[str]) -> None:
    """Mark cancellations as applied."""
    connection.execute(
        sa.update(adjustments).where(any_of(adjustments.c.id, "ids")).values(status="complete"),
        {"ids": list(ids)},
    )


def complete_by_scope(connection: sa.Connection) -> dict[int, int]:
    """Count the cancellations that were applied, for each scope."""
    query = (
        sa.select(adjustments.c.scope, sa.func.count())
        .where(adjustments.c.status == "complete")
        .group_by(adjustments.c.scope)
    )
    return {row[0]: row[1] for row in connection.execute(query)}
