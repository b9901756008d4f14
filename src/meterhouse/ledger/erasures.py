"""Erasures: what is to be forgotten of a customer, and how far that is.

An erasure is put here in the transaction that deletes its customer, or that an operator has asked
for, and goes from step to step until it is complete; so it goes on after a restart. Each step may
be done again.
"""

from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from meterhouse.ledger.tables import erasures

Step = Literal["customer", "events", "slots", "files", "complete"]


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """One erasure, at the `step` that is to be done when `due_at` has come.

    Values under `payload_keys` go from the customer's events; `events` counts those that had some,
    and `events_erased_at` is the instant from which on none has. One that is `at_once` waits for
    nobody who has yet to hear of the customer, and `rewritten` tells that the ledger's file was
    written anew for it.
    """

    id: str
    scope: int
    customer: str
    created: int
    payload_keys: tuple[str, ...] = ()
    at_once: bool = False
    step: Step = "customer"
    due_at: int = 0
    events: int = 0
    events_erased_at: int | None = None
    rewritten: bool = False


_erasures = sa.select(*(erasures.c[name] for name in Erasure.__struct_fields__))
_due = (
    _erasures.where(erasures.c.step != "complete", erasures.c.due_at <= sa.bindparam("now"))
    .order_by(erasures.c.due_at, erasures.c.seq)
    .limit(1)
)
_expired = (
    sa.select(erasures.c.seq)
    .where(erasures.c.created < sa.bindparam("before"), erasures.c.step == "complete")
    .order_by(erasures.c.created)
    .limit(sa.bindparam("rows"))
)
_expire = sa.delete(erasures).where(erasures.c.seq.in_(_expired))


def put(connection: sa.Connection, erasure: Erasure) -> None:
    """Keep a new erasure."""
    connection.execute(sa.insert(erasures), msgspec.structs.asdict(erasure))


def save(connection: sa.Connection, erasure: Erasure) -> None:
    """Keep what has become of an erasure."""
    row = msgspec.structs.asdict(erasure)
    connection.execute(sa.update(erasures).where(erasures.c.id == erasure.id).values(row))


def find(connection: sa.Connection, scope: int, erasure_id: str) -> Erasure | None:
    """Return an erasure; None when `scope` has no such one, or has it no longer."""
    query = _erasures.where(erasures.c.scope == scope, erasures.c.id == erasure_id)
    return _first(connection, query)


def due(connection: sa.Connection, now: int) -> Erasure | None:
    """Return the erasure that has been due longest, of any scope."""
    return _first(connection, _due.params(now=now))


def erased(connection: sa.Connection, scope: int) -> int | None:
    """Count the erasures that have taken values from events of a scope; None while one does."""
    of_scope = erasures.c.scope == scope
    running = sa.select(erasures.c.seq).where(of_scope, erasures.c.step == "events").limit(1)
    if connection.execute(running).first() is not None:
        return None
    done = sa.select(sa.func.count()).where(of_scope, erasures.c.events_erased_at.is_not(None))
    number: int = connection.execute(done).scalar_one()
    return number


def expire(connection: sa.Connection, created_before: int, rows_max: int) -> int:
    """Delete up to `rows_max` of the complete ones from before an instant; return how many went."""
    return connection.execute(_expire, {"before": created_before, "rows": rows_max}).rowcount


def _first(connection: sa.Connection, query: sa.Select[Any]) -> Erasure | None:
    row = connection.execute(query).mappings().one_or_none()
    return Erasure(**{**row, "payload_keys": tuple(row["payload_keys"])}) if row else None
