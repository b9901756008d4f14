import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from meterhouse.ledger.customer_search import (
    FIELDS,
    Found,
    customers_called,
    search_customers,
)
from meterhouse.ledger.customers import (
    Customer,
    create_customer,
    delete_customer,
    find_customer,
    update_customer,
)
from meterhouse.ledger.engine import Ledger, open_ledger
from meterhouse.ledger.tables import customers, terms_of_customer
from meterhouse.limits import REQUEST_STRING_CHARS_MAX, SEARCH_TOTAL_ROWS_MAX
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
    assert search(ledger, test, "created>0", PageParams(limit=1), count=True).total == 3


def test_a_ledger_written_anew_has_no_terms_of_a_deleted_customer(tmp_path: Path) -> None:
    rare = b"zqx".hex().upper().encode()[1:]  # SQLite shares the beginnings of words

    def index(connection: sa.Connection) -> bytes:
        blocks = connection.exec_driver_sql("SELECT block FROM customer_terms_data").scalars()
        return b"".join(blocks).upper()

    with open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        test, _ = two_scopes(ledger)
        put(ledger, test)
        with ledger.write() as connection:
            found = find_customer(connection, test, "cus_ada")
            assert found is not None
            update_customer(connection, msgspec.structs.replace(found, email="zqx@y.z"))
        with ledger.write() as connection:
            delete_customer(connection, test, "cus_ada", 9_000)
            assert rare in index(connection)
        ledger.rewrite()
        with ledger.read() as connection:
            assert rare not in index(connection)
        assert ids(search(ledger, test, 'email~"bob"')) == ["cus_bob"]


CALLED: list[tuple[str, list[str]]] = [
    ("ADA", ["cus_max", "cus_ada"]),
    ("S_BO", ["cus_bob"]),
    ("100%", ["cus_bob"]),
    ("lovelace", ["cus_ada"]),
    ("da   king", ["cus_ada"]),
    ("évê_1 STRASSE", ["cus_eve"]),
    ("Analytical engine", ["cus_eve"]),
    ("%%%", []),
    ("%", ["cus_bob"]),
    ("vê", ["cus_eve"]),
    ("nobody", []),
    ("", ["cus_max", "cus_eve", "cus_bob", "cus_ada"]),
]


def test_customers_are_found_by_a_part_of_what_they_are_called(ledger: Ledger) -> None:
    test, live = two_scopes(ledger)
    put(ledger, test)
    with ledger.write() as connection:
        found = find_customer(connection, test, "cus_eve")
        assert found is not None
        details = found.details | {"description": "Of the\tanalytical ENGINE"}
        update_customer(connection, msgspec.structs.replace(found, details=details))
    with ledger.read() as connection:
        for text, wanted in CALLED:
            page = customers_called(connection, test, text, PageParams())
            assert page is not None
            assert ([one.id for one in page[0]], page[1]) == (wanted, False), text
            assert customers_called(connection, live, text, PageParams()) == ([], False), text
        first = customers_called(connection, test, "cus", PageParams(limit=1))
        back = customers_called(
            connection, test, "cus", PageParams(limit=1, ending_before="cus_bob")
        )
        assert customers_called(connection, test, "cus", PageParams(ending_before="x")) is None
    assert [one.id for one in (first or ([], 0))[0]] == ["cus_max"]
    assert [one.id for one in (back or ([], 0))[0]] == ["cus_eve"]


def test_a_text_is_found_by_its_very_end(ledger: Ledger) -> None:
    test, _ = two_scopes(ledger)
    put(ledger, test)
    longest = "ΐ" * (REQUEST_STRING_CHARS_MAX - 3)  # each of which folds to three letters
    with ledger.write() as connection:
        found = find_customer(connection, test, "cus_ada")
        assert found is not None
        changed = msgspec.structs.replace(found, details={"description": f"{longest}end"})
        update_customer(connection, changed)
    with ledger.read() as connection:
        page = customers_called(connection, test, "end", PageParams())
    assert page == ([changed], False)


