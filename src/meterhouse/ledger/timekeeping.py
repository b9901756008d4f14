"""How far time has come, as far as this installation knows: one row, from the first look on.

`processing.timekeeper` moves it while a server runs; `settle` is the operator's word.
"""

from typing import NamedTuple

import sqlalchemy as sa

from meterhouse.ledger import deliveries, leases
from meterhouse.ledger.dialect import upsert
from meterhouse.ledger.tables import timekeeping

_COLUMNS = ("reached", "furthest", "doubted_ms")
_looked_at = sa.select(timekeeping.c.looked_at).with_for_update()
_read = sa.select(*(timekeeping.c[name] for name in _COLUMNS))


class Timekeeping(NamedTuple):
    """The instant that time is known to have reached, and the furthest that ever was, in ms.

    `doubted_ms` tells for how long servers have run with a clock that is further on.
    """

    reached: int
    furthest: int
    doubted_ms: int


def uncounted(connection: sa.Connection, passed: int) -> int:
    """Return how much of what has `passed` since the look of a process nobody has counted, in ms.

    Of several processes on PostgreSQL each counts what has passed, by the database's clock, since
    the look before, whose ever that was. The others wait for the transaction to end.
    """
    if connection.dialect.name == "sqlite":
        return passed
    looked_at: int | None = connection.execute(_looked_at).scalar_one_or_none()
    if looked_at is None:
        return passed
    now = leases.now(connection)
    connection.execute(sa.update(timekeeping).values(looked_at=now))
    return max(0, min(passed, now - looked_at))


def read(connection: sa.Connection) -> Timekeeping | None:
    """Return what is known; None before the first look at the clock."""
    row = connection.execute(_read).one_or_none()
    return None if row is None else Timekeeping(*row)


def write(connection: sa.Connection, known: Timekeeping) -> None:
    """Replace what is known."""
    statement = upsert(connection.dialect.name, timekeeping, ("id",), (), _COLUMNS)
    connection.execute(statement, {"id": 1, **known._asdict()})


def settle(connection: sa.Connection, now: int) -> None:
    """Take it that time has reached exactly `now`, on the operator's word.

    What a clock that was further on had put off becomes due.
    """
    before = read(connection)
    furthest = now if before is None else max(before.furthest, now)
    write(connection, Timekeeping(now, furthest, 0))
    deliveries.recall(connection, now)
