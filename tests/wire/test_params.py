from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from meterhouse import limits
from meterhouse.errors import Refusal
from meterhouse.wire.form import Form, parse_form
from meterhouse.wire.params import (
    Between,
    Forgotten,
    Items,
    Keys,
    Length,
    Metadata,
    Params,
    RequestParams,
    TimeRange,
    Timestamp,
    Typed,
    Unsupported,
    read_params,
)


class Aggregation(Params):
    formula: Literal["count", "last", "sum"]


class Mapping(Params):
    type: Literal["by_id"]
    event_payload_key: Annotated[str, Length(5)]


class Everything(RequestParams):
    name: Annotated[str, Length(5)]
    aggregation: Aggregation
    mapping: Mapping | None = None
    window: Literal["day", "hour"] | None = None
    limit: Annotated[int, Between(1, 100)] = 10
    big: int = 0
    flag: bool = False
    keys: Annotated[list[str], Items(2, 3)] | None = None
    payload: Annotated[dict[str, str], Keys(2, 3, 4)] | None = None
    mappings: Annotated[dict[str, Mapping], Keys(2, 3, 4)] | None = None
    metadata: Metadata | UnsetType | None = UNSET
    email: Annotated[str, Length(9)] | UnsetType | None = UNSET
    created: TimeRange | None = None
    at: Timestamp | None = None


class Nothing(RequestParams):
    pass


LEAST: Form = {"name": "n", "aggregation": {"formula": "sum"}}


def read(**more: Any) -> Everything:
    return read_params(Everything, {**LEAST, **more})


def refusal(**more: Any) -> tuple[str, str | None, str | None]:
    with pytest.raises(Refusal) as caught:
        read(**more)
    assert caught.value.status == 400
    assert caught.value.type == "invalid_request_error"
    return caught.value.message, caught.value.code, caught.value.param


def test_defaults() -> None:
    params = read()
    assert params == Everything(name="n", aggregation=Aggregation(formula="sum"))
    assert params.expand == []
    assert params.email is UNSET
    assert read_params(Nothing, {}) == Nothing()


def test_a_list_that_was_not_sent_is_not_shared() -> None:
    read().expand.append("x")
    assert read().expand == []


@pytest.mark.parametrize(
    ("field", "sent", "value"),
    [
        ("name", "\U0001f600" * 5, "\U0001f600" * 5),
        ("mapping", {"type": "by_id", "event_payload_key": "k"},
         Mapping(type="by_id", event_payload_key="k")),
        ("window", "hour", "hour"),
        ("limit", "100", 100),
        ("limit", "007", 7),
        ("big", "-9223372036854775808", -(2**63)),
        ("big", "9223372036854775807", 2**63 - 1),
        ("flag", "true", True),
        ("flag", "false", False),
        ("flag", "True", True),
        ("flag", "False", False),
        ("keys", ["a", "b"], ["a", "b"]),
        ("keys", {"1": "b", "0": "a"}, ["a", "b"]),
        ("expand", {str(n): str(n) for n in range(12)}, [str(n) for n in range(12)]),
        ("payload", {"k": "v", "e": ""}, {"k": "v", "e": ""}),
        ("payload", {"0": "v"}, {"0": "v"}),
        ("metadata", {"k": "v", "gone": ""}, {"k": "v", "gone": ""}),
        ("metadata", "", None),
        ("email", "", None),
        ("email", "a@b", "a@b"),
        ("created", "7", TimeRange(gte=7, lte=7)),
        ("created", {"gt": "1", "lte": "2"}, TimeRange(gt=1, lte=2)),
        ("at", "1795222000", 1795222000),
    ],
)  # fmt: skip
def test_reads(field: str, sent: Any, value: Any) -> None:
    assert getattr(read(**{field: sent}), field) == value


