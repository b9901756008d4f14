"""Credit grants and their transactions in a ledger."""

import pytest
import sqlalchemy as sa

from meterhouse.billing.credit import Grant, Kind, Transaction
from meterhouse.ledger import credit_grants, credit_transactions
from meterhouse.ledger.engine import Ledger
from meterhouse.wire.page import PageParams
from tests.billing.test_credit import a_grant
from tests.invoicing.samples import scope_of_tests, stock


@pytest.fixture
def scope(ledger: Ledger) -> int:
    scope = scope_of_tests(ledger).id
    stock(ledger, scope)
    stock(ledger, scope, "cus_2")
    return scope


def put(ledger: Ledger, *grants: Grant) -> None:
    with ledger.write() as connection:
        credit_grants.create_grants(connection, grants)


def a_transaction(scope: int, grant: str, id_: str, kind: Kind, amount: int) -> Transaction:
    return Transaction(
        id=id_,
        scope=scope,
        customer="cus_1",
        test_clock=None,
        grant=grant,
        kind=kind,
        currency="usd",
        amount=amount,
        effective_at=5,
        created=5,
    )


def test_a_grant_is_kept_as_it_is(ledger: Ledger, scope: int) -> None:
    grant = a_grant(
        scope=scope,
        prices=("price_1",),
        category="promotional",
        expires_at=9,
        name="Été",
        metadata={"a": "b"},
    )
    put(ledger, grant)
    changed = a_grant(scope=scope, balance=0, voided_at=8, metadata={}, updated=8)
    with ledger.write() as connection:
        assert credit_grants.find_grant(connection, scope, "g") == grant
        assert credit_grants.find_grant(connection, scope + 1, "g") is None
        credit_grants.update_grants(connection, [changed])
        assert credit_grants.by_ids(connection, ["g", "nope"]) == {"g": changed}


def test_what_is_left_of_whose_grants(ledger: Ledger, scope: int) -> None:
    with ledger.write() as connection:
        assert credit_grants.unspent(connection, ["cus_1"]) == {"cus_1": []}
        mine = [a_grant(id_, scope=scope) for id_ in ("a", "b")]
        spent = a_grant("c", scope=scope, balance=0, currency="eur")
        credit_grants.create_grants(connection, [*mine, spent])
        found = credit_grants.unspent(connection, ["cus_1", "cus_2"])
        assert found == {"cus_1": mine, "cus_2": []}
        assert credit_grants.currencies(connection, "cus_1") == ["eur", "usd"]
        assert credit_grants.currencies(connection, "cus_2") == []
    page = PageParams(limit=2)
    with ledger.read() as connection:
        assert credit_grants.list_grants(connection, scope, page) == ([spent, mine[1]], True)
        assert credit_grants.list_grants(connection, scope, page, "cus_2") == ([], False)


def test_what_expires_is_due_by_its_own_clock(ledger: Ledger, scope: int) -> None:
    put(
        ledger,
        a_grant("late", scope=scope, expires_at=30),
        a_grant("soon", scope=scope, expires_at=20),
        a_grant("spent", scope=scope, expires_at=10, balance=0),
        a_grant("never", scope=scope),
        a_grant("clocked", scope=scope, expires_at=20, test_clock="clock_1"),
    )

    def due(clock: str | None, until: int, rows: int = 9) -> list[str]:
        with ledger.read() as connection:
            return [one.id for one in credit_grants.due(connection, clock, until, rows)]

    assert [due(None, until) for until in (19, 20, 30)] == [[], ["soon"], ["soon", "late"]]
    assert due(None, 30, 1) == ["soon"]
    assert (due("clock_1", 30), due("clock_2", 30)) == (["clocked"], [])


def test_transactions_are_listed_and_found(ledger: Ledger, scope: int) -> None:
    put(ledger, a_grant("a", scope=scope), a_grant("b", scope=scope))
    booked = [
        a_transaction(scope, "a", "one", "credits_granted", 600),
        a_transaction(scope, "b", "two", "credits_granted", 600),
        a_transaction(scope, "a", "three", "credits_expired", -600),
    ]
    with ledger.write() as connection:
        credit_transactions.add(connection, booked)
        credit_transactions.add(connection, [])
    page = PageParams(limit=9)
    one, two, three = booked
    with ledger.read() as connection:
        rows = credit_transactions.list_transactions
        assert rows(connection, scope, page, "cus_1", None) == ([three, two, one], False)
        assert rows(connection, scope, page, "cus_1", "b") == ([two], False)
        assert rows(connection, scope, page, "cus_2", None) == ([], False)
        assert credit_transactions.find_transaction(connection, scope, "two") == two
        assert credit_transactions.by_ids(connection, {"one", "nope"}) == {"one": one}
        assert credit_transactions.applied_to(connection, "in_1") == []
    with pytest.raises(sa.exc.IntegrityError), ledger.write() as connection:
        credit_transactions.add(connection, [one])