STRANGERS = 2_000
RARE = [
    'email:"rare@example.com"',
    'email~"rare@example.com"',
    'email~"example.rare"',
    "-email:null AND name~'rarest'",
    'name:"rare"',
    "phone:'+1'",
    "-phone:null",
    "email:null",
    "metadata['plan']:'gold'",
    "metadata['plan']:null",
    "-metadata['plan']:'free'",
    "-metadata['who']:null",
    'email~"example.com" AND -metadata["plan"]:"free"',
    'email~"nobody" OR metadata["plan"]:"gold" OR -phone:null',
]


def work(ledger: Ledger, ask: Callable[[sa.Connection], object]) -> int:
    """Return how much work a question is to SQLite, in hundreds of its instructions."""
    steps = itertools.count()
    with ledger.read() as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_progress_handler(lambda: next(steps) < 0, 100)
        ask(connection)
        driver.set_progress_handler(None, 0)
    return next(steps)


def crowd(ledger: Ledger, scope: int) -> None:
    with ledger.write() as connection:
        for number in range(STRANGERS):
            stranger = Customer(
                id=f"cus_{number:014}",
                scope=scope,
                email=f"stranger.{number}@example.com",
                metadata={"plan": "free", "number": str(number)},
                details={"name": f"Name {number}"},
                created=50_000,
                deleted_at=None,
            )
            create_customer(connection, stranger)


def test_no_search_that_an_index_serves_looks_at_everybody(tmp_path: Path) -> None:
    with open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        test, live = two_scopes(ledger)
        crowd(ledger, test)
        for query in RARE:
            asked = read_search(query, "customers", FIELDS)
            for scope in (test, live):
                steps = work(
                    ledger,
                    lambda connection, scope=scope, asked=asked: search_customers(  # type: ignore[misc]
                        connection, scope, asked, PageParams(), count=True
                    ),
                )
                assert steps < STRANGERS / 10, (query, steps)


def test_postgresql_finds_by_the_index_of_terms(ledger: Ledger) -> None:
    if not ledger.place.startswith("postgresql"):
        return
    test, _ = two_scopes(ledger)
    crowd(ledger, test)
    with ledger.write() as connection:
        connection.exec_driver_sql("ANALYZE customers")
    asked: list[tuple[str, Any]] = []
    with ledger.read() as connection:
        sa.event.listen(
            connection, "before_cursor_execute", lambda *call: asked.append((call[2], call[3]))
        )
        for query in ("name~'nobody'", "metadata['plan']:'gold'", "-phone:null", "email:null"):
            search = read_search(query, "customers", FIELDS)
            search_customers(connection, test, search, PageParams())
            statement, parameters = next(one for one in reversed(asked) if "@>" in one[0])
            plan = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars().all()
            assert any("ix_customers_terms" in step for step in plan), (query, plan)


def test_terms_are_those_of_the_customers_that_exist(ledger: Ledger) -> None:
    test, live = two_scopes(ledger)
    put(ledger, test)
    with ledger.write() as connection:
        changed = find_customer(connection, test, "cus_bob")
        assert changed is not None
        update_customer(connection, msgspec.structs.replace(changed, email="x@y.z", metadata={}))
        connection.execute(
            sa.update(customers).where(customers.c.id == "cus_max").values(scope=live)
        )
        delete_customer(connection, test, "cus_ada", 9_000)
        connection.execute(sa.delete(customers).where(customers.c.id == "cus_eve"))
        if connection.dialect.name == "sqlite":
            # Each row is compared to its terms; one term more or less, and this fails.
            check = "INSERT INTO customer_terms (customer_terms) VALUES ('integrity-check')"
            connection.exec_driver_sql(check)
            count = "SELECT count(*) FROM customer_terms (?)"
            everybody = (f"{test}c OR {live}c",)
            assert connection.exec_driver_sql(count, everybody).scalar_one() == 2
        else:
            terms = sa.select(customers.c.id, sa.func.cardinality(terms_of_customer))
            assert dict(connection.execute(terms).all())["cus_ada"] is None
    assert ids(search(ledger, test, 'email~"y.z"')) == ["cus_bob"]
    assert ids(search(ledger, test, 'email~"ada"')) == []
    assert ids(search(ledger, live, 'email~"ada"')) == ["cus_max"]
