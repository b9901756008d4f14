"""A ledger's rows in another one, whichever databases the two are on.

What a reader may rely on:

- It goes by the tables as `ledger.tables` has them, parents before their children, and by the types
  of their columns; what a database makes of rows by itself, as terms of customers, it makes anew.
- Everything happens in the two transactions that it is given: the source is seen as of one moment,
  and the target has all of it or nothing.
- What the one ledger does with its usage store stays behind (`_ITS_OWN`): who owns it, and how far
  its journal is. So the source's journal must be empty, and its blocks stored.
- No number that the source has ever given to a row or an event is given again by the target.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from meterhouse.errors import StoreError
from meterhouse.ledger import blocks, identity, journal
from meterhouse.ledger.dialect import insert_rows
from meterhouse.ledger.engine import unbound
from meterhouse.ledger.tables import audit_log, metadata
from meterhouse.limits import MOVE_LEDGER_ROWS

_ITS_OWN = (
    *("blocks", "journal", "journal_head", "owner"),
    *("leases", "nodes", "partitions", "recent_claims", "verification"),
)
_LAST_OF_SEQUENCE = (
    "SELECT pg_sequence_last_value(pg_get_serial_sequence(:table, :column)::regclass)"
)
_GO_ON_AFTER = "SELECT setval(pg_get_serial_sequence(:table, :column), :last)"
_LAST_KEPT = "SELECT seq FROM sqlite_sequence WHERE name = :table"
_FORGET_LAST = "DELETE FROM sqlite_sequence WHERE name = :table"
_KEEP_LAST = "INSERT INTO sqlite_sequence (name, seq) VALUES (:table, :last)"
_STRIPE = "stripe"  # of counts that several processes keep beside each other

Told = Callable[[int, int], None]  # how many rows are done, and of how many


def unfinished(source: sa.Connection) -> bool:
    """Tell whether anything is acknowledged and not judged, or judged and not known to be stored.

    It is not copied, so nothing may be left.
    """
    return bool(journal.first_position(source) is not None or blocks.read(source))


def is_new(connection: sa.Connection) -> bool:
    """Tell whether nobody has ever served a ledger, nor written a user or a key into it."""
    written = connection.execute(sa.select(sa.exists(sa.select(audit_log)))).scalar_one()
    return identity.read(connection).awaited == "" and not written


def copy(source: sa.Connection, target: sa.Connection, told: Told) -> None:
    """Put the rows of a ledger in place of those of another one, which is new or such a copy."""
    for connection in (source, target):
        unbound(connection)
    tables = [table for table in metadata.sorted_tables if table.name not in _ITS_OWN]
    for table in reversed(tables):
        target.execute(sa.delete(table))
    counts = {table: _count(source, table) for table in tables}
    done, total = 0, sum(counts.values())
    for table in tables:
        columns = tuple(table.c.keys())
        copied = 0
        for rows in _read(source, table):
            insert_rows(target, table, columns, rows)
            copied += len(rows)
            told(done + copied, total)
        if _count(target, table) != copied:
            raise StoreError(f"Of {copied} rows of {table.name} some have not come through.")
        done += counts[table]
        _go_on_numbering(source, target, table)
    journal.give_out_after(target, journal.last_position(source))


def _count(connection: sa.Connection, table: sa.Table) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def _read(source: sa.Connection, table: sa.Table) -> Iterator[Sequence[tuple[Any, ...]]]:
    """Yield the rows of a table some at a time, those first that others may be children of."""
    select = (_folded if _STRIPE in table.c else _select)(table)
    options = {"yield_per": MOVE_LEDGER_ROWS}
    with source.execute(select, execution_options=options) as result:
        for rows in result.partitions():
            yield [tuple(row) for row in rows]


def _select(table: sa.Table) -> sa.Select[Any]:
    """Read every row as the driver takes it; JSON is the same text on both sides."""
    columns = (
        sa.cast(column, sa.Text) if isinstance(column.type, sa.JSON) else column
        for column in table.c
    )
    return sa.select(*columns).order_by(*table.primary_key)


def _folded(table: sa.Table) -> sa.Select[Any]:
    """Add up the counts that processes keep beside each other; whoever comes may keep new ones."""
    keys = [column for column in table.primary_key if column.name != _STRIPE]
    added = {
        column.name: sa.cast(sa.func.sum(column), sa.BigInteger)
        for column in table.c
        if not column.primary_key
    }
    told = {column.name: column for column in keys} | added | {_STRIPE: sa.literal(0)}
    return sa.select(*(told[column.name].label(column.name) for column in table.c)).group_by(*keys)


def _go_on_numbering(source: sa.Connection, target: sa.Connection, table: sa.Table) -> None:
    """Let the target number the rows of a table from where the source would go on."""
    [column, *others] = table.primary_key
    if others or not isinstance(column.type, sa.Integer):
        return
    last = _last_given(source, table, column)
    names: dict[str, Any] = {"table": table.name, "column": column.name}
    if last and target.dialect.name == "postgresql":
        target.execute(sa.text(_GO_ON_AFTER), names | {"last": last})
    elif last and _never_again(table):
        target.execute(sa.text(_FORGET_LAST), names)
        target.execute(sa.text(_KEEP_LAST), names | {"last": last})


def _last_given(connection: sa.Connection, table: sa.Table, column: sa.Column[Any]) -> int:
    """Return the highest number that a row was ever given, as far as the database keeps it."""
    highest = connection.execute(sa.select(sa.func.max(column))).scalar() or 0
    names = {"table": table.name, "column": column.name}
    if connection.dialect.name == "postgresql":
        given = connection.execute(sa.text(_LAST_OF_SEQUENCE), names).scalar() or 0
    elif _never_again(table):
        given = connection.execute(sa.text(_LAST_KEPT), names).scalar() or 0
    else:
        given = 0
    return max(highest, given)


def _never_again(table: sa.Table) -> bool:
    """Tell whether SQLite keeps the last number, so that it never gives one again."""
    return bool(table.dialect_options["sqlite"]["autoincrement"])
