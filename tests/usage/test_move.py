"""One store's rows in another one; both are databases of the double of a ClickHouse server."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from meterhouse.errors import StoreError
from meterhouse.metering.model import Scope
from meterhouse.usage import move, request_logs
from meterhouse.usage.request_logs import RequestLog
from meterhouse.usage.store import UsageStore
from tests.clickhouse import Double
from tests.clickhouse_cluster import clickhouse_cluster
from tests.metering.samples import meter
from tests.usage.samples import (
    accepted,
    accepted_blocks,
    cancelled_blocks,
    event_rows,
    insert,
    next_token,
    rejected,
    rejected_blocks,
    slot_blocks,
    stored,
    writer,
)

DAY = 86_400_000
LOG = RequestLog("acct_1", True, 5 * DAY, "req_1", "GET", "/", 200, 1, "v", "::1", "")


@pytest.fixture
def source(clickhouse_server: Double, scope: Scope) -> Iterator[UsageStore]:
    """Yield a store that has rows in every table, of two months where it is partitioned by them."""
    with closing(UsageStore.open(clickhouse_server.empty())) as opened:
        scopes, meters = {scope.id: scope}, {"mtr_1": meter(id="mtr_1")}
        for batch in range(2):
            rows = [
                accepted(
                    scope,
                    "0.5",
                    customer=f"cus_{day}",
                    timestamp=(40 * batch + day) * DAY,
                    identifier=f"{batch}",
                )
                for day in range(3)
            ]
            insert(opened, accepted_blocks(rows, scopes))
            insert(opened, cancelled_blocks([stored(rows[0], scope)]))
            insert(opened, accepted_blocks(rows[1:], scopes, "duplicate_events"))
            insert(opened, rejected_blocks([rejected(scope, "no_meter")], scopes))
            insert(
                opened,
                slot_blocks(event_rows(rows, scopes), meters, batch + 1),
            )
            writer(opened).command(
                "INSERT INTO identifiers VALUES (1, 2, 3, {day:UInt32})", {"day": batch}
            )
        opened.insert(request_logs.TABLE, request_logs.pack([LOG]), next_token())
        yield opened


@pytest.fixture
def target(clickhouse_server: Double) -> Iterator[UsageStore]:
    with closing(UsageStore.open(clickhouse_server.empty())) as opened:
        yield opened


def content(store: UsageStore) -> dict[str, Any]:
    """Return all rows of all tables; slots once they are merged, without their proofs."""
    writer(store).command("OPTIMIZE TABLE usage_slots FINAL")
    rows = {table: store.columns(f"FROM {table}", {}) for table in move._TABLES}
    rows["usage_slots"] = rows["usage_slots"].drop_columns(["batch", "batches"])
    return {table: sorted(map(repr, found.to_pylist())) for table, found in rows.items()}


def parts(store: UsageStore) -> set[str]:
    """Return the names of the parts of all tables."""
    sql = "SELECT concat(table, name) AS part FROM system.parts WHERE active AND database = {}"
    return set(store.columns(sql.format("currentDatabase()"), {})["part"].to_pylist())


def ignore(_: int, __: int) -> None:
    """Show nobody how far it is."""


def test_everything_is_there_once_and_in_the_same_words(
    source: UsageStore, target: UsageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(move, "MOVE_USAGE_ROWS", 2)
    told: list[tuple[int, int]] = []
    assert not move.holds_any(target)
    move.copy(source, target, lambda *done: told.append(done))
    assert move.holds_any(target)
    before = content(source)
    assert all(before.values())
    assert content(target) == before
    assert told[-1][0] == told[-1][1] > 0
    proofs = target.columns("SELECT batch, batches FROM usage_slots", {}).to_pylist()
    assert proofs
    assert all(not row["batch"] and not row["batches"] for row in proofs)


def test_what_is_there_is_left_and_what_is_not_right_is_made_anew(
    source: UsageStore, target: UsageStore
) -> None:
    move.copy(source, target, ignore)
    writer(target).command("INSERT INTO events SELECT * FROM events LIMIT 1")
    writer(target).command("DELETE FROM identifiers WHERE day = 1")
    writer(target).command(
        "INSERT INTO usage_slots (meter, version, customer, slot, dimensions, value)"
        " SELECT meter, version, customer, slot, dimensions, 1 FROM usage_slots LIMIT 1"
    )
    writer(target).command("INSERT INTO identifiers VALUES (1, 2, 3, 77)")
    left = parts(target)
    move.copy(source, target, ignore)
    assert content(target) == content(source)
    assert parts(target) & left


def test_shards_get_what_is_theirs_and_give_it_back(
    source: UsageStore, target: UsageStore, tmp_path: Path
) -> None:
    before = content(source)
    with (
        clickhouse_cluster(tmp_path, shards=2, replicas=1) as double,
        closing(UsageStore.open(double.url)) as spread,
    ):
        move.copy(source, spread, ignore)
        assert all(any(content(shard).values()) for shard in spread.each_shard())
        left = [parts(shard) for shard in spread.each_shard()]
        move.copy(source, spread, ignore)  # all of it is there
        assert [parts(shard) for shard in spread.each_shard()] == left
        move.copy(spread, target, ignore)
    assert content(target) == before


@pytest.mark.parametrize("kind", ["drop", "refuse", "503"])
def test_an_insert_that_fails_is_made_again_and_counts_once(
    source: UsageStore, target: UsageStore, clickhouse_server: Double, kind: str
) -> None:
    clickhouse_server.fail(kind, 2)
    move.copy(source, target, ignore)
    assert content(target) == content(source)


def test_a_target_that_does_not_come_to_hold_the_same_is_told(
    source: UsageStore, target: UsageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(move, "_packed", lambda rows, pack=move._packed: pack(rows.slice(1)))
    with pytest.raises(StoreError, match=r"is not what it is at .* Does somebody write"):
        move.copy(source, target, ignore)
