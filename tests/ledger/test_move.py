"""A ledger with rows in every table, moved from SQLite to PostgreSQL and back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from meterhouse.ledger import audit, journal, move, outbox
from meterhouse.ledger.customer_search import FIELDS, search_customers
from meterhouse.ledger.customers import Customer, create_customer
from meterhouse.ledger.engine import Ledger, open_ledger
from meterhouse.ledger.tables import metadata, notifications, tallies
from meterhouse.wire.page import PageParams
from meterhouse.wire.search import read_search
from tests.blank import blank_ledger
from tests.ledger.samples import connected, snapshot, two_scopes
from tests.metering.samples import event
from tests.postgresql import PostgreSQL

ROWS = 3
ONE_ROW = {"event_id_key", "signing_secret", "store_identity", "timekeeping", "zone_rules"}

# What a constraint demands of a column; where a tuple, of each row in turn.
DEMANDED: dict[str, Any] = {
    "accounts.platform": None,
    "activity.code": ("", "", "no_meter"),
    "activity.outcome": ("accepted", "duplicate", "rejected"),
    "adjustments.status": "complete",
    "alerts.status": ("active", "archived", "inactive"),
    "api_keys.kind": "secret",
    "audit_log.actor_type": "user",
    "deliveries.next_attempt_at": (None, 7, None),
    "deliveries.status": ("delivered", "pending", "failed"),
    "destinations.payload": "thin",
    "dimension_changes.completed_at": (1, None, None),
    "dimension_changes.status": ("complete", "running", "running"),
    "customers.deleted_at": (None, None, 5),
    "customers.folded_metadata": ({"plan": "gold"}, None, None),
    "erasures.step": ("complete", "events", "slots"),
    "idempotency_records.api": "v1",
    "meters.deactivated_at": (None, 6, None),
    "meters.event_time_window": (None, "day", "hour"),
    "meters.formula": ("count", "last", "sum"),
    "meters.status": ("active", "inactive", "active"),
    "notifications.payload": ("snapshot", "thin", "thin"),
    "resends.status": ("complete", "running", "running"),
    "tallies.code": ("", "", "no_meter"),
    "tallies.stripe": 0,
    "tallies.outcome": ("acknowledged", "accepted", "rejected"),
    "timekeeping.furthest": 2**53 + 1,
    "users.role": "viewer",
}
DOCUMENT = {"a": [1, "é\u2028\\\"'\n", None, 1.5, True], "": {}}


def value(column: "sa.Column[Any]", number: int) -> Any:
    """Return what a row of this number has in a column."""
    demanded = DEMANDED.get(str(column), ...)
    if demanded is not ...:
        return demanded[number - 1] if isinstance(demanded, tuple) else demanded
    for foreign in column.foreign_keys:
        return value(foreign.column, number)
    if isinstance(column.type, sa.JSON):
        return DOCUMENT
    values = {bytes: bytes(range(256)) + bytes([number]), bool: number == 1, int: number}
    return values.get(column.type.python_type, f"{column.name} {number} ö\t\\N'\"")


def copied() -> list[sa.Table]:
    return [table for table in metadata.sorted_tables if table.name not in move._ITS_OWN]


def fill(ledger: Ledger) -> None:
    with ledger.write() as connection:
        for table in reversed(copied()):
            connection.execute(sa.delete(table))
        for table in copied():
            count = 1 if table.name in ONE_ROW else ROWS
            rows = [
                {column.name: value(column, number) for column in table.c}
                for number in range(1, count + 1)
            ]
            connection.execute(sa.insert(table), rows)


def content(ledger: Ledger) -> dict[str, Any]:
    with ledger.read() as connection:
        return {
            table.name: [
                tuple(row)
                for row in connection.execute(sa.select(table).order_by(*table.primary_key))
            ]
            for table in copied()
        }


def moved(source: Ledger, target: Ledger) -> list[tuple[int, int]]:
    told: list[tuple[int, int]] = []
    with source.read() as here, target.write() as there:
        move.copy(here, there, lambda *done: told.append(done))
    return told


def test_every_row_of_every_table_comes_through_both_ways(
    tmp_path: Path, postgresql_server: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(move, "MOVE_LEDGER_ROWS", 2)
    with (
        open_ledger(blank_ledger(tmp_path / "from")) as first,
        open_ledger(postgresql_server.empty()) as second,
        open_ledger(blank_ledger(tmp_path / "back")) as third,
    ):
        fill(first)
        before = content(first)
        assert all(before.values())
        told = moved(first, second)
        assert told[-1][0] == told[-1][1] == sum(map(len, before.values()))
        assert content(second) == before
        moved(first, second)  # a second time there is nothing twice
        assert content(second) == before
        moved(second, third)
        assert content(third) == before


@pytest.fixture
def pair(
    tmp_path: Path, postgresql_server: PostgreSQL, request: pytest.FixtureRequest
) -> Iterator[tuple[Ledger, Ledger]]:
    """Yield a ledger on SQLite and a new one on PostgreSQL, in the order that a test asks for."""
    with (
        open_ledger(blank_ledger(tmp_path)) as one,
        open_ledger(postgresql_server.blank()) as other,
    ):
        yield (one, other) if request.param == "to PostgreSQL" else (other, one)


both_ways = pytest.mark.parametrize("pair", ["to PostgreSQL", "to SQLite"], indirect=True)


@both_ways
def test_no_number_is_given_again(pair: tuple[Ledger, Ledger]) -> None:
    source, target = pair
    scope, _ = two_scopes(source)
    with source.write() as connection:
        for number in range(3):
            outbox.emit(connection, snapshot(scope, f"evt_{number}"))
        last = connection.execute(sa.select(sa.func.max(notifications.c.seq))).scalar_one()
        connection.execute(sa.delete(notifications))
        given = journal.reserve(connection, 10) + 9
    moved(source, target)
    with target.write() as connection:
        outbox.emit(connection, snapshot(scope, "evt_new"))
        assert connection.execute(sa.select(notifications.c.seq)).scalar_one() > last
        assert journal.last_position(connection) >= given
        assert journal.reserve(connection, 1) > given
    assert connected(target) > scope


@both_ways
def test_what_several_processes_counted_beside_each_other_is_one_count(
    pair: tuple[Ledger, Ledger],
) -> None:
    source, target = pair
    scope, _ = two_scopes(source)
    with source.write() as connection:
        counted = {"scope": scope, "outcome": "accepted", "code": "", "events": 2**53}
        rows = [{**counted, "stripe": stripe} for stripe in range(3)]
        connection.execute(sa.insert(tallies), rows)
    moved(source, target)
    with target.read() as connection:
        found = connection.execute(sa.select(tallies)).mappings().all()
    assert [{**row} for row in found] == [{**counted, "stripe": 0, "events": 3 * 2**53}]


@both_ways
def test_customers_are_found_by_what_they_are_called(pair: tuple[Ledger, Ledger]) -> None:
    source, target = pair
    scope, _ = two_scopes(source)
    with source.write() as connection:
        for number, name in enumerate(("Ada Lovelace", "Grace Hopper")):
            known: dict[str, Any] = {"metadata": {}, "details": {"name": name}, "created": 1}
            create_customer(
                connection,
                Customer(id=f"cus_{number}", scope=scope, email=None, deleted_at=None, **known),
            )
    moved(source, target)
    with target.read() as connection:
        wanted = read_search('name~"lovel"', "customers", FIELDS)
        found = search_customers(connection, scope, wanted, PageParams())
    assert found is not None
    assert [one.id for one in found.customers] == ["cus_0"]


def test_a_ledger_is_new_until_somebody_has_used_it(tmp_path: Path) -> None:
    with open_ledger(blank_ledger(tmp_path)) as ledger:
        with ledger.read() as connection:
            assert move.is_new(connection)
        with ledger.write() as connection:
            audit.note(connection, audit.system(1), "clock.accepted", None, None)
        with ledger.read() as connection:
            assert not move.is_new(connection)


def test_what_is_under_way_cannot_be_moved(tmp_path: Path) -> None:
    with open_ledger(blank_ledger(tmp_path)) as ledger:
        with ledger.read() as connection:
            assert not move.unfinished(connection)
        with ledger.write() as connection:
            journal.append(connection, journal.reserve(connection, 1), [journal.pack([event()])])
        with ledger.read() as connection:
            assert move.unfinished(connection)
