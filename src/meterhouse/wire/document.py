"""JSON bodies of requests (API v2): a struct says what an endpoint takes, `read_document` reads it.

```python
class MeterEventCreate(Document):
    event_name: Annotated[str, Meta(min_length=1, max_length=100)]   # required
    identifier: str | None = None
```

What a reader may rely on:

- The body is decoded once, in C, straight into the struct; msgspec's `Meta` bounds what came.
- A body that does not fit is refused with 400, naming the place as the sender would write it:
  `events[3].payload.value`. Nothing raises but a `Refusal`.
- No string has the character U+0000, which PostgreSQL cannot keep.
- `include` names only what the class says that the answer can include.
"""

import re
from collections.abc import Collection, Iterable
from functools import cache
from typing import Any, ClassVar, TypeVar

import msgspec

from meterhouse.wire.envelope_v2 import cannot_include, invalid_field, malformed_json, unknown_query
from meterhouse.wire.form import parse_form


class Document(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The base of the body of a request; `includable` is what its answer can include."""

    includable: ClassVar[frozenset[str]] = frozenset()

    include: list[str] = []


DocumentT = TypeVar("DocumentT", bound=Document)

_ESCAPED_NUL = rb"\u0000"
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # and not a backslash, followed by those letters
# How msgspec says what does not fit. The place comes after that: " - at `$.events[3]`".
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_LENGTH = re.compile(r"Expected `(\w+)` of length ([<>])= (\d+)")
_KIND = re.compile(r"Expected `(.+)`, got `(\w+)`")
_CHOICE = re.compile(r"Invalid enum value (.*)", re.DOTALL)
_OF_KEY = "`key` in "
_KINDS = {
    "array": "an array",
    "bool": "a boolean",
    "float": "a number",
    "int": "a number",
    "null": "null",
    "object": "an object",
    "str": "a string",
}
_ITEMS = {"array": "items", "object": "keys", "str": "characters"}


def read_document(cls: type[DocumentT], body: bytes) -> DocumentT:
    """Return the JSON `body` as a `cls`; an empty body is an empty object."""
    try:
        document: DocumentT = _decoder(cls).decode(body or b"{}")
    except msgspec.ValidationError as error:
        raise invalid_field(_sentence(str(error), body)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise malformed_json(str(error).removeprefix("JSON is malformed: ")) from None
    # A byte is looked for faster than several, and those faster than by an expression.
    if b"\\" in body and _ESCAPED_NUL in body and _NUL.search(body):
        raise malformed_json("it has the character U+0000")
    check_include(document.include, cls.includable)
    return document


def check_include(names: Iterable[str], includable: Collection[str]) -> None:
    """Refuse to include in an answer what is not in `includable`."""
    for name in names:
        if name not in includable:
            raise cannot_include(name)


def read_include(query: bytes) -> None:
    """Refuse what the query of a request with a body asks for; there is nothing to include."""
    for name, value in parse_form(query).items():
        if name != "include":
            raise unknown_query(name)
        names = value.values() if isinstance(value, dict) else value
        raise cannot_include(value if isinstance(value, str) else ", ".join(map(str, names)))


@cache
def _decoder(cls: type[DocumentT]) -> msgspec.json.Decoder[DocumentT]:
    return msgspec.json.Decoder(cls)


def _sentence(error: str, body: bytes) -> str:
    """Say in a sentence what msgspec found."""
    problem, separator, at = error.rpartition(" - at ")
    if not separator:
        problem, at = at, ""
    of_key = at.startswith(_OF_KEY)
    place = _place(at.removeprefix(_OF_KEY).strip("`").lstrip("$."), problem, body)
    if found := _MISSING.fullmatch(problem):
        return f"Missing required field: {_inside(place, found[1])}."
    if found := _UNKNOWN.fullmatch(problem):
        return f"Received unknown field: {_inside(place, found[1])}."
    subject = f"A key of {place}" if of_key else place or "The request body"
    return f"{subject} {_demand(problem)}."


def _demand(problem: str) -> str:
    if found := _LENGTH.fullmatch(problem):
        kind, sign, length = found.groups()
        return "must not be empty" if sign == ">" else f"must have at most {length} {_ITEMS[kind]}"
    if found := _KIND.fullmatch(problem):
        wanted = dict.fromkeys(
            _KINDS[kind] for kind in found[1].split(" | ") if kind in _KINDS and kind != "null"
        )
        return f"must be {' or '.join(wanted)}, not {_KINDS.get(found[2], found[2])}"
    if found := _CHOICE.fullmatch(problem):
        return f"has a value that it cannot have: {found[1]}"
    return f"is invalid: {problem}"


def _inside(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _place(path: str, problem: str, body: bytes) -> str:
    """Return the place that `path` means; msgspec leaves out which key of a map of strings."""
    if not path.endswith("[...]"):
        return path
    place = path.removesuffix("[...]")
    too_long = _LENGTH.fullmatch(problem)
    chars_max = int(too_long[3]) if too_long else None
    try:
        node = msgspec.json.decode(body)
        for step in re.findall(r"\w+", place):
            node = node[int(step)] if isinstance(node, list) else node[step]
    except (LookupError, RecursionError, TypeError, ValueError):
        node = None  # the body is broken behind the place, or names it twice
    if isinstance(node, dict):
        for key, value in node.items():
            if not _fits(value, chars_max):
                return f"{place}.{key}"
    return f"A value of {place}"


def _fits(value: Any, chars_max: int | None) -> bool:
    return isinstance(value, str) and (chars_max is None or len(value) <= chars_max)
