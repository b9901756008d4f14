from pathlib import Path

import pytest

from meterhouse.ledger.customer_search import FIELDS, Found, search_customers
from meterhouse.ledger.customers import (
    Customer,
    create_customer,
    delete_customer,
    update_customer,
)
from meterhouse.ledger.engine import Ledger, open_ledger
from meterhouse.limits import SEARCH_TOTAL_ROWS_MAX
from meterhouse.wire.page import PageParams
from meterhouse.wire.search import read_search
from tests.ledger.samples import connected, two_scopes

ODD = """a"b'c.d[0]$\\e%_"""  # a key, and a value, that mean something to a database
ESCAPED = ODD.replace("\\", "\\\\").replace("'", "\\'")
CUSTOMERS = {
    "cus_ada": ("Ada@Example.com", "Ada  King Lovelace", "+44 1", {"plan": "Gold", "n": "7"}),
    "cus_bob": ("bob@example.com", "Bob 100%", None, {"plan": "silver", ODD: ODD}),
    "cus_eve": (None, "Évê_1 Straße", "+1999", {}),
    "cus_max": ("max.ada@example.com", None, None, {"Plan": "gold"}),
}
NOBODY: set[str] = set()
ALL = set(CUSTOMERS)
FOUND: list[tuple[str, set[str]]] = [
    ('email:"ada@example.com"', {"cus_ada"}),
    ('email:" ADA@EXAMPLE.COM "', {"cus_ada"}),
    ('email:"ada"', NOBODY),
    ('email:"ada@example_com"', NOBODY),
    ('email~"ADA@exam"', {"cus_ada", "cus_max"}),
    ('email~"%%%"', NOBODY),
    ('-email:"ada@example.com"', ALL - {"cus_ada"}),
    ("email:null", {"cus_eve"}),
    ("-email:null", ALL - {"cus_eve"}),
    ('name:"ada king"', {"cus_ada"}),
    ('name:"KING LOVELACE"', {"cus_ada"}),
    ('name:"king"', {"cus_ada"}),
    ('name:"ada lovelace"', NOBODY),
    ('name:"lovelace king"', NOBODY),
    ('name:"kin"', NOBODY),
    ('name:"100%"', {"cus_bob"}),
    ('name:"%"', NOBODY),
    ('name:""', NOBODY),
    ('name~"da king lo"', {"cus_ada"}),
    ('name~"ÉVÊ_"', {"cus_eve"}),
    ('name~"évê-1"', NOBODY),
    ('name:"STRASSE"', {"cus_eve"}),
    ("name:null", {"cus_max"}),
    ('-name~"king"', ALL - {"cus_ada"}),
    ('phone:"+1999"', {"cus_eve"}),
    ('phone~"999"', {"cus_eve"}),
    ("phone:null", {"cus_bob", "cus_max"}),
    ("metadata['plan']:'gold'", {"cus_ada"}),
    ("metadata['plan']:'gol'", NOBODY),
    ("metadata['Plan']:'GOLD'", {"cus_max"}),
    ("-metadata['plan']:'gold'", ALL - {"cus_ada"}),
    ("metadata['plan']:null", {"cus_eve", "cus_max"}),
    ("-metadata['plan']:null", {"cus_ada", "cus_bob"}),
    ("metadata['n']:7", {"cus_ada"}),
    ("metadata['']:'x'", NOBODY),
    ("metadata['']:null", ALL),
    (f"metadata['{ESCAPED}']:'{ESCAPED}'", {"cus_bob"}),
    ("created:1", {"cus_ada", "cus_bob"}),
    ("created=1", {"cus_ada", "cus_bob"}),
    ("created>1", {"cus_eve", "cus_max"}),
    ("created>=2", {"cus_eve", "cus_max"}),
    ("created<=1", {"cus_ada", "cus_bob"}),
    ("created<2", {"cus_ada", "cus_bob"}),
    ("-created<2", {"cus_eve", "cus_max"}),
    ("created<9999999999999999999", ALL),
    ("created>9999999999999999999", NOBODY),
    ("created>-9999999999999999999", ALL),
    ("created:null", NOBODY),
    ("-created:null", ALL),
    ('email~"example" metadata["plan"]:"silver"', {"cus_bob"}),
    ('email~"example" AND -metadata["plan"]:"gold" AND created>1', {"cus_max"}),
    ('email:null OR metadata["plan"]:"gold"', {"cus_ada", "cus_eve"}),
]


