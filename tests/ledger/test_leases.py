"""Leases: one owner at a time, by the database's clock, and no commit after a takeover."""

import time

import pytest
import sqlalchemy as sa

from meterhouse.errors import OvertakenError, StoreError
from meterhouse.ledger import leases
from meterhouse.ledger.engine import Ledger, open_ledger
from meterhouse.ledger.tables import leases as table

LONG = 3_600


def take(ledger: Ledger, owner: str, name: str = "deliver", seconds: float = LONG) -> int | None:
    with ledger.write() as connection:
        return leases.take(connection, name, owner, seconds)


def end(ledger: Ledger) -> None:
    """Let the time of all leases be over."""
    with ledger.write() as connection:
        connection.execute(sa.update(table).values(until=leases.now(connection) - 1))


def test_a_lease_has_one_owner_until_its_time_is_over(ledger: Ledger) -> None:
    assert take(ledger, "ada") == 1
    assert take(ledger, "bob") is None
    assert take(ledger, "ada") == 1
    end(ledger)
    assert take(ledger, "bob") == 2
    assert take(ledger, "ada") is None
    with ledger.read() as connection:
        found = leases.held(connection)
    assert {name: one[:2] for name, one in found.items()} == {"deliver": ("bob", 2)}


def test_a_lease_that_was_given_back_begins_another_epoch(ledger: Ledger) -> None:
    take(ledger, "ada")
    with ledger.write() as connection:
        leases.release(connection, "deliver", "bob")
        assert "deliver" in leases.held(connection)
        leases.release(connection, "deliver", "ada")
        assert leases.held(connection) == {}
        with pytest.raises(OvertakenError, match="'deliver'"):
            leases.check(connection, {"deliver": 2})
    assert take(ledger, "ada") == 2


def test_renewing_keeps_all_that_is_an_owners(ledger: Ledger) -> None:
    for name, owner in (("deliver", "ada"), ("report", "bob"), ("retain", "ada")):
        take(ledger, owner, name)
    end(ledger)
    with ledger.write() as connection:
        assert leases.renew(connection, "ada", LONG) == {"deliver": 1, "retain": 1}
    assert [take(ledger, "eve", name) for name in ("deliver", "report", "retain")] == [
        None,
        2,
        None,
    ]


def test_who_was_overtaken_does_not_pass(ledger: Ledger) -> None:
    with ledger.write() as connection, pytest.raises(OvertakenError):
        leases.check(connection, {"deliver": 1})
    take(ledger, "ada")
    with ledger.write() as connection:
        leases.check(connection, {"deliver": 1})
        with pytest.raises(OvertakenError):
            leases.check(connection, {"deliver": None})
    end(ledger)
    take(ledger, "bob")
    with ledger.write() as connection, pytest.raises(OvertakenError):
        leases.check(connection, {"deliver": 1})


def test_the_clock_is_that_of_the_database(ledger: Ledger) -> None:
    before = time.time_ns() // 1_000_000
    with ledger.write() as connection:
        now = leases.now(connection)
        assert abs(now - before) < 60_000  # it runs on this machine
        assert leases.now(connection) >= now


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_takeover_passes_by_while_the_owner_commits(ledger: Ledger, url: str) -> None:
    """Given an owner whose time is over and who commits, then nobody waits, and nobody takes over.

    What the owner writes is there before another one has the lease, and nothing after.
    """
    take(ledger, "ada")
    end(ledger)
    with open_ledger(url) as other:
        with ledger.write() as connection:
            leases.check(connection, {"deliver": 1})
            with other.write() as renewing:
                assert leases.renew(renewing, "ada", -1) == {"deliver": 1}
            assert take(other, "bob") is None
        assert take(other, "bob") == 2
    with ledger.write() as connection, pytest.raises(OvertakenError):
        leases.check(connection, {"deliver": 1})


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_database_that_does_not_answer_is_no_takeover(ledger: Ledger) -> None:
    take(ledger, "ada")

    def check() -> None:
        with ledger.write() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.close()
            leases.check(connection, {"deliver": 1})

    with pytest.raises(StoreError) as error:
        check()
    assert not isinstance(error.value, OvertakenError)
