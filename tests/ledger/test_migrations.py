import json
import subprocess
import sys

import pytest
import sqlalchemy as sa

from meterhouse.errors import StoreError
from meterhouse.ledger.engine import Ledger, open_ledger
from meterhouse.ledger.tables import journal_head, metadata


def describe(connection: sa.Connection) -> dict[str, list[str]]:
    """Tell all that the database knows of our tables, in an order of our own."""
    inspector = sa.inspect(connection)
    questions = (
        inspector.get_columns,
        lambda table: [inspector.get_pk_constraint(table)],
        inspector.get_foreign_keys,
        inspector.get_unique_constraints,
        inspector.get_check_constraints,
        inspector.get_indexes,
    )
    return {
        table: sorted(json.dumps(fact, default=str) for ask in questions for fact in ask(table))
        for table in inspector.get_table_names()
        if table in metadata.tables
    }


def test_the_migrations_from_zero_give_exactly_the_tables(ledger: Ledger, url: str) -> None:
    del url
    with ledger.write() as connection:
        migrated = describe(connection)
        for table in reversed(metadata.sorted_tables):
            table.drop(connection)
        metadata.create_all(connection)
        declared = describe(connection)
    assert set(migrated) == set(metadata.tables)
    assert migrated == declared


def test_the_journal_begins_at_position_one(ledger: Ledger, url: str) -> None:
    del url
    with ledger.read() as connection:
        assert connection.execute(sa.select(journal_head)).all() == [(1, 1)]


def test_opening_again_changes_nothing(ledger: Ledger, url: str) -> None:
    with ledger.write() as connection:
        connection.execute(sa.update(journal_head).values(next_position=7))
    with open_ledger(url) as again, again.read() as connection:
        assert connection.execute(sa.select(journal_head)).all() == [(1, 7)]


def test_a_ledger_of_a_newer_program_is_not_opened(ledger: Ledger, url: str) -> None:
    with ledger.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match=r"newer Meterhouse.*9999"):
        open_ledger(url)


def test_a_ledger_that_is_up_to_date_opens_without_alembic(ledger: Ledger, url: str) -> None:
    """Given the last step, when the ledger is opened, then the start is not made to wait."""
    del ledger
    opening = f"from meterhouse.ledger.engine import open_ledger; open_ledger({url!r}).close()"
    asking = "import sys; sys.exit('alembic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", f"{opening}; {asking}"], check=False)
    assert done.returncode == 0