def put(ledger: Ledger, scope: int) -> None:
    with ledger.write() as connection:
        for number, (name, (email, called, phone, metadata)) in enumerate(CUSTOMERS.items()):
            details = {"name": called, "phone": phone}
            create_customer(
                connection,
                Customer(
                    id=name,
                    scope=scope,
                    email=email,
                    metadata=metadata,
                    details={key: text for key, text in details.items() if text is not None},
                    created=1_001 + number * 500,  # two in each second
                    deleted_at=None,
                ),
            )


def search(
    ledger: Ledger, scope: int, query: str, page: PageParams | None = None, *, count: bool = False
) -> Found:
    with ledger.read() as connection:
        asked = read_search(query, "customers", FIELDS)
        found = search_customers(connection, scope, asked, page or PageParams(), count=count)
    assert found is not None
    return found


def ids(found: Found) -> list[str]:
    return [one.id for one in found.customers]


def test_each_query_finds_what_it_says(ledger: Ledger) -> None:
    test, live = two_scopes(ledger)
    put(ledger, test)
    for query, wanted in FOUND:
        found = search(ledger, test, query, count=True)
        assert (set(ids(found)), found.total) == (wanted, len(wanted)), query
        for other in (live, connected(ledger)):
            assert search(ledger, other, query, count=True) == ([], False, 0), query


def test_what_is_found_comes_in_pages_newest_first(ledger: Ledger) -> None:
    test, live = two_scopes(ledger)
    put(ledger, test)
    first = search(ledger, test, 'email~"example"', PageParams(limit=2), count=True)
    assert (ids(first), first.has_more, first.total) == (["cus_max", "cus_bob"], True, 3)
    page = PageParams(limit=2, starting_after="cus_bob")
    second = search(ledger, test, 'email~"example"', page)
    assert (ids(second), second.has_more, second.total) == (["cus_ada"], False, None)
    asked = read_search("created>0", "customers", FIELDS)
    with ledger.read() as connection:
        for scope, cursor in ((live, "cus_bob"), (test, "cus_none")):
            page = PageParams(starting_after=cursor)
            assert search_customers(connection, scope, asked, page) is None


def test_a_change_and_a_deletion_are_found_at_once(ledger: Ledger) -> None:
    test, _ = two_scopes(ledger)
    put(ledger, test)
    with ledger.write() as connection:
        delete_customer(connection, test, "cus_ada", 9_000)
        changed = Customer(
            id="cus_bob",
            scope=test,
            email="new@example.com",
            metadata={"plan": "Gold"},
            details={},
            created=1_501,
            deleted_at=None,
        )
        update_customer(connection, changed)
    assert ids(search(ledger, test, "metadata['plan']:'gold'")) == ["cus_bob"]
    assert ids(search(ledger, test, "email:'new@example.com'")) == ["cus_bob"]
    assert ids(search(ledger, test, "email:'bob@example.com'")) == []
    assert ids(search(ledger, test, "name:null")) == ["cus_max", "cus_bob"]


def test_what_is_found_is_counted_up_to_a_bound(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert SEARCH_TOTAL_ROWS_MAX == 10_000
    monkeypatch.setattr("meterhouse.ledger.customer_search.SEARCH_TOTAL_ROWS_MAX", 3)
    test, _ = two_scopes(ledger)
    put(ledger, test)
    assert search(ledger, test, "created>0", count=True).total == 3


def test_an_email_is_found_by_an_index(tmp_path: Path) -> None:
    with open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger, ledger.read() as connection:
        plan = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT id FROM customers WHERE deleted_at IS NULL "
            "AND folded_email = ' a ' AND scope = 1 ORDER BY seq DESC LIMIT 11"
        )
        steps = [row[3] for row in plan]
    assert any("ix_customers_scope_folded_email" in step for step in steps)
