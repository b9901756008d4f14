"""Advisory locks of PostgreSQL, for what no row stands for; on SQLite one at a time writes anyway.

A lock ends with its transaction. The schema tells the ledgers of one database apart.
"""

from enum import IntEnum

import sqlalchemy as sa


class Lock(IntEnum):
    """What there is a lock for; any numbers will do, as long as nobody else locks them."""

    OWNER = 1_465_404_231
    JOURNAL = 1_465_404_232
    OUTBOX = 1_465_404_233
    PAIR = 1_465_404_234
    START = 1_465_404_235
    CATALOG = 1_465_404_236


_KEY = "({}, quote_ident(current_schema())::regnamespace::oid::int)"


def key_of(lock: Lock) -> str:
    """Return the arguments of a function of PostgreSQL that locks."""
    return _KEY.format(lock.value)


def hold(connection: sa.Connection, lock: Lock) -> None:
    """Have a lock alone until the transaction ends, once nobody else has it."""
    _take(connection, f"pg_advisory_xact_lock{key_of(lock)}")


def share(connection: sa.Connection, lock: Lock) -> None:
    """Have a lock beside others who share it until the transaction ends."""
    _take(connection, f"pg_advisory_xact_lock_shared{key_of(lock)}")


def _take(connection: sa.Connection, call: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT {call}")
