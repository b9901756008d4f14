"""Which identifiers are taken, and which acknowledged event took each.

A claim is a row: the identifier, its scope, and the position of the event that claimed it. A claim
older than the deduplication window holds no longer; it may still lie here until `expire` comes by.
Rows are numbered by position, so the oldest claims are the first rows and go cheaply.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse.ledger.dialect import any_of, insert_rows
from meterhouse.ledger.tables import identifiers


class Claim(NamedTuple):
    """Who took an identifier: the event's position and when it was received."""

    position: int
    received_at: int


_COLUMNS = ("position", "scope", "identifier", "received_at")

_find = sa.select(
    identifiers.c.identifier, identifiers.c.position, identifiers.c.received_at
).where(
    identifiers.c.scope == sa.bindparam("scope"), any_of(identifiers.c.identifier, "identifiers")
)
_oldest = (
    sa.select(identifiers.c.position, identifiers.c.received_at)
    .order_by(identifiers.c.position)
    .limit(sa.bindparam("rows"))
)


def find(connection: sa.Connection, scope: int, wanted: Iterable[str]) -> dict[str, Claim]:
    """Return the claims on those of the `wanted` identifiers that are taken in `scope`."""
    rows = connection.execute(_find, {"scope": scope, "identifiers": list(wanted)})
    return {row[0]: Claim(row[1], row[2]) for row in rows}


def claim(connection: sa.Connection, rows: Sequence[tuple[int, int, str, int]]) -> None:
    """Record claims: (position, scope, identifier, received_at), each not taken before."""
    insert_rows(connection, identifiers, _COLUMNS, rows)


def release(connection: sa.Connection, positions: Iterable[int]) -> None:
    """Delete the claims of the events at `positions`."""
    connection.execute(
        sa.delete(identifiers).where(any_of(identifiers.c.position, "positions")),
        {"positions": list(positions)},
    )


def expire(connection: sa.Connection, received_before: int, rows_max: int) -> int:
    """Delete up to `rows_max` of the oldest claims from before an instant; return how many went."""
    oldest = connection.execute(_oldest, {"rows": rows_max}).all()
    last = None
    gone = 0
    for position, received_at in oldest:
        if received_at >= received_before:
            break
        last, gone = position, gone + 1
    if last is not None:
        connection.execute(sa.delete(identifiers).where(identifiers.c.position <= last))
    return gone
