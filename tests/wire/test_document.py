from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from meterhouse.errors import Refusal
from meterhouse.wire.document import Document, read_document, read_include

Short = Annotated[str, Meta(min_length=1, max_length=5)]


class Item(msgspec.Struct, forbid_unknown_fields=True):
    name: Short
    payload: Annotated[dict[Short, Annotated[str, Meta(max_length=5)]], Meta(max_length=2)]
    when: str | int | float | None = None


class Sent(Document):
    items: Annotated[list[Item], Meta(min_length=1, max_length=2)]
    type: Literal["a", "b"] = "a"


GOOD = '{"name": "n", "payload": {"a": "1"}}'


def refused(body: str | bytes) -> str:
    with pytest.raises(Refusal) as caught:
        read_document(Sent, body.encode() if isinstance(body, str) else body)
    assert caught.value.status == 400
    assert caught.value.code is None
    return caught.value.message


def test_a_body_is_read() -> None:
    body = b'{"items": [{"name": "n", "payload": {"a": ""}, "when": 1}], "include": []}'
    assert read_document(Sent, body) == Sent(items=[Item("n", {"a": ""}, 1)])


def test_an_empty_body_is_an_empty_object() -> None:
    assert read_document(Document, b"") == read_document(Document, b"{}") == Document()


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        ('{"payload": {}}', "Missing required field: items[1].name."),
        ('{"name": "n"}', "Missing required field: items[1].payload."),
        (
            '{"name": "n", "payload": {}, "when": null, "nmae": 1}',
            "Received unknown field: items[1].nmae.",
        ),
        ('{"name": 1, "payload": {}}', "items[1].name must be a string, not a number."),
        ('{"name": null, "payload": {}}', "items[1].name must be a string, not null."),
        ('{"name": "", "payload": {}}', "items[1].name must not be empty."),
        ('{"name": "123456", "payload": {}}', "items[1].name must have at most 5 characters."),
        ('{"name": "n", "payload": []}', "items[1].payload must be an object, not an array."),
        (
            '{"name": "n", "payload": {"a": "1", "b": 2}}',
            "items[1].payload.b must be a string, not a number.",
        ),
        (
            '{"name": "n", "payload": {"a": "123456"}}',
            "items[1].payload.a must have at most 5 characters.",
        ),
        (
            '{"name": "n", "payload": {"123456": "1"}}',
            "A key of items[1].payload must have at most 5 characters.",
        ),
        (
            '{"name": "n", "payload": {"a": "", "b": "", "c": ""}}',
            "items[1].payload must have at most 2 keys.",
        ),
        (
            '{"name": "n", "payload": {}, "when": []}',
            "items[1].when must be a number or a string, not an array.",
        ),
        ("7", "items[1] must be an object, not a number."),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(item: str, sentence: str) -> None:
    assert refused(f'{{"items": [{GOOD}, {item}]}}') == sentence


@pytest.mark.parametrize(
    "behind",
    [b"", b"}}", b'}}], "x": "\xff"}', b'}}], "items": {}}', b'}}], "items": [{"payload": []}]}'],
    ids=["cut off", "not closed", "not UTF-8", "named twice", "twice inside"],
)
def test_a_body_that_is_broken_behind_a_bad_value_is_refused(behind: bytes) -> None:
    body = b'{"items": [{"name": "n", "payload": {"a": 1' + behind
    assert refused(body) == "A value of items[0].payload must be a string, not a number."


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("{}", "Missing required field: items."),
        ("[]", "The request body must be an object, not an array."),
        ('{"items": []}', "items must not be empty."),
        (f'{{"items": [{GOOD}, {GOOD}, {GOOD}]}}', "items must have at most 2 items."),
        (
            f'{{"items": [{GOOD}], "type": "c"}}',
            "type has a value that it cannot have: 'c'.",
        ),
        (f'{{"items": [{GOOD}], "x - at `$.y`": 1}}', None),
        (f'{{"items": [{GOOD}], "include": ["a.b"]}}', "This property cannot be included: a.b."),
        ("{", "The request body is not valid JSON: Input data was truncated."),
        ("{a}", "The request body is not valid JSON: "),
        (b'{"items": "\xff"}', None),
        (b'{"items": [{"name": "a\x00", "payload": {}}]}', "The request body is not valid JSON: "),
        ('{"items": [{"name": "\\ud800", "payload": {}}]}', "The request body is not valid JSON: "),
        (
            '{"items": [{"name": "a\\u0000", "payload": {}}]}',
            "The request body is not valid JSON: it has the character U+0000.",
        ),
        (
            '{"items": [{"name": "\\\\\\u0000", "payload": {}}]}',
            "The request body is not valid JSON: it has the character U+0000.",
        ),
        ("[" * 100_000, None),
        ('{"items": [{"payload": {"a": ' + "[" * 100_000, None),
        ('{"items": [{"payload": {"a": ' + "[" * 9_000 + "]" * 9_000 + "}}]}", None),
    ],
)
def test_other_refusals(body: str | bytes, sentence: str | None) -> None:
    assert refused(body).startswith(sentence or "")


def test_the_letters_of_an_escape_are_no_escape() -> None:
    body = rb'{"items": [{"name": "\\u0000"[0], "payload": {}}]}'.replace(b"[0]", b"")
    read = read_document(Sent, body.replace(rb"\\u0000", rb"\\u00"))
    assert read.items[0].name == r"\u00"
    letters = rb'{"items": [{"name": "n", "payload": {"a": "x"}, "when": "\\u0000"}]}'
    assert read_document(Sent, letters).items[0].when == r"\u0000"


@given(st.binary(max_size=60))
def test_nothing_but_a_refusal_is_raised(body: bytes) -> None:
    try:
        read_document(Sent, body)
    except Refusal:
        return


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        (b"include[]=a", "This property cannot be included: a."),
        (b"include[0]=a&include[1]=b", "This property cannot be included: a, b."),
        (b"include=a", "This property cannot be included: a."),
        (b"x=1", "Received unknown query parameter: x."),
    ],
)
def test_a_query_asks_for_nothing(query: bytes, sentence: str) -> None:
    with pytest.raises(Refusal) as caught:
        read_include(query)
    assert caught.value.message == sentence


def test_what_a_class_says_can_be_included() -> None:
    class Open(Document):
        includable = frozenset({"a.b"})

    assert read_document(Open, b'{"include": ["a.b"]}').include == ["a.b"]
    with pytest.raises(Refusal, match=r"cannot be included: a\.c"):
        read_document(Open, b'{"include": ["a.b", "a.c"]}')
