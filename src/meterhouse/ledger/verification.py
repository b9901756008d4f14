"""The verification that one of several processes runs, as it tells the others of it: one row.

Whoever runs it says again and again how far it is; who has not done so for a while has ended.
"""

from typing import Any

import sqlalchemy as sa

from meterhouse.ledger import leases
from meterhouse.ledger.dialect import insert_missing
from meterhouse.ledger.tables import verification

_row = sa.select(verification)
_own = verification.c.node == sa.bindparam("own")
_RUNNING = "running"


def begin(connection: sa.Connection, node: str, state: dict[str, Any], seconds: float) -> bool:
    """Be the one that verifies; False while somebody else does."""
    first = {"id": 1, "node": "", "until": 0, "state": {}}
    connection.execute(insert_missing(connection.dialect.name, verification), first)
    row = connection.execute(_row.with_for_update()).one()
    if row.state.get("status") == _RUNNING and row.until > leases.now(connection):
        return False
    connection.execute(
        sa.update(verification).values(node=node, state=state, until=_until(connection, seconds))
    )
    return True


def tell(connection: sa.Connection, node: str, state: dict[str, Any], seconds: float) -> None:
    """Tell how far the verification of a node is, which says so again in so many seconds."""
    told = sa.update(verification).where(_own)
    told = told.values(state=state, until=_until(connection, seconds))
    connection.execute(told, {"own": node})


def read(connection: sa.Connection) -> tuple[dict[str, Any] | None, bool]:
    """Return what was told last, if anything, and whether who told it goes on or has finished."""
    row = connection.execute(_row).one_or_none()
    if row is None:
        return None, True
    return row.state, row.state["status"] != _RUNNING or row.until > leases.now(connection)


def _until(connection: sa.Connection, seconds: float) -> int:
    return leases.now(connection) + round(seconds * 1_000)
