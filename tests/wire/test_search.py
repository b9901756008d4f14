from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.errors import Refusal
from meterhouse.wire.search import (
    Clause,
    Kind,
    Search,
    fold,
    fold_part,
    fold_words,
    matches,
    read_search,
)

FIELDS: dict[str, Kind] = {
    "created": "numeric",
    "email": "string",
    "metadata": "token",
    "name": "string",
}

CLAUSES: list[tuple[str, Clause]] = [
    ('email:"amy@rocketrides.io"', Clause("email", ":", "amy@rocketrides.io")),
    ("email:'amy@rocketrides.io'", Clause("email", ":", "amy@rocketrides.io")),
    ('-email:"amy@rocketrides.io"', Clause("email", ":", "amy@rocketrides.io", negated=True)),
    ('email~"amy"', Clause("email", "~", "amy")),
    ('  name : "one two"  ', Clause("name", ":", "one two")),
    ('name:""', Clause("name", ":", "")),
    ("name:12", Clause("name", ":", "12")),
    ('name:"AND OR -x:null"', Clause("name", ":", "AND OR -x:null")),
    (r'name:"the \"Sea\""', Clause("name", ":", 'the "Sea"')),
    (r"name:'it\'s'", Clause("name", ":", "it's")),
    (r'name:"a\\"', Clause("name", ":", "a\\")),
    (r'name:"\d\n"', Clause("name", ":", r"\d\n")),
    ('name:"it\'s"', Clause("name", ":", "it's")),
    ('name:"null"', Clause("name", ":", "null")),
    ("name:null", Clause("name", ":", None)),
    ("-name:NULL", Clause("name", ":", None, negated=True)),
    ('metadata["key"]:"value"', Clause("metadata", ":", "value", "key")),
    ("metadata['donation-id']:'asdf'", Clause("metadata", ":", "asdf", "donation-id")),
    (r'metadata["a\"]:1"]:2', Clause("metadata", ":", "2", 'a"]:1')),
    ('-metadata["key"]:null', Clause("metadata", ":", None, "key", negated=True)),
    ("created>1620310503", Clause("created", ">", 1_620_310_503)),
    ("created >= '1620310503'", Clause("created", ">=", 1_620_310_503)),
    ('created<="-7"', Clause("created", "<=", -7)),
    ("created<7", Clause("created", "<", 7)),
    ("created:7", Clause("created", ":", 7)),
    ("created=7", Clause("created", ":", 7)),
    ("created:null", Clause("created", ":", None)),
]


@pytest.mark.parametrize(("query", "clause"), CLAUSES)
def test_a_clause(query: str, clause: Clause) -> None:
    assert read_search(query, "customers", FIELDS) == Search((clause,))


A, B, C = Clause("name", ":", "1"), Clause("name", ":", "2"), Clause("name", ":", "3")


@pytest.mark.parametrize(
    ("query", "search"),
    [
        ("name:1 name:2", Search((A, B))),
        ("name:1 AND name:2\nand\tname:3", Search((A, B, C))),
        ("name:1 and name:2 name:3", Search((A, B, C))),
        ("name:1 OR name:2 or name:3", Search((A, B, C), any=True)),
        (" ".join(["name:1"] * 10), Search((A,) * 10)),
    ],
)
def test_clauses_together(query: str, search: Search) -> None:
    assert read_search(query, "customers", FIELDS) == search