@pytest.mark.parametrize(
    ("more", "message", "code", "param"),
    [
        ({"foo": "1"}, "Received unknown parameter: foo", "parameter_unknown", "foo"),
        ({"foo": "1", "bar": "2"}, "Received unknown parameters: foo, bar", "parameter_unknown",
         "foo"),
        ({"limits": "1"}, "Received unknown parameter: limits. Did you mean limit?",
         "parameter_unknown", "limits"),
        ({"aggregation": {"formul": "sum"}},
         "Received unknown parameter: aggregation[formul]. Did you mean aggregation[formula]?",
         "parameter_unknown", "aggregation[formul]"),
        ({"mapping": {"type": "by_id"}}, "Missing required param: mapping[event_payload_key].",
         "parameter_missing", "mapping[event_payload_key]"),
        ({"name": ""},
         ("You passed an empty string for 'name'. We assume empty values are an attempt to unset a "
         "parameter; however 'name' cannot be unset. You should remove 'name' from your request or "
         "supply a non-empty value."), "parameter_invalid_empty", "name"),
        ({"name": "123456"}, "Invalid string: 123456; must be at most 5 characters",
         "parameter_invalid_string_too_long", "name"),
        ({"name": ["x"]}, 'Invalid string: ["x"]', None, "name"),
        ({"name": {"a": "b"}}, 'Invalid string: {"a":"b"}', None, "name"),
        ({"aggregation": "sum"}, "Invalid object", None, "aggregation"),
        ({"aggregation": ["sum"]}, "Invalid object", None, "aggregation"),
        ({"aggregation": {"formula": "max"}},
         "Invalid aggregation[formula]: must be one of count, last, or sum", None,
         "aggregation[formula]"),
        ({"aggregation": {"formula": {"a": "b"}}},
         "Invalid aggregation[formula]: must be one of count, last, or sum", None,
         "aggregation[formula]"),
        ({"window": "week"}, "Invalid window: must be one of day or hour", None, "window"),
        ({"mapping": {"type": "x", "event_payload_key": "k"}},
         "Invalid mapping[type]: must be one of by_id", None, "mapping[type]"),
        ({"limit": "abc"}, "Invalid integer: abc", "parameter_invalid_integer", "limit"),
        ({"limit": "1.0"}, "Invalid integer: 1.0", "parameter_invalid_integer", "limit"),
        ({"limit": "1_0"}, "Invalid integer: 1_0", "parameter_invalid_integer", "limit"),
        ({"limit": " 1"}, "Invalid integer:  1", "parameter_invalid_integer", "limit"),
        ({"limit": "1\n"}, "Invalid integer: 1\n", "parameter_invalid_integer", "limit"),
        ({"limit": "\u0661"}, "Invalid integer: \u0661", "parameter_invalid_integer", "limit"),
        ({"limit": "NaN"}, "Invalid integer: NaN", "parameter_invalid_integer", "limit"),
        ({"limit": ["1"]}, 'Invalid integer: ["1"]', "parameter_invalid_integer", "limit"),
        ({"limit": "0"}, "Invalid integer: this value must be greater than or equal to 1.",
         "parameter_invalid_integer", "limit"),
        ({"limit": "101"}, "Invalid integer: this value must be less than or equal to 100.",
         "parameter_invalid_integer", "limit"),
        ({"big": "9223372036854775808"},
         "Invalid integer: this value must be less than or equal to 9223372036854775807.",
         "parameter_invalid_integer", "big"),
        ({"flag": "yes"}, "Invalid boolean: yes", None, "flag"),
        ({"flag": ["true"]}, 'Invalid boolean: ["true"]', None, "flag"),
        ({"keys": "a"}, "Invalid array", None, "keys"),
        ({"keys": {"a": "b"}}, "Invalid array", None, "keys"),
        ({"keys": ["a", "b", "c"]}, "Invalid keys: must have at most 2 items", None, "keys"),
        ({"keys": ["a", "1234"]}, "Invalid string: 1234; must be at most 3 characters",
         "parameter_invalid_string_too_long", "keys[1]"),
        ({"keys": {"0": {"a": "b"}}}, 'Invalid string: {"a":"b"}', None, "keys[0]"),
        ({"payload": ["a"]}, "Invalid object", None, "payload"),
        ({"payload": {"a": "1", "b": "2", "c": "3"}}, "Invalid payload: must have at most 2 items",
         None, "payload"),
        ({"payload": {"1234": "1"}}, "Invalid string: 1234; must be at most 3 characters",
         "parameter_invalid_string_too_long", "payload"),
        ({"payload": {"a": "12345"}}, "Invalid string: 12345; must be at most 4 characters",
         "parameter_invalid_string_too_long", "payload[a]"),
        ({"payload": {"a": {"b": "1"}}}, 'Invalid string: {"b":"1"}', None, "payload[a]"),
        ({"metadata": ["a"]}, "Invalid object", None, "metadata"),
        ({"metadata": {"k": ["a"]}}, 'Invalid string: ["a"]', None, "metadata[k]"),
        ({"metadata": {str(n): "v" for n in range(51)}},
         "Metadata can have up to 50 keys, but you've set 51.", None, "metadata"),
        ({"metadata": {"k" * 41: "v"}},
         ("Metadata keys can have up to 40 characters, but you passed in a key that is 41 "
         f"characters. Invalid key: {'k' * 41}"), None, "metadata"),
        ({"metadata": {"k": "v" * 501}},
         ("Metadata values can have up to 500 characters, but you passed in a value that is 501 "
         f"characters. Invalid value: {'v' * 100}\u2026{'v' * 100}"), None, "metadata"),
        ({"created": "x"}, "Invalid integer: x", "parameter_invalid_integer", "created"),
        ({"created": {"gt": "x"}}, "Invalid integer: x", "parameter_invalid_integer",
         "created[gt]"),
        ({"created": ["1"]}, "Invalid object", None, "created"),
        ({"at": "-1"}, "Invalid integer: this value must be greater than or equal to 0.",
         "parameter_invalid_integer", "at"),
    ],
)  # fmt: skip
def test_refuses(more: Form, message: str, code: str | None, param: str) -> None:
    assert refusal(**more) == (message, code, param)


