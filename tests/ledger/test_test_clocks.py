from collections.abc import Callable

import msgspec
import pytest

from meterhouse.errors import Refusal
from meterhouse.invoicing.present import present, shown_at
from meterhouse.ledger import customers, test_clocks
from meterhouse.ledger.accounts import default_account, scopes_of
from meterhouse.ledger.customers import Customer
from meterhouse.ledger.engine import Ledger
from meterhouse.wire.page import PageParams


@pytest.fixture
def scope(ledger: Ledger) -> int:
    with ledger.write() as connection:
        return scopes_of(connection, default_account(connection, now=1).id)[0].id


@pytest.fixture
def made(ledger: Ledger, scope: int) -> Callable[..., test_clocks.TestClock]:
    def make(clock_id: str, **changes: object) -> test_clocks.TestClock:
        clock = test_clocks.TestClock(
            id=clock_id, scope=scope, name=None, frozen_time=5_000, created=1_000
        )
        clock = msgspec.structs.replace(clock, **changes)
        with ledger.write() as connection:
            test_clocks.create_test_clock(connection, clock)
        return clock

    return make


def put_customer(ledger: Ledger, scope: int, customer_id: str, clock: str | None) -> None:
    customer = Customer(
        id=customer_id,
        scope=scope,
        email=None,
        metadata={},
        details={},
        created=5_000,
        deleted_at=None,
        test_clock=clock,
    )
    with ledger.write() as connection:
        customers.create_customer(connection, customer)


def test_a_clock_comes_back_as_it_was_stored_until_it_is_deleted(
    ledger: Ledger, scope: int, made: Callable[..., test_clocks.TestClock]
) -> None:
    clock = made("clock_1", name="C")
    with ledger.write() as connection:
        assert test_clocks.find_test_clock(connection, scope, "clock_1", lock=True) == clock
        assert test_clocks.find_test_clock(connection, scope + 1, "clock_1") is None
        moved = msgspec.structs.replace(clock, frozen_time=6_000, target=7_000)
        test_clocks.update_test_clock(connection, moved)
    with ledger.read() as connection:
        assert test_clocks.list_test_clocks(connection, scope, PageParams()) == ([moved], False)
        assert test_clocks.advancing(connection) == [(scope, "clock_1")]
    with ledger.write() as connection:
        test_clocks.delete_test_clock(connection, moved)
        assert test_clocks.find_test_clock(connection, scope, "clock_1") is None


def test_customers_live_by_their_clock(
    ledger: Ledger, scope: int, made: Callable[..., test_clocks.TestClock]
) -> None:
    with ledger.read() as connection:
        assert test_clocks.scopes_with_clocks(connection, {scope}) == set()
    made("clock_1")
    put_customer(ledger, scope, "cus_1", "clock_1")
    put_customer(ledger, scope, "cus_2", None)
    with ledger.read() as connection:
        assert test_clocks.scopes_with_clocks(connection, {scope, scope + 1}) == {scope}
        asked = {(scope, "cus_1"), (scope, "cus_2"), (scope, "cus_3"), (scope + 1, "cus_1")}
        assert test_clocks.frozen_times(connection, asked) == {(scope, "cus_1"): 5_000}
        assert customers.of_test_clock(connection, "clock_1") == ["cus_1"]
        for clock, ids in ((None, ["cus_2"]), ("clock_1", ["cus_1"]), ("clock_2", [])):
            page = customers.list_customers(connection, scope, PageParams(), test_clock=clock)
            assert page is not None
            assert [one.id for one in page[0]] == ids


@pytest.mark.parametrize(
    ("clock", "seen"), [(None, 9_000), ("clock_1", 5_000), ("clock_2", 5_000), ("gone", 9_000)]
)
def test_what_time_it_is(
    ledger: Ledger,
    scope: int,
    made: Callable[..., test_clocks.TestClock],
    clock: str | None,
    seen: int,
) -> None:
    made("clock_1")
    made("clock_2", target=8_000)
    with ledger.write() as connection:
        assert shown_at(connection, scope, clock, 9_000) == seen
        if clock != "clock_2":
            assert present(connection, scope, clock, 9_000) == seen
            return
        with pytest.raises(Refusal, match="Test clock advancement underway") as refused:
            present(connection, scope, clock, 9_000)
    assert refused.value.status == 429


def test_a_customer_has_a_beginning_of_its_invoice_numbers(ledger: Ledger, scope: int) -> None:
    put_customer(ledger, scope, "cus_NciAYcXfLnqBoz", None)
    with ledger.write() as connection:
        found = customers.find_customer(connection, scope, "cus_NciAYcXfLnqBoz", lock=True)
        assert found is not None
        assert (found.prefix, found.next_invoice_sequence) == ("NCIAYCXF", 1)
        changed = msgspec.structs.replace(
            found, invoice_prefix="ACME", next_invoice_sequence=7, balance=-3, currency="eur"
        )
        customers.update_customer(connection, changed)
        assert customers.find_customer(connection, scope, found.id) == changed
        assert changed.prefix == "ACME"