UNREADABLE = "We were unable to parse your search query. Try using the format "
FIELD = "Field `{}` is an unsupported search field for resource `customers`. See "
OPERATOR = "Operator `{}` is not supported for search field `{}`."
MIXED = "You can't combine AND and OR in the same search query."


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", UNREADABLE),
        ("   ", UNREADABLE),
        ("amy", UNREADABLE),
        ("email", UNREADABLE),
        ("email:", UNREADABLE),
        ("email:amy", UNREADABLE),
        ('email:"amy', UNREADABLE),
        ("email:\"amy'", UNREADABLE),
        (r'email:"amy\"', UNREADABLE),
        ('email:"amy"x', UNREADABLE),
        ('email:"amy"AND name:1', UNREADABLE),
        ("name:1 AND", UNREADABLE),
        ("AND name:1", UNREADABLE),
        ("name:1 OR OR name:2", UNREADABLE),
        ("(name:1)", UNREADABLE),
        ("--name:1", UNREADABLE),
        ("- name:1", UNREADABLE),
        ("metadata:1", UNREADABLE),
        ("metadata[key]:1", UNREADABLE),
        ('email["key"]:1', UNREADABLE),
        ("name:1 name:2 OR name:3", MIXED),
        ("name:1 OR name:2 AND name:3", MIXED),
        ('foo:"bar"', FIELD.format("foo")),
        ('Email:"bar"', FIELD.format("Email")),
        ('address.city:"bar"', FIELD.format("address.city")),
        ('email>"a"', OPERATOR.format(">", "email")),
        ('email="a"', OPERATOR.format("=", "email")),
        ('metadata["key"]~"value"', OPERATOR.format("~", "metadata")),
        ("created~123", OPERATOR.format("~", "created")),
        ("created>null", OPERATOR.format(">", "created")),
        ("email~null", OPERATOR.format("~", "email")),
        ("created>1.5", "Search field `created` takes a whole number, not `1.5`."),
        ("created:'x'", "Search field `created` takes a whole number, not `x`."),
        ("created>" + "9" * 20, f"Search field `created` takes a whole number, not `{'9' * 20}`."),
        ('email~"am"', "A substring to search for in `email` must have at least 3 characters."),
        ('email~" a "', "A substring to search for in `email` must have at least 3 characters."),
        (" ".join(["name:1"] * 11), "A search query can have up to 10 clauses."),
    ],
)
def test_what_is_refused(query: str, message: str) -> None:
    with pytest.raises(Refusal) as caught:
        read_search(query, "customers", FIELDS)
    assert caught.value.message.startswith(message)
    assert (caught.value.status, caught.value.param) == (400, "query")


PIECES = st.sampled_from(
    [
        *("email", "name", "created", "metadata", "foo", '["k"]', "['k']", "[", "]", ":", "~", ">"),
        *("<=", "=", "-", '"amy"', "'amy'", '"', "'", "\\", "null", "123", "9" * 5_000, "1.5"),
        *(" ", " AND ", " or ", "(", ")", "\n", "é"),
    ]
)


@given(st.text() | st.lists(PIECES, max_size=30).map("".join))
def test_any_text_is_read_or_refused(query: str) -> None:
    with suppress(Refusal):
        assert 1 <= len(read_search(query, "customers", FIELDS).clauses) <= 10


@given(st.text(), st.sampled_from("\"'"))
def test_what_is_quoted_comes_back(value: str, quote: str) -> None:
    """Whatever a client quotes, its backslashes and quotes escaped, is looked for as it is."""
    escaped = value.replace("\\", "\\\\").replace(quote, f"\\{quote}")
    query = f"metadata[{quote}{escaped}{quote}]:{quote}{escaped}{quote}"
    clause = Clause("metadata", ":", value, value)
    assert read_search(query, "customers", FIELDS) == Search((clause,))


def test_texts_are_folded() -> None:
    assert fold("ÀB ß") == "àb ss"
    assert fold_words("  Ada\tLove\u3000lace ") == " ada love lace "
    assert fold_words("") == "  "
    assert fold_part(" A  b ") == " a b "


@given(st.text(), st.text(), st.text())
def test_a_part_of_a_text_is_found_in_its_words(before: str, part: str, after: str) -> None:
    inner = " ".join(part.split())
    assert fold_part(inner) in fold_words(before + inner + after)


WORDS: dict[str, Kind] = {
    "active": "token",
    "metadata": "token",
    "name": "string",
    "total": "numeric",
    "url": "string",
}
VALUES = {"name": "Ada  Lovelace", "active": "true", "url": None, "total": 500}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ('name:"ada lovelace"', True),
        ('name:"LOVELACE"', True),
        ('name:"love"', False),
        ('name~"love"', True),
        ('-name~"love"', False),
        ('active:"TRUE"', True),
        ("url:null", True),
        ("-url:null", False),
        ("name:null", False),
        ('url:"a"', False),
        ('-url:"a"', True),
        ('metadata["plan"]:"gold card"', True),
        ('metadata["plan"]:"gold"', False),
        ('metadata["none"]:null', True),
        ("total:500", True),
        ("total=501", False),
        ("-total:500", False),
        ("total>500", False),
        ("total>=500", True),
        ("total<500", False),
        ("total<=500", True),
        ("-total>500", True),
        ("total:null", False),
        ('name:"ada" AND active:"false"', False),
        ('name:"ada" OR active:"false"', True),
    ],
)
def test_an_object_matches_or_not(query: str, found: bool) -> None:
    search = read_search(query, "objects", WORDS)
    assert matches(search, VALUES, {"plan": "Gold Card"}) is found
