import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from meterhouse.ledger.accounts import create_account
from meterhouse.ledger.dialect import any_of, insert_rows, upsert
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.tables import blocks, customers, idempotency_records, tallies

COLUMNS = ("seq", "token", "partition", "destination", "rows", "body")
NAMES = ["plain", "it's", 'a "quoted" \\ one', "100 %s of ?", "naïve 🎛️", "null", "12"]


def put(ledger: Ledger, texts: list[str]) -> None:
    rows = [(number, text, 0, "events", 1, b"") for number, text in enumerate(texts, 1)]
    with ledger.write() as connection:
        insert_rows(connection, blocks, COLUMNS, rows)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ([], []),
        (["plain"], [1]),
        (NAMES, [1, 2, 3, 4, 5, 6, 7]),
        (["plain", "plain", "absent"], [1]),
        ([f"absent {number}" for number in range(50_000)] + ["12"], [7]),
    ],
    ids=["none", "one", "all", "twice", "many"],
)
def test_any_of_finds_texts(ledger: Ledger, wanted: list[str], found: list[int]) -> None:
    put(ledger, NAMES)
    query = sa.select(blocks.c.seq).where(any_of(blocks.c.token, "wanted"))
    with ledger.read() as connection:
        rows = connection.execute(query.order_by(blocks.c.seq), {"wanted": wanted})
        assert list(rows.scalars()) == found


def test_any_of_finds_whole_numbers_and_deletes(ledger: Ledger) -> None:
    put(ledger, NAMES)
    delete = sa.delete(blocks).where(any_of(blocks.c.seq, "numbers"))
    with ledger.write() as connection:
        connection.execute(delete, {"numbers": [2, 3, 2**63 - 1]})
        left = connection.execute(sa.select(blocks.c.seq).order_by("seq"))
        assert list(left.scalars()) == [1, 4, 5, 6, 7]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("column", [blocks.c.seq, customers.c.id], ids=str)
def test_any_of_uses_the_index_of_its_column(ledger: Ledger, column: sa.Column[object]) -> None:
    query = sa.select(column.table).where(any_of(column, "wanted"))
    with ledger.read() as connection:
        statement = str(query.compile(dialect=connection.dialect))
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", ("[1, 2]",))
        assert next(step.detail for step in plan).startswith(f"SEARCH {column.table} USING")


def test_insert_rows_takes_every_plain_value(ledger: Ledger) -> None:
    columns = (
        "seq",
        "scope",
        "api",
        "key",
        "fingerprint",
        "request",
        "status",
        "body",
        "expires_at",
    )
    rows = [
        (1, 1, "v1", "key'\"%s?", b"\x00\xff", "req_1", 200, b"{}", 2**62),
        (2, 1, "v2", "naïve 🎛️", b"", "req_2", 400, b"\x00", -1),
    ]
    with ledger.write() as connection:
        insert_rows(connection, idempotency_records, columns, rows)
        table = idempotency_records
        stored = connection.execute(sa.select(*(table.c[name] for name in columns)))
        assert [tuple(row) for row in stored] == rows


def test_insert_rows_of_nothing_does_nothing(ledger: Ledger) -> None:
    put(ledger, [])
    with ledger.read() as connection:
        assert connection.execute(sa.select(blocks)).all() == []


def test_insert_rows_refuses_all_when_one_breaks_a_constraint(ledger: Ledger) -> None:
    with pytest.raises(IntegrityError):
        put(ledger, ["same", "other", "same"])
    with ledger.read() as connection:
        assert connection.execute(sa.select(blocks)).all() == []


def test_upsert_inserts_and_then_adds(ledger: Ledger) -> None:
    with ledger.write() as connection:
        create_account(connection, None, now=1)
        for scope, events in ((1, 5), (2, 1), (1, 7)):
            values = {
                "scope": scope,
                "outcome": "accepted",
                "code": "",
                "stripe": 0,
                "events": events,
            }
            keys = ("scope", "outcome", "code", "stripe")
            connection.execute(upsert(connection.dialect.name, tallies, keys, ("events",)), values)
        rows = connection.execute(
            sa.select(tallies.c.scope, tallies.c.events).order_by(tallies.c.scope)
        )
        assert rows.all() == [(1, 12), (2, 1)]
