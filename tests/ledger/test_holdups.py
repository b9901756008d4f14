import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.ledger import holdups, subscriptions
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.holdups import Holdup
from tests.ledger.test_subscriptions import scope, subscription

__all__ = ["scope"]

RETRY = limits.INVOICE_RETRY_SECONDS * 1000
DUE = 5_000
WHY = "It cannot be."


@pytest.fixture
def made(ledger: Ledger, scope: int) -> int:
    """Store two subscriptions that are due, one of which lives by a test clock."""
    with ledger.write() as connection:
        one, clocked = subscription(scope, "sub_1"), subscription(scope, "sub_2", test_clock="c")
        subscriptions.create_subscription(connection, one, DUE)
        subscriptions.create_subscription(connection, clocked, DUE)
    return scope


def hold_up(ledger: Ledger, id_: str, now: int) -> Holdup | None:
    with ledger.write() as connection:
        return holdups.hold_up(connection, id_, "code", WHY, now)


def due(connection: sa.Connection, until: int, clock: str | None = None) -> list[str]:
    return [one.id for one in subscriptions.due(connection, clock, until, 10)]


def test_what_is_held_up_waits_twice_as_long_each_time(ledger: Ledger, made: int) -> None:
    first = hold_up(ledger, "sub_1", DUE)
    again = DUE + 2 * RETRY
    expected = Holdup("sub_1", DUE, made, "cus_1", None, "code", WHY, DUE, 1, again)
    assert first == expected
    with ledger.read() as connection:
        assert holdups.find(connection, "sub_1") == first
        assert holdups.of_objects(connection, ["sub_1", "sub_2"]) == {"sub_1": first}
        assert holdups.of_objects(connection, []) == {}
        assert due(connection, again - 1) == []
        assert due(connection, again) == ["sub_1"]
    second = hold_up(ledger, "sub_1", again)
    assert second == expected._replace(attempts=2, again_at=again + 4 * RETRY)
    for _ in range(40):
        last = hold_up(ledger, "sub_1", again)
    assert last is not None
    assert last.again_at == again + limits.INVOICE_RETRY_SECONDS_MAX * 1000


def test_what_lives_by_a_clock_waits_for_that(ledger: Ledger, made: int) -> None:
    held = hold_up(ledger, "sub_2", DUE)
    assert held is not None
    assert (held.test_clock, held.again_at) == ("c", None)
    with ledger.write() as connection:
        assert due(connection, DUE, "c") == ["sub_2"]
        assert holdups.of_test_clock(connection, "c") == ["sub_2"]
        assert holdups.of_test_clock(connection, "d") == []
        holdups.forget(connection, "c")
        assert holdups.count(connection, made) == 0


def test_lists_are_of_a_scope_and_of_a_customer(ledger: Ledger, made: int) -> None:
    for now, id_ in ((20, "sub_1"), (10, "sub_2")):
        assert hold_up(ledger, id_, now)
    with ledger.read() as connection:
        for rows, ids in ((10, ["sub_2", "sub_1"]), (1, ["sub_2"])):
            assert [one.object for one in holdups.list_holdups(connection, made, rows)] == ids
        assert len(holdups.list_holdups(connection, made, 10, "cus_1")) == 2
        assert holdups.list_holdups(connection, made, 10, "cus_2") == []
        assert holdups.list_holdups(connection, made + 1, 10) == []
        assert (holdups.count(connection, made), holdups.count(connection, made + 1)) == (2, 0)


@pytest.mark.parametrize("later", [None, DUE + 1])
def test_what_was_done_or_is_due_no_more_is_not_held_up(
    ledger: Ledger, made: int, later: int | None
) -> None:
    assert hold_up(ledger, "sub_1", DUE)
    assert hold_up(ledger, "sub_none", DUE) is None
    with ledger.write() as connection:
        found = subscriptions.find_subscription(connection, made, "sub_1")
        assert found is not None
        subscriptions.update_subscription(connection, found, later)
        assert holdups.find(connection, "sub_1") is None
        assert holdups.count(connection, made) == 0
        assert due(connection, DUE + 1) == ([] if later is None else ["sub_1"])
    assert hold_up(ledger, "sub_2", DUE)  # which forgets the other one
    with ledger.read() as connection:
        stored = connection.exec_driver_sql("SELECT object FROM holdups").scalars()
        assert list(stored) == ["sub_2"]
