"""Holdups: what time cannot bring about of a subscription, an invoice or a credit grant, and why.

What a reader may rely on:

- A holdup is of what is due at one instant. Once that is done, or due no more, it is none.
- What is held up is tried again after a pause that doubles with each attempt; what lives by a test
  clock only when that is advanced again.
"""

from collections.abc import Collection
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.ledger.dialect import any_of, upsert
from meterhouse.ledger.tables import credit_grants, holdups, invoices, subscriptions

_ADVICE = {
    "amount_too_large": (
        "Cancel the events that are wrong, or cancel the subscription without `invoice_now`, which "
        "then does not bill them."
    ),
}
_REPORT = "The log of the server tells more. Please report it."


class Holdup(NamedTuple):
    """Why something that is `due` of an `object` does not happen: `code` and `message` tell.

    It has been tried so many times since an instant, and is tried again at another, None where
    nobody knows.
    """

    object: str
    due: int
    scope: int
    customer: str
    test_clock: str | None
    code: str | None
    message: str
    since: int
    attempts: int
    again_at: int | None

    @property
    def advice(self) -> str:
        """What whoever runs the server can do about it."""
        return _ADVICE.get(self.code or "", _REPORT)


_COLUMNS = Holdup._fields
_OBJECTS = (subscriptions, invoices, credit_grants)
_holdups = sa.select(*(holdups.c[name] for name in _COLUMNS))
_current = sa.or_(
    *(
        sa.exists().where(table.c.id == holdups.c.object, table.c.due == holdups.c.due)
        for table in _OBJECTS
    )
)
_of_objects = _holdups.where(any_of(holdups.c.object, "ids"), _current)


def hold_up(
    connection: sa.Connection, object_id: str, code: str | None, message: str, now: int
) -> Holdup | None:
    """Note that what is due of an object has failed; None where nothing is due of it by now."""
    of = sa.union_all(
        *(
            sa.select(table.c.due, table.c.scope, table.c.customer, table.c.test_clock).where(
                table.c.id == object_id, table.c.due.is_not(None)
            )
            for table in _OBJECTS
        )
    )
    row = connection.execute(of).first()
    if row is None:
        return None
    before = find(connection, object_id)
    attempts = 1 if before is None else before.attempts + 1
    wait = min(limits.INVOICE_RETRY_SECONDS * 2**attempts, limits.INVOICE_RETRY_SECONDS_MAX)
    held = Holdup(
        object=object_id,
        due=row.due,
        scope=row.scope,
        customer=row.customer,
        test_clock=row.test_clock,
        code=code,
        message=message,
        since=now if before is None else before.since,
        attempts=attempts,
        again_at=now + wait * 1000 if row.test_clock is None else None,
    )
    connection.execute(sa.delete(holdups).where(~_current))
    statement = upsert(connection.dialect.name, holdups, ("object",), (), _COLUMNS[1:])
    connection.execute(statement, held._asdict())
    return held


def find(connection: sa.Connection, object_id: str) -> Holdup | None:
    """Return what holds up an object; None where nothing does."""
    row = connection.execute(_holdups.where(holdups.c.object == object_id, _current)).first()
    return None if row is None else Holdup(*row)


def list_holdups(
    connection: sa.Connection, scope: int, rows: int, customer: str | None = None
) -> list[Holdup]:
    """Return up to `rows` of what is held up in a scope, or of one customer, the oldest first."""
    query = _holdups.where(holdups.c.scope == scope, _current)
    if customer is not None:
        query = query.where(holdups.c.customer == customer)
    query = query.order_by(holdups.c.since, holdups.c.object).limit(rows)
    return [Holdup(*row) for row in connection.execute(query)]


def count(connection: sa.Connection, scope: int) -> int:
    """Return how much is held up in a scope."""
    query = sa.select(sa.func.count()).select_from(holdups)
    found: int = connection.execute(query.where(holdups.c.scope == scope, _current)).scalar_one()
    return found


def of_objects(connection: sa.Connection, ids: Collection[str]) -> dict[str, Holdup]:
    """Return what holds up some objects, by their ids."""
    if not ids:
        return {}
    rows = connection.execute(_of_objects, {"ids": list(ids)})
    return {row.object: Holdup(*row) for row in rows}


def of_test_clock(connection: sa.Connection, clock_id: str) -> list[str]:
    """Return the ids of what has held up a test clock."""
    query = sa.select(holdups.c.object).where(holdups.c.test_clock == clock_id, _current)
    return list(connection.execute(query).scalars())


def forget(connection: sa.Connection, clock_id: str) -> None:
    """Forget what has held up a test clock, which is advanced again."""
    connection.execute(sa.delete(holdups).where(holdups.c.test_clock == clock_id))


def not_waiting(table: sa.Table, until: int | sa.BindParameter[int]) -> sa.ColumnElement[bool]:
    """Return the condition that what is due of a row of `table` may be tried at an instant."""
    return ~sa.exists().where(
        holdups.c.object == table.c.id,
        holdups.c.due == table.c.due,
        holdups.c.again_at > until,
    )
