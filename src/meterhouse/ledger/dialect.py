"""The few places where SQLite and PostgreSQL want different words for the same thing.

Everything else in the ledger is one statement that both understand, but for the way to customers
by their terms, in `ledger.customer_terms`.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class _Values(sa.types.TypeDecorator[Sequence[Any]]):
    """One bound value that holds many: an array for PostgreSQL, a JSON array for SQLite."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, item: sa.types.TypeEngine[Any]) -> None:
        super().__init__()
        self.item = item

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name == "sqlite":
            return sa.Text()
        return postgresql.ARRAY(self.item)

    def process_bind_param(self, value: Sequence[Any] | None, dialect: sa.Dialect) -> Any:
        values = list(value or ())
        return msgspec.json.encode(values).decode() if dialect.name == "sqlite" else values


class any_of(FunctionElement[bool]):  # noqa: N801 - it is called like a function of SQL
    """True where `column` is one of the values bound to `name` when the statement is executed.

    The values are a sequence of whole numbers or of texts, of any length, in one bound value; so
    the statement is compiled once, and no database limits their number.
    """

    inherit_cache = True
    type = sa.Boolean()

    def __init__(self, column: sa.ColumnElement[Any], name: str) -> None:
        super().__init__(column, sa.bindparam(name, type_=_Values(column.type)))

    def self_group(self, against: Any = None) -> "any_of":  # noqa: ARG002 - SQLAlchemy's signature
        """Stand as it is: compared to true, as SQLite's booleans are, it would use no index."""
        return self


@compiles(any_of, "sqlite")
def _any_of_sqlite(element: any_of, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608 - compiled clauses


@compiles(any_of, "postgresql")
def _any_of_postgresql(element: any_of, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} = ANY({values})"


class member_of(FunctionElement[str]):  # noqa: N801 - it is called like a function of SQL
    """The text that a hash of texts, in a JSON column, has under a key; NULL where it has none.

    The key is bound as it is: it may have quotes, dots and brackets.
    """

    inherit_cache = True
    type = sa.Text()

    def __init__(self, column: sa.ColumnElement[Any], key: str) -> None:
        super().__init__(column, sa.literal(key, sa.Text()))


@compiles(member_of, "sqlite")
def _member_of_sqlite(element: member_of, compiler: SQLCompiler, **options: Any) -> str:
    column, key = (compiler.process(clause, **options) for clause in element.clauses)
    return f"(SELECT json_each.value FROM json_each({column}) WHERE json_each.key = {key})"  # noqa: S608 - compiled clauses


@compiles(member_of, "postgresql")
def _member_of_postgresql(element: member_of, compiler: SQLCompiler, **options: Any) -> str:
    column, key = (compiler.process(clause, **options) for clause in element.clauses)
    return f"({column} ->> {key})"


@lru_cache
def upsert(
    dialect: str,
    table: sa.Table,
    keys: tuple[str, ...],
    add: tuple[str, ...],
    replace: tuple[str, ...] = (),
    highest: tuple[str, ...] = (),
) -> sa.Insert:
    """Return an INSERT of a row that changes the row with the same `keys` where there is one.

    That row's columns `add` are added to, its columns `replace` get the new values, and its columns
    `highest` get them where they are higher. `dialect` is the name of the connection's. Execute it
    with a value for each of these columns.
    """
    insert = (sqlite if dialect == "sqlite" else postgresql).insert(table)
    statement = insert.values(
        {name: sa.bindparam(name) for name in (*keys, *add, *replace, *highest)}
    )
    changes = {name: table.c[name] + statement.excluded[name] for name in add}
    changes |= {name: statement.excluded[name] for name in replace}
    for name in highest:
        new, old = statement.excluded[name], table.c[name]
        changes[name] = sa.case((new > old, new), else_=old)
    changed: sa.Insert = statement.on_conflict_do_update(index_elements=keys, set_=changes)
    return changed


@lru_cache
def insert_missing(dialect: str, table: sa.Table) -> sa.Insert:
    """Return an INSERT of a whole row, which does nothing where there is one of the same key."""
    insert = (sqlite if dialect == "sqlite" else postgresql).insert(table)
    statement: sa.Insert = insert.on_conflict_do_nothing()
    return statement


def as_json(value: Any) -> str:
    """Return the text of a document, as columns of JSON have it."""
    return msgspec.json.encode(value).decode()


def insert_rows(
    connection: sa.Connection,
    table: sa.Table,
    columns: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
) -> None:
    """Insert `rows`, each with a value for each of `columns`, as fast as the driver can.

    Values go to the driver as they are: whole numbers, texts, bytes, booleans and None. JSON is the
    text of a document.
    """
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        statement = _insert_statement(table, columns, connection.dialect)
        connection.exec_driver_sql(statement, list(rows))
    else:
        _copy(connection, table, columns, rows)


def _copy(
    connection: sa.Connection,
    table: sa.Table,
    columns: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
) -> None:
    """Insert by COPY in the binary format, which takes a third of the time of an INSERT.

    SQLAlchemy knows nothing of COPY, so an error of the driver is made one of SQLAlchemy's here.
    """
    statement, types = _copy_statement(table, columns, connection.dialect)
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)
    except connection.dialect.loaded_dbapi.Error as error:
        raise exc.DBAPIError.instance(
            statement, None, error, connection.dialect.loaded_dbapi.Error, hide_parameters=True
        ) from error


