from typing import Any

import pytest
import sqlalchemy as sa

from meterhouse.ledger.accounts import default_account, scopes_of
from meterhouse.ledger.engine import Ledger
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
