from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from meterhouse.ledger.accounts import create_account, default_account, scopes_of
from meterhouse.ledger.customers import (
    Customer,
    create_customer,
    delete_customer,
    find_customer,
    known,
    list_customers,
    near,
    update_customer,
)
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.tables import customers as table
from meterhouse.wire.page import PageParams


@pytest.fixture
def scopes(ledger: Ledger) -> tuple[int, int]:
    with ledger.write() as connection:
        test, live = scopes_of(connection, default_account(connection, now=1).id)
        return test.id, live.id


def customer(scope: int, customer_id: str, **changes: Any) -> Customer:
    plain = Customer(
        id=customer_id,
        scope=scope,
        email=None,
        metadata={},
        details={},
        created=1_000,
        deleted_at=None,
    )
    return msgspec.structs.replace(plain, **changes)


def put(ledger: Ledger, *new: Customer) -> None:
    with ledger.write() as connection:
        for one in new:
            create_customer(connection, one)


FULL = {
    "name": "Ada",
    "description": "first \N{CONTROL KNOBS}",
    "address": {"city": "London", "line2": None},
    "shipping": {"name": "Ada", "address": {"line1": "12 St James's Square"}},
    "preferred_locales": ["en", "fr"],
    "balance": -1_250,
}


@pytest.mark.parametrize("details", [{}, FULL], ids=["none", "all"])
def test_a_customer_comes_back_as_it_was_stored(
    ledger: Ledger, scopes: tuple[int, int], details: dict[str, Any]
) -> None:
    stored = customer(
        scopes[0], "cus_1", email="ada@example.com", metadata={"käy": "välue"}, details=details
    )
    put(ledger, stored)
    with ledger.read() as connection:
        assert find_customer(connection, scopes[0], "cus_1") == stored
        assert find_customer(connection, scopes[1], "cus_1") is None
        assert find_customer(connection, scopes[0], "cus_2") is None


def test_a_customer_becomes_what_it_is_updated_to(ledger: Ledger, scopes: tuple[int, int]) -> None:
    put(ledger, customer(scopes[0], "cus_1"), customer(scopes[0], "cus_2"))
    with ledger.write() as connection:
        found = find_customer(connection, scopes[0], "cus_1", lock=True)
        assert found is not None
        changed = msgspec.structs.replace(found, email="a@b.c", metadata={"a": "b"}, details=FULL)
        update_customer(connection, changed)
    with ledger.read() as connection:
        assert find_customer(connection, scopes[0], "cus_1") == changed
        assert find_customer(connection, scopes[0], "cus_2") == customer(scopes[0], "cus_2")


def test_of_a_deleted_customer_its_id_and_its_instants_are_left(
    ledger: Ledger, scopes: tuple[int, int]
) -> None:
    known = {"email": "a@b.c", "metadata": {"a": "b"}, "details": FULL}
    put(ledger, customer(scopes[0], "cus_1", **known))
    with ledger.write() as connection:
        assert not delete_customer(connection, scopes[1], "cus_1", 5_000)
        assert delete_customer(connection, scopes[0], "cus_1", 5_000)
        assert not delete_customer(connection, scopes[0], "cus_1", 9_000)
        found = find_customer(connection, scopes[0], "cus_1")
    assert found == customer(scopes[0], "cus_1", deleted_at=5_000)
    with ledger.read() as connection:
        row = connection.execute(sa.select(table)).mappings().one()
    assert not any(row[name] for name in row if name.startswith("folded_"))


def test_known_tells_customers_deleted_ones_and_strangers_apart(
    ledger: Ledger, scopes: tuple[int, int]
) -> None:
    test, live = scopes
    put(ledger, customer(test, "cus_1"), customer(test, "cus_2"), customer(live, "cus_3"))
    with ledger.write() as connection:
        delete_customer(connection, test, "cus_2", 5_000)
        asked = [(test, "cus_1"), (test, "cus_2"), (test, "cus_3"), (live, "cus_3"), (live, "x")]
        assert known(connection, asked) == {
            (test, "cus_1"): None,
            (test, "cus_2"): 5_000,
            (live, "cus_3"): None,
        }
        assert known(connection, []) == {}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["cus_4", "cus_3", "cus_1"]),
        ({"email": "a@b.c"}, ["cus_3", "cus_1"]),
        ({"email": "A@b.c"}, []),
        ({"created": (3_000, None)}, ["cus_4", "cus_3"]),
        ({"created": (None, 3_000)}, ["cus_1"]),
        ({"created": (1_000, 3_001)}, ["cus_3", "cus_1"]),
        ({"created": (3_001, 4_000)}, []),
        ({"email": "a@b.c", "created": (3_000, None)}, ["cus_3"]),
    ],
)
def test_lists_are_filtered_and_leave_deleted_customers_out(
    ledger: Ledger,
    scopes: tuple[int, int],
    filters: dict[str, Any],
    expected: list[str],
) -> None:
    test, live = scopes
    put(
        ledger,
        customer(test, "cus_1", created=1_000, email="a@b.c"),
        customer(test, "cus_2", created=2_000, email="a@b.c", deleted_at=2_500),
        customer(test, "cus_3", created=3_000, email="a@b.c", details={"name": "Ada Lovelace"}),
        customer(test, "cus_4", created=4_000, details={"description": "100% metered"}),
        customer(live, "cus_5", created=1_000, email="a@b.c"),
    )
    with ledger.read() as connection:
        page = list_customers(connection, test, PageParams(), **filters)
    assert page is not None
    found, more = page
    assert [one.id for one in found] == expected
    assert not more


def test_accounts_do_not_see_each_others_customers(ledger: Ledger, scopes: tuple[int, int]) -> None:
    with ledger.write() as connection:
        other, _ = scopes_of(connection, create_account(connection, None, now=1).id)
    put(ledger, customer(scopes[0], "cus_1"))
    with ledger.read() as connection:
        assert list_customers(connection, other.id, PageParams()) == ([], False)
        after = PageParams(starting_after="cus_1")
        assert list_customers(connection, other.id, after) is None


def test_ids_that_another_may_have_been_meant_to_be(
    ledger: Ledger, scopes: tuple[int, int]
) -> None:
    names = ["cus_ABCDEFG", "cus_ABCDxyz", "cus_other", "cus_gone"]
    put(ledger, *[customer(scopes[0], name) for name in names])
    with ledger.write() as connection:
        delete_customer(connection, scopes[0], "cus_gone", 2_000)
        assert near(connection, scopes[0], "cus_ABCDEFX", 9) == [*names[:2], "cus_other"]
        assert "cus_other" in near(connection, scopes[0], "cus_ABCDEFX", 1)
        assert near(connection, scopes[1], "cus_ABCDEFX", 9) == []