def insert_and_return(
    connection: sa.Connection,
    table: sa.Table,
    columns: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
) -> list[tuple[Any, ...]]:
    """Insert those of `rows`, one after the other, whose keys are not there; return them.

    A key that somebody else has inserted and not committed is waited for.
    """
    if not rows:
        return []
    if connection.dialect.name == "sqlite":
        names = ", ".join(columns)
        marks = ", ".join("?" * len(columns))
        statement = f"INSERT INTO {table.name} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608 - names of tables
        return [row for row in rows if connection.exec_driver_sql(statement, row).rowcount]
    statement = _insert_arrays(table, columns, connection.dialect)
    arrays = tuple(map(list, zip(*rows, strict=True)))
    return [tuple(row) for row in connection.exec_driver_sql(statement, arrays)]


def insert_at_once(
    connection: sa.Connection,
    table: sa.Table,
    columns: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
) -> None:
    """Insert thousands of rows of whole numbers and texts without stopping the other threads.

    SQLite's driver takes the interpreter lock for every row that it is given; here it is given one
    value that holds them all.
    """
    if connection.dialect.name != "sqlite":
        insert_rows(connection, table, columns, rows)
    elif rows:
        names = ", ".join(columns)
        values = ", ".join(f"value ->> {index}" for index in range(len(columns)))
        connection.exec_driver_sql(
            f"INSERT INTO {table.name} ({names}) SELECT {values} FROM json_each(?)",  # noqa: S608 - names of tables
            (msgspec.json.encode(rows).decode(),),
        )


@lru_cache(maxsize=100)
def _insert_statement(table: sa.Table, columns: tuple[str, ...], dialect: sa.Dialect) -> str:
    values = ", ".join("?" * len(columns))
    return f"INSERT INTO {_named(table, columns, dialect)} VALUES ({values})"  # noqa: S608 - names of tables


@lru_cache(maxsize=100)
def _copy_statement(
    table: sa.Table, columns: tuple[str, ...], dialect: sa.Dialect
) -> tuple[str, list[str]]:
    types = [_sent_as(table.c[column].type, dialect) for column in columns]
    return f"COPY {_named(table, columns, dialect)} FROM STDIN (FORMAT BINARY)", types


@lru_cache(maxsize=100)
def _insert_arrays(table: sa.Table, columns: tuple[str, ...], dialect: sa.Dialect) -> str:
    arrays = ", ".join(f"%s::{table.c[column].type.compile(dialect)}[]" for column in columns)
    names = ", ".join(columns)
    return (
        f"INSERT INTO {_named(table, columns, dialect)} SELECT * FROM unnest({arrays})"  # noqa: S608 - names of tables
        f" ON CONFLICT DO NOTHING RETURNING {names}"
    )


def _sent_as(type_: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> str:
    """Name the type that the driver packs a value as; it would make a document of JSON's text."""
    if isinstance(type_, sa.JSON):
        return "text"
    return type_.compile(dialect).partition("(")[0].lower()


def _named(table: sa.Table, columns: tuple[str, ...], dialect: sa.Dialect) -> str:
    quote = dialect.identifier_preparer.quote
    return f"{quote(table.name)} ({', '.join(quote(column) for column in columns)})"
