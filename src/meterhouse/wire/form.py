"""Form encoding, of bodies and of query strings: `a[b]=1&c[]=x&d[0][e]=2` becomes a tree.

What a reader may rely on:

- A name without brackets gives a string; `a[b]=1` gives a dict, `a[]=x` a list of strings. An
  index is a key like any other, `a[0]=x` gives `{"0": "x"}`: only the parameter's type can tell a
  list from a hash, so `wire.params` decides.
- Of two values for one name the last one counts.
- Every string is valid Unicode without NUL. Whatever else was sent is refused; nothing raises
  but a `Refusal`, and nothing is built beyond the bounds in `limits`.

Source: https://docs.stripe.com/api and what Stripe's SDKs send.
"""

import re
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

from meterhouse.errors import Refusal
from meterhouse.limits import (
    REQUEST_FORM_DEPTH_MAX,
    REQUEST_FORM_PAIRS_MAX,
    REQUEST_KEY_CHARS_MAX,
)
from meterhouse.wire.envelope import malformed_form, quote

FormValue: TypeAlias = "str | list[str] | dict[str, FormValue]"
Form: TypeAlias = dict[str, FormValue]

_NESTED_NAME = re.compile(r"([^\[\]]+)\[((?:[^\[\]]+\]\[)*[^\[\]]*)\]")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def parse_form(body: bytes) -> Form:
    """Return the tree of `body`; refuse what is malformed, contradictory or too much."""
    text = _decode(body)
    escaped = "%" in text
    tree: Form = {}
    for pair in text.split("&"):
        name, _, value = pair.partition("=")
        if escaped:
            name, value = _unescape(name), _unescape(value)
        if len(name) > REQUEST_KEY_CHARS_MAX:
            raise malformed_form(
                f"A parameter's name is longer than {REQUEST_KEY_CHARS_MAX} characters."
            )
        if "[" in name or "]" in name:
            _put(tree, name, value)
        elif name:
            if not isinstance(tree.setdefault(name, value), str):
                raise _contradiction(name)
            tree[name] = value
        elif value:
            raise malformed_form("A parameter has no name.")
    return tree


def _decode(body: bytes) -> str:
    """Return the text of `body`, its percent escapes known to be whole and free of NUL."""
    if body.count(b"&") >= REQUEST_FORM_PAIRS_MAX:
        raise malformed_form(f"There are more than {REQUEST_FORM_PAIRS_MAX} parameters.")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise _not_utf8() from None
    if "\0" in text or "%00" in text:
        raise malformed_form("A parameter contains a NUL character.")
    if "%" in text and _BROKEN_ESCAPE.search(text):
        raise malformed_form("A percent sign is not followed by two hexadecimal digits.")
    return text.replace("+", " ")


def _unescape(text: str) -> str:
    if "%" not in text:
        return text
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise _not_utf8() from None


def _put(tree: Form, name: str, value: str) -> None:
    """Set `name`, which has brackets, to `value`."""
    match = _NESTED_NAME.fullmatch(name)
    if match is None:
        raise malformed_form(
            f"The brackets of '{quote(name)}' do not match; names look like a[b], a[0][b] or a[]."
        )
    key, inner = match.groups()
    *path, last = inner.split("][")
    if len(path) >= REQUEST_FORM_DEPTH_MAX:
        raise malformed_form(f"A parameter has more than {REQUEST_FORM_DEPTH_MAX} levels.")
    level = tree
    for below in path:
        level = _hash(level, key, name)
        key = below
    if last:
        level = _hash(level, key, name)
        if not isinstance(level.setdefault(last, value), str):
            raise _contradiction(name)
        level[last] = value
    else:
        items = level.setdefault(key, [])
        if not isinstance(items, list):
            raise _contradiction(name)
        items.append(value)


def _hash(level: Form, key: str, name: str) -> Form:
    """Return the hash at `key`, made if there is nothing yet."""
    found = level.get(key)
    if found is None:
        made: Form = {}
        level[key] = made
        return made
    if not isinstance(found, dict):
        raise _contradiction(name)
    return found


def _contradiction(name: str) -> Refusal:
    return malformed_form(
        f"'{quote(name)}' is given in two ways that exclude each other: as a value, a list or a "
        "hash."
    )


def _not_utf8() -> Refusal:
    return malformed_form("The text is not valid UTF-8.")
