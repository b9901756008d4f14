"""Resends: which rejected events are sent again, and how far that is.

A resend goes through the positions from `next_position` up to `end_position`, chunk by chunk. What
it has done is kept here, so that it goes on after a restart.
"""

from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from meterhouse.ledger.tables import erasures, resends
from meterhouse.metering.resend import Plan


class Resend(msgspec.Struct, frozen=True, kw_only=True):
    """One resend; `dry_run` tells that nothing is sent, only judged.

    `matched` is None until the events are counted. `sent_at` is the instant at which the events of
    the chunk that is on its way are received, None where none is. `codes` counts rejections.
    """

    id: str
    scope: int
    plan: Plan
    dry_run: bool
    created: int
    end_position: int
    next_position: int = 0
    sent_at: int | None = None
    status: Literal["complete", "running"] = "running"
    matched: int | None = None
    accepted: int = 0
    duplicate: int = 0
    codes: dict[str, int] = {}


_COLUMNS = tuple(resends.c[name] for name in Resend.__struct_fields__)
_resends = sa.select(*_COLUMNS)
_whole = ~sa.exists().where(erasures.c.scope == resends.c.scope, erasures.c.step == "events")
_expired = (
    sa.select(resends.c.seq)
    .where(resends.c.created < sa.bindparam("before"))
    .order_by(resends.c.created)
    .limit(sa.bindparam("rows"))
)
_expire = sa.delete(resends).where(resends.c.seq.in_(_expired))


def put(connection: sa.Connection, resend: Resend) -> None:
    """Keep a new resend."""
    connection.execute(sa.insert(resends), _row(resend))


def save(connection: sa.Connection, resend: Resend) -> None:
    """Keep what has become of a resend."""
    connection.execute(sa.update(resends).where(resends.c.id == resend.id).values(_row(resend)))


def find(connection: sa.Connection, scope: int, resend_id: str) -> Resend | None:
    """Return a resend; None when `scope` has no such one, or has it no longer."""
    query = _resends.where(resends.c.scope == scope, resends.c.id == resend_id)
    row = connection.execute(query).mappings().one_or_none()
    return _resend(row) if row else None


def oldest_running(connection: sa.Connection) -> Resend | None:
    """Return the resend that has run longest, of any scope whose events lose no values now."""
    query = _resends.where(resends.c.status == "running", _whole).order_by(resends.c.seq).limit(1)
    row = connection.execute(query).mappings().one_or_none()
    return _resend(row) if row else None


def expire(connection: sa.Connection, created_before: int, rows_max: int) -> int:
    """Delete up to `rows_max` of the resends from before an instant; return how many went."""
    return connection.execute(_expire, {"before": created_before, "rows": rows_max}).rowcount


def _row(resend: Resend) -> dict[str, Any]:
    return msgspec.structs.asdict(resend) | {"plan": msgspec.to_builtins(resend.plan)}


def _resend(row: sa.RowMapping) -> Resend:
    return Resend(**{**row, "plan": msgspec.convert(row["plan"], Plan)})