@pytest.mark.parametrize(
    ("tree", "param"),
    [
        ({}, "name"),
        ({"name": "n"}, "aggregation"),
        ({"aggregation": {"formula": "sum"}}, "name"),
    ],
)
def test_refuses_what_is_missing(tree: Form, param: str) -> None:
    with pytest.raises(Refusal) as caught:
        read_params(Everything, tree)
    assert caught.value.message == f"Missing required param: {param}."
    assert (caught.value.code, caught.value.param) == ("parameter_missing", param)


def test_an_int_of_any_length_is_refused_briefly() -> None:
    message, code, _ = refusal(big="9" * 1_000_000)
    assert code == "parameter_invalid_integer"
    assert len(message) < limits.ERROR_QUOTED_CHARS_MAX + 50


def test_a_removed_metadata_key_does_not_count() -> None:
    sent = {str(n): "v" for n in range(limits.METADATA_KEYS_MAX)} | {"gone": ""}
    assert read(metadata=sent).metadata == sent


@pytest.mark.parametrize(
    ("bounds", "window"),
    [
        (TimeRange(), (None, None)),
        (TimeRange(gt=7), (8_000, None)),
        (TimeRange(gte=7), (7_000, None)),
        (TimeRange(lt=7), (None, 7_000)),
        (TimeRange(lte=7), (None, 8_000)),
        (TimeRange(gte=7, lte=7), (7_000, 8_000)),
        (TimeRange(gt=1, gte=5, lt=9, lte=9), (5_000, 9_000)),
    ],
)
def test_a_range_as_a_window(bounds: TimeRange, window: tuple[int | None, int | None]) -> None:
    assert bounds.window() == window


_values = st.recursive(
    st.text(max_size=8) | st.sampled_from(["", "1", "-1", "9" * 30, "true", "sum", "NaN", "1e9"]),
    lambda inner: (
        st.lists(st.text(max_size=3), max_size=3)
        | st.dictionaries(
            st.sampled_from(["formula", "type", "event_payload_key", "gt", "0", "1", "a"]), inner
        )
    ),
    max_leaves=6,
)


@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys((*Everything.__struct_fields__, "foo"), _values)
    )
)
def test_any_tree_gives_params_or_a_refusal(tree: Form) -> None:
    try:
        params = read_params(Everything, tree)
    except Refusal as refusal:
        assert refusal.status == 400  # noqa: PT017 - both outcomes are right
        return
    assert 1 <= len(params.name) <= 5
    assert 1 <= params.limit <= 100


_event = st.sampled_from(
    [b"name=n", b"aggregation[formula]=sum", b"aggregation=", b"payload[a]=\xf0\x9f\x98\x80",
     b"payload[a]=%00", b"limit=1e999", b"limit=9" + b"9" * 5000, b"name=%", b"keys[]=a",
     b"keys[0]=a", b"expand[]=x", b"metadata[a][b]=c", b"created[gt]=1", b"created=1"]
)  # fmt: skip


@given(st.lists(_event, max_size=8).map(b"&".join))
def test_any_body_gives_params_or_a_refusal(body: bytes) -> None:
    try:
        params = read_params(Everything, parse_form(body))
    except Refusal as refusal:
        assert refusal.status == 400  # noqa: PT017 - both outcomes are right
        return
    assert params.aggregation.formula == "sum"


class Line(Params):
    name: str
    amounts: list[str] | None = None


