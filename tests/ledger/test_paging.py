from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from meterhouse.ledger.accounts import default_account, scopes_of
from meterhouse.ledger.customers import list_customers
from meterhouse.ledger.deliveries import list_deliveries
from meterhouse.ledger.engine import Ledger, open_ledger
from meterhouse.ledger.notifications import Filter, list_notifications
from meterhouse.ledger.paging import read_page
from meterhouse.ledger.tables import customers
from meterhouse.wire.page import PageParams


@pytest.fixture
def scope(ledger: Ledger) -> int:
    """Make a scope with the objects `a` to `g` in this order, between those of another scope."""
    with ledger.write() as connection:
        test, live = scopes_of(connection, default_account(connection, now=1).id)
        rows: list[dict[str, Any]] = [
            {"id": letter, "scope": scope.id, "metadata": {}, "details": {}, "created": 1}
            for letter in "abcdefg"
            for scope, letter in ((test, letter), (live, letter.upper()))
        ]
        connection.execute(sa.insert(customers), rows)
        return test.id


@pytest.mark.parametrize(
    ("page", "shown", "has_more"),
    [
        (PageParams(), "gfedcba", False),
        (PageParams(limit=7), "gfedcba", False),
        (PageParams(limit=6), "gfedcb", True),
        (PageParams(limit=1), "g", True),
        (PageParams(limit=3, starting_after="g"), "fed", True),
        (PageParams(limit=3, starting_after="d"), "cba", False),
        (PageParams(limit=3, starting_after="a"), "", False),
        (PageParams(limit=3, ending_before="a"), "dcb", True),
        (PageParams(limit=3, ending_before="d"), "gfe", False),
        (PageParams(limit=3, ending_before="c"), "fed", True),
        (PageParams(limit=3, ending_before="g"), "", False),
    ],
)
def test_pages(ledger: Ledger, scope: int, page: PageParams, shown: str, has_more: bool) -> None:
    with ledger.read() as connection:
        found = read_page(connection, customers, sa.select(customers.c.id), scope, page)
    assert found is not None
    assert "".join(row["id"] for row in found.rows) == shown
    assert found.has_more is has_more


@pytest.mark.parametrize(
    "page",
    [
        PageParams(starting_after="x"),
        PageParams(ending_before="x"),
        PageParams(starting_after="A"),
    ],
    ids=["after nothing", "before nothing", "after another scope's"],
)
def test_a_cursor_that_names_nothing_is_told_apart(
    ledger: Ledger, scope: int, page: PageParams
) -> None:
    with ledger.read() as connection:
        assert read_page(connection, customers, sa.select(customers.c.id), scope, page) is None


def test_a_cursor_may_name_what_the_filters_leave_out(ledger: Ledger, scope: int) -> None:
    vowels = sa.select(customers.c.id).where(customers.c.id.in_(["a", "e"]))
    page = PageParams(starting_after="d")
    with ledger.read() as connection:
        found = read_page(connection, customers, vowels, scope, page)
    assert found is not None
    assert [row["id"] for row in found.rows] == ["a"]


INDEXES: list[tuple[Callable[[sa.Connection], object], str]] = [
    (lambda it: list_customers(it, 1, PageParams(), email="a@b.c"), "customers_scope_email"),
    (
        lambda it: list_customers(it, 1, PageParams(), created=(1, 2)),
        "customers_scope_seq_created",
    ),
    (
        lambda it: list_notifications(it, 1, PageParams(), Filter("snapshot", ["a", "b.*"])),
        "notifications_scope_payload_seq_type_created",
    ),
    (
        lambda it: list_notifications(it, 1, PageParams(), Filter("thin", ["a"], "mtr_1")),
        "notifications_scope_object_id",
    ),
    (lambda it: list_deliveries(it, 1, PageParams(), notification="evt_1"), "deliveries_2"),
    (
        lambda it: list_deliveries(it, 1, PageParams(), destination="we_1"),
        "deliveries_scope_destination_seq",
    ),
]


def test_filters_of_lists_are_read_from_indexes(tmp_path: Path) -> None:
    asked: list[tuple[str, Any]] = []
    with open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger, ledger.read() as connection:
        sa.event.listen(
            connection, "before_cursor_execute", lambda *call: asked.append((call[2], call[3]))
        )
        for ask, index in INDEXES:
            ask(connection)
            statement, parameters = asked[-1]
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            assert index in plan.all()[0][3], statement
