"""How far time has come, as far as this installation knows: one row, from the first look on.

`processing.timekeeper` moves it while a server runs; `settle` is the operator's word.
"""

from typing import NamedTuple

import sqlalchemy as sa

from meterhouse.ledger import deliveries
from meterhouse.ledger.dialect import upsert
from meterhouse.ledger.tables import timekeeping

_COLUMNS = ("reached", "furthest", "doubted_ms")
_read = sa.select(*(timekeeping.c[name] for name in _COLUMNS))


class Timekeeping(NamedTuple):
    """The instant that time is known to have reached, and the furthest that ever was, in ms.

    `doubted_ms` tells for how long servers have run with a clock that is further on.
    """

    reached: int
    furthest: int
    doubted_ms: int


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
