import pytest

from meterhouse.metering.identifier import DIGEST_BYTES, Claims
from meterhouse.metering.model import Scope
from meterhouse.usage import block, schema
from meterhouse.usage.store import UsageStore
from tests.usage.samples import accepted, accepted_blocks, rejected, rejected_blocks, writer


@pytest.mark.parametrize(
    ("table", "partition", "order"),
    [
        (
            "events",
            "toYYYYMM(timestamp)",
            "account, livemode, meter, customer, timestamp, position",
        ),
        ("rejected_events", "toYYYYMM(received_at)", "account, livemode, received_at, position"),
        ("duplicate_events", "toYYYYMM(received_at)", "account, livemode, received_at, position"),
        ("identifiers", "day", "high"),
    ],
)
def test_how_a_table_is_kept(store: UsageStore, table: str, partition: str, order: str) -> None:
    [row] = (
        writer(store)
        .query(
            "SELECT engine, partition_key, sorting_key FROM system.tables"
            " WHERE database = currentDatabase() AND name = {table:String}",
            parameters={"table": table},
        )
        .result_rows
    )
    assert tuple(row) == ("MergeTree", partition, order)


def test_an_insert_is_flushed_to_disk(store: UsageStore) -> None:
    for table in ("events", "identifiers", "rejected_events"):
        statement = str(writer(store).command(f"SHOW CREATE TABLE {table}"))
        assert "fsync_after_insert = 1" in statement
        assert "fsync_part_directory = 1" in statement


def test_no_table_goes_by_the_clock_of_the_engine(store: UsageStore) -> None:
    statements = (
        writer(store)
        .query("SELECT create_table_query FROM system.tables WHERE database = currentDatabase()")
        .result_rows
    )
    assert len(statements) >= 6
    assert not [row[0] for row in statements if "TTL" in row[0]]


def test_creating_what_is_there_changes_nothing(store: UsageStore) -> None:
    before = writer(store).query("SELECT name, uuid FROM system.tables ORDER BY name").result_rows
    schema.create(writer(store))
    after = writer(store).query("SELECT name, uuid FROM system.tables ORDER BY name").result_rows
    assert after == before


def test_a_block_has_the_columns_of_its_table(store: UsageStore, scope: Scope) -> None:
    blocks = [
        *accepted_blocks([accepted(scope)], {scope.id: scope}),
        *rejected_blocks([rejected(scope, "no_meter")], {scope.id: scope}),
        *block.identifiers(Claims([bytes(DIGEST_BYTES)], [1], [1])),
    ]
    for one in blocks:
        rows = writer(store).query(f"DESCRIBE TABLE {one.destination}").result_rows
        assert set(block.read(one.body).schema.names) == {row[0] for row in rows}
