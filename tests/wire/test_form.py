from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse import limits
from meterhouse.errors import Refusal
from meterhouse.wire.form import Form, FormValue, parse_form


@pytest.mark.parametrize(
    ("body", "tree"),
    [
        (b"", {}),
        (b"&&", {}),
        (b"a=1", {"a": "1"}),
        (b"a", {"a": ""}),
        (b"a=", {"a": ""}),
        (b"a=1=2", {"a": "1=2"}),
        (b"&a=1&&b=2&", {"a": "1", "b": "2"}),
        (b"a=1&a=2", {"a": "2"}),
        (b"a[b]=1", {"a": {"b": "1"}}),
        (b"a[b]=1&a[c]=2&a[b]=3", {"a": {"b": "3", "c": "2"}}),
        (b"a%5Bb%5D=1", {"a": {"b": "1"}}),
        (b"a[0]=x&a[1]=y", {"a": {"0": "x", "1": "y"}}),
        (b"a[0][b]=1&a[0][c]=2", {"a": {"0": {"b": "1", "c": "2"}}}),
        (b"a[]=x&a[]=y", {"a": ["x", "y"]}),
        (b"a[b][]=x&a[b][]=y", {"a": {"b": ["x", "y"]}}),
        (
            b"meters%5B0%5D%5Bdimension_filters%5D%5Btier%5D%5B0%5D=premium",
            {"meters": {"0": {"dimension_filters": {"tier": {"0": "premium"}}}}},
        ),
        (b"payload[model]=gpt+4%2F%C3%BC", {"payload": {"model": "gpt 4/\u00fc"}}),
        (b"payload[model]=gpt%204%2F%c3%bc", {"payload": {"model": "gpt 4/\u00fc"}}),
        (b"a=%2B%26%3D%25%5B", {"a": "+&=%["}),
        ("a=\u00fc\U0001f600".encode(), {"a": "\u00fc\U0001f600"}),
        ("a=\u00fc%20\U0001f600".encode(), {"a": "\u00fc \U0001f600"}),
        (b"a=[x]", {"a": "[x]"}),
    ],
)
def test_reads(body: bytes, tree: Form) -> None:
    assert parse_form(body) == tree


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"=1", "has no name"),
        (b"a[=1", "The brackets of 'a[' do not match"),
        (b"a]=1", "do not match"),
        (b"a[b=1", "do not match"),
        (b"a[b]c=1", "do not match"),
        (b"a[b]c[d]=1", "do not match"),
        (b"a[[b]]=1", "do not match"),
        (b"a][b[c]=1", "do not match"),
        (b"[b]=1", "do not match"),
        (b"a[][b]=1", "do not match"),
        (b"a[b=1&c]=1", "do not match"),
        (b"a=1&a[b]=2", "'a[b]' is given in two ways"),
        (b"a[b]=2&a=1", "'a' is given in two ways"),
        (b"a[]=2&a[b]=1", "'a[b]' is given in two ways"),
        (b"a[b]=2&a[]=1", "'a[]' is given in two ways"),
        (b"a[b]=2&a[b][c]=1", "'a[b][c]' is given in two ways"),
        (b"a[b][c]=2&a[b]=1", "'a[b]' is given in two ways"),
        (b"a=%", "percent sign"),
        (b"a=%4", "percent sign"),
        (b"%zz=1", "percent sign"),
        (b"a=%4&b=1", "percent sign"),
        (b"a=\xff", "not valid UTF-8"),
        (b"a=%ff", "not valid UTF-8"),
        (b"%c3=%bc", "not valid UTF-8"),
        (b"a=%ed%a0%80", "not valid UTF-8"),
        (b"a=\0", "NUL"),
        (b"a=%00", "NUL"),
        (b"a%00b=1", "NUL"),
    ],
)
def test_refuses(body: bytes, sentence: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse_form(body)
    assert caught.value.status == 400
    assert caught.value.type == "invalid_request_error"
    assert sentence in caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        b"&".join(b"a%d=1" % n for n in range(limits.REQUEST_FORM_PAIRS_MAX + 1)),
        b"&" * (1 << 20),
        b"a" * (limits.REQUEST_KEY_CHARS_MAX + 1) + b"=1",
        b"a" + b"[b]" * (limits.REQUEST_FORM_DEPTH_MAX + 1) + b"=1",
        b"a" + b"[b]" * 10_000 + b"=1",
        b"a" + b"%5Bb%5D" * 10_000 + b"=1",
        b"a" + b"[" * 500 + b"=1",
    ],
)
def test_bounds(body: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        parse_form(body)
    assert len(caught.value.message) < 1_000


def test_reads_up_to_the_bounds() -> None:
    pairs = [b"a%d=1" % n for n in range(limits.REQUEST_FORM_PAIRS_MAX)]
    assert len(parse_form(b"&".join(pairs))) == limits.REQUEST_FORM_PAIRS_MAX
    deepest = parse_form(b"a" + b"[b]" * limits.REQUEST_FORM_DEPTH_MAX + b"=1")
    assert _strings(deepest) == ["1"]
    longest = b"k" * limits.REQUEST_KEY_CHARS_MAX
    assert parse_form(longest + b"=1") == {longest.decode(): "1"}


def _strings(value: FormValue) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value
    return [text for item in items for text in _strings(item)]


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0[]"), min_size=1, max_size=20
)
trees = st.dictionaries(
    names,
    st.recursive(
        texts | st.lists(texts, min_size=1, max_size=3),
        lambda inner: st.dictionaries(names, inner, min_size=1, max_size=3),
        max_leaves=10,
    ),
    max_size=5,
)


def _pairs(value: FormValue, name: str) -> list[tuple[str, str]]:
    if isinstance(value, str):
        return [(name, value)]
    if isinstance(value, list):
        return [(f"{name}[]", item) for item in value]
    return [pair for key, item in value.items() for pair in _pairs(item, f"{name}[{key}]")]


@given(trees, st.sampled_from([quote, quote_plus]), st.sampled_from(["", "[]"]))
def test_reads_back_what_was_written(tree: Form, escape: object, safe: str) -> None:
    assert callable(escape)
    pairs = [pair for key, value in tree.items() for pair in _pairs(value, key)]
    body = "&".join(f"{escape(name, safe=safe)}={escape(value)}" for name, value in pairs)
    assert parse_form(body.encode()) == tree


_pieces = st.sampled_from(
    [b"a", b"b", b"0", b"[", b"]", b"[]", b"[a]", b"=", b"&", b"%", b"%5B", b"%5D", b"%00", b"%C3",
     b"%BC", b"+", b"\0", b"\xff", "\U0001f600".encode(), b"1e400", b"NaN"]
)  # fmt: skip


@given(st.binary() | st.lists(_pieces, max_size=30).map(b"".join))
def test_any_bytes_give_a_tree_of_clean_text_or_a_refusal(body: bytes) -> None:
    try:
        tree = parse_form(body)
    except Refusal:
        return
    for text in _strings(tree):
        assert "\0" not in text
        text.encode()
