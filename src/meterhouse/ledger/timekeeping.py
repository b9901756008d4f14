"""How far time has come, as far as this installation knows: one row, from the first look on.

`processing.timekeeper` moves it while a server runs; `settle` is the operator's word. The row also
tells when the last look was, so that the next one knows how much time has passed.
"""

from typing import NamedTuple

import sqlalchemy as sa

from meterhouse.clock import Uptime
from meterhouse.ledger import deliveries, leases
from meterhouse.ledger.dialect import upsert
from meterhouse.ledger.tables import timekeeping

_KNOWN = ("reached", "furthest", "doubted_ms", "jumped")
_LOOKED = ("looked_at", "boot", "uptime_ms")
_last_look = sa.select(*(timekeeping.c[name] for name in _LOOKED)).with_for_update()
_read = sa.select(*(timekeeping.c[name] for name in _KNOWN))


class Timekeeping(NamedTuple):
    """The instant that time is known to have reached, and the furthest that ever was, in ms.

    `doubted_ms` tells for how long servers have run with a clock that is further on, and `jumped`
    whether that clock is known to have moved without time passing.
    """

    reached: int
    furthest: int
    doubted_ms: int = 0
    jumped: bool = False


def since_look(connection: sa.Connection, uptime: Uptime, own: int | None) -> int | None:
    """Return how long ago the last look was, whose ever that was, in ms; None if nobody can tell.

    It is told by the `uptime` of this machine, where that was the one which looked and has not
    booted since; by `own`, how long ago this process itself has looked, if it has; and by the
    database's clock, which on SQLite is no other. The least of these is sure to have passed. The
    others wait for the transaction to end.
    """
    last = connection.execute(_last_look).one_or_none()
    if last is None:
        return 0
    told = [] if own is None else [own]
    if uptime.boot and uptime.boot == last.boot:
        told.append(uptime.milliseconds - last.uptime_ms)
    if connection.dialect.name != "sqlite":
        told.append(leases.now(connection) - last.looked_at)
    return max(0, min(told)) if told else None


def read(connection: sa.Connection) -> Timekeeping | None:
    """Return what is known; None before the first look at the clock."""
    row = connection.execute(_read).one_or_none()
    return None if row is None else Timekeeping(*row)


def write(connection: sa.Connection, known: Timekeeping, uptime: Uptime) -> None:
    """Replace what is known, by a look that is made now."""
    statement = upsert(connection.dialect.name, timekeeping, ("id",), (), (*_KNOWN, *_LOOKED))
    looked = (leases.now(connection), uptime.boot, uptime.milliseconds)
    row = {**known._asdict(), **dict(zip(_LOOKED, looked, strict=True))}
    connection.execute(statement, {"id": 1, **row})


def settle(connection: sa.Connection, now: int, uptime: Uptime) -> None:
    """Take it that time has reached exactly `now`, on the operator's word.

    What a clock that was further on had put off becomes due.
    """
    before = read(connection)
    furthest = now if before is None else max(before.furthest, now)
    write(connection, Timekeeping(now, furthest), uptime)
    deliveries.recall(connection, now)