class Nested(RequestParams):
    lines: Annotated[list[Line], Items(2)] | None = None
    rows: list[list[str]] | None = None
    some: Annotated[dict[str, list[str]], Keys(2, 3, 4)] | None = None


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (b"lines[0][name]=a&lines[1][name]=b", Nested(lines=[Line(name="a"), Line(name="b")])),
        (
            b"lines[7][name]=b&lines[3][name]=a&lines[3][amounts][]=1",
            Nested(lines=[Line(name="a", amounts=["1"]), Line(name="b")]),
        ),
        (b"rows[0][]=a&rows[0][]=b&rows[1][0]=c", Nested(rows=[["a", "b"], ["c"]])),
        (b"some[a]=1&some[b][]=2&some[b][]=3", Nested(some={"a": ["1"], "b": ["2", "3"]})),
        (b"some[a][1]=2&some[a][0]=1", Nested(some={"a": ["1", "2"]})),
    ],
)
def test_lists_of_what_is_more_than_a_string(form: bytes, expected: Nested) -> None:
    assert read_params(Nested, parse_form(form)) == expected


@pytest.mark.parametrize(
    ("form", "message", "param"),
    [
        (b"lines[0]=a", "Invalid object", "lines[0]"),
        (b"lines[x][name]=a", "Invalid array", "lines"),
        (b"lines[0][amounts][]=1", "Missing required param: lines[0][name].", "lines[0][name]"),
        (b"lines[0][nam]=a", "Received unknown parameter: lines[0][nam]. Did", "lines[0][nam]"),
        (
            b"lines[0][name]=a&lines[1][name]=a&lines[2][name]=a",
            "Invalid lines: must have at most 2 items",
            "lines",
        ),
        (b"rows[0]=a", "Invalid array", "rows[0]"),
        (b"some=a", "Invalid object", "some"),
        (b"some[a]=", "You passed an empty string for 'some[a][0]'.", "some[a][0]"),
        (b"some[a][b]=c", "Invalid array", "some[a]"),
        (b"some[abcd]=x", "Invalid string: abcd; must be at most 3 characters", "some"),
        (b"some[a]=12345", "Invalid string: 12345; must be at most 4", "some[a][0]"),
        (b"some[a]=1&some[b]=1&some[c]=1", "Invalid some: must have at most 2 items", "some"),
    ],
)
def test_what_is_no_such_list(form: bytes, message: str, param: str) -> None:
    with pytest.raises(Refusal) as refused:
        read_params(Nested, parse_form(form))
    assert refused.value.message.startswith(message)
    assert refused.value.param == param


def test_a_map_of_hashes() -> None:
    one: Form = {"type": "by_id", "event_payload_key": "k"}
    params = read(mappings={"a": one, "b": one})
    assert params.mappings == dict.fromkeys("ab", Mapping(type="by_id", event_payload_key="k"))
    for sent, param in [
        ("x", "mappings"),
        ({"a": one, "b": one, "c": one}, "mappings"),
        ({"long": one}, "mappings"),
        ({"a": "x"}, "mappings[a]"),
        ({"a": one | {"type": "other"}}, "mappings[a][type]"),
        ({"a": {"type": "by_id"}}, "mappings[a][event_payload_key]"),
    ]:
        assert refusal(mappings=sent)[2] == param


class Anchor(Typed):
    type: Literal["now", "unchanged"]


class Odd(RequestParams):
    anchor: Anchor | None = None
    discounts: Unsupported | UnsetType | None = UNSET
    options: Forgotten | None = None


@pytest.mark.parametrize("form", [b"anchor=now", b"anchor[type]=now"])
def test_a_hash_that_may_be_the_text_of_its_type(form: bytes) -> None:
    assert read_params(Odd, parse_form(form)).anchor == Anchor(type="now")


@pytest.mark.parametrize(
    ("form", "message", "param"),
    [
        (b"anchor=later", "Invalid anchor[type]: must be one of now or unchanged", "anchor[type]"),
        (b"anchor[]=now", "Invalid object", "anchor"),
        (b"discounts[0][coupon]=a", "This server does not support `discounts`.", "discounts"),
        (b"discounts=a", "This server does not support `discounts`.", "discounts"),
    ],
)
def test_what_is_odd_and_refused(form: bytes, message: str, param: str) -> None:
    with pytest.raises(Refusal) as caught:
        read_params(Odd, parse_form(form))
    assert (caught.value.message, caught.value.param) == (message, param)


def test_what_is_odd_and_taken() -> None:
    params = read_params(Odd, parse_form(b"options[card][a]=b&discounts="))
    assert (params.options, params.discounts) == (None, None)
