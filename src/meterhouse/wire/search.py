"""Stripe's search query language: `email:"ada@example.com" AND -metadata["plan"]:null`.

https://docs.stripe.com/search#search-query-language. What a reader may rely on:

- A query is 1 to `SEARCH_CLAUSES_MAX` clauses. All of them must hold, or with OR any of them.
- A clause names a field of the resource and has an operator that the field's kind knows. Its value
  is an int where the field is numeric, None for `null`, else a string without its quotes.
- Whatever is not in order is refused; nothing raises but a `Refusal`.
- Letters are compared in any case: `fold` and `fold_words` make texts alike on both sides, so that
  no database has a say in what a capital letter is.
"""

import operator
import re
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, TypeAlias, cast

from meterhouse.limits import SEARCH_CLAUSES_MAX, SEARCH_SUBSTRING_LEAST_CHARS
from meterhouse.wire import param_errors

Kind: TypeAlias = Literal["numeric", "string", "token"]
Operator: TypeAlias = Literal[":", "~", ">", ">=", "<", "<="]

METADATA = "metadata"  # the field that has keys


class Clause(NamedTuple):
    """One condition; `key` is that of `metadata["key"]`, empty for every other field."""

    field: str
    operator: Operator
    value: str | int | None
    key: str = ""
    negated: bool = False


class Search(NamedTuple):
    """What is looked for: what all of the clauses hold for, or any of them."""

    clauses: tuple[Clause, ...]
    any: bool = False


_COMPARED: dict[Operator, Callable[[int, int], bool]] = {
    ":": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OPERATORS: dict[Kind, frozenset[str]] = {
    "numeric": frozenset({":", ">", ">=", "<", "<="}),
    "string": frozenset({":", "~"}),
    "token": frozenset({":"}),
}
_QUOTED = r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'"""
_CLAUSE = re.compile(
    rf"""(?P<negated>-)?
    (?P<field>[A-Za-z_][A-Za-z0-9_.]*)
    (?:\[(?P<key>{_QUOTED})\])?
    \s*(?P<operator>>=|<=|[:~><=])\s*
    (?P<value>{_QUOTED}|[^\s"'()]+)
    (?=\s|$)""",
    re.VERBOSE | re.DOTALL,
)
_JOINT = re.compile(r"\s+(?:(?P<word>AND|OR)\s+)?", re.IGNORECASE)
_ESCAPED = re.compile(r"""\\(["'\\])""")
_NUMBER = re.compile(r"-?[0-9]{1,19}(?:\.[0-9]{1,19})?")
_WHOLE = re.compile(r"-?[0-9]{1,19}")
_SPACE = re.compile(r"\s+")


def read_search(query: str, resource: str, fields: Mapping[str, Kind]) -> Search:
    """Read a query for objects of `resource`, which is plural, by its `fields`."""
    text = query.strip()
    clauses: list[Clause] = []
    words: set[str] = set()
    at = 0
    while True:
        clause = _CLAUSE.match(text, at)
        if clause is None:
            raise param_errors.unreadable_search()
        if len(clauses) == SEARCH_CLAUSES_MAX:
            raise param_errors.too_many_search_clauses()
        clauses.append(_clause(clause, resource, fields))
        joint = _JOINT.match(text, clause.end())
        if joint is None:  # the text has no space at its end
            break
        words.add((joint["word"] or "AND").upper())
        at = joint.end()
    if len(words) > 1:
        raise param_errors.mixed_search()
    return Search(tuple(clauses), any="OR" in words)


def matches(
    search: Search, values: Mapping[str, str | int | None], metadata: Mapping[str, str]
) -> bool:
    """Tell whether an object is what a search looks for; `values` are those of its fields.

    A numeric field is an int, any other a text; a token is one word.
    """
    found = (_holds(one, values, metadata) for one in search.clauses)
    return any(found) if search.any else all(found)


def fold(text: str) -> str:
    """Return `text` without a difference between capital and small letters."""
    return text.casefold()


def fold_words(text: str) -> str:
    """Return the words of `text`, folded, each with one space before it and one behind.

    So a text has some words in their order where its folded words contain theirs.
    """
    return f" {' '.join(fold(text).split())} "


def fold_part(text: str) -> str:
    """Return a part of a text as it is found in the folded words of the text."""
    return _SPACE.sub(" ", fold(text))


def _clause(match: re.Match[str], resource: str, fields: Mapping[str, Kind]) -> Clause:
    field, key, sign = match["field"], match["key"], match["operator"]
    if (field == METADATA) != (key is not None):
        raise param_errors.unreadable_search()
    kind = fields.get(field)
    if kind is None:
        raise param_errors.unknown_search_field(field, resource)
    if sign == "=" and kind == "numeric":
        sign = ":"
    if sign not in _OPERATORS[kind]:
        raise param_errors.bad_search_operator(sign, field)
    value = _value(match["value"], kind, field)
    if value is None and sign != ":":
        raise param_errors.bad_search_operator(sign, field)
    if sign == "~" and len(str(value).strip()) < SEARCH_SUBSTRING_LEAST_CHARS:
        raise param_errors.short_search_substring(field)
    negated = match["negated"] is not None
    return Clause(field, cast("Operator", sign), value, _unquoted(key) if key else "", negated)


def _holds(
    clause: Clause, values: Mapping[str, str | int | None], metadata: Mapping[str, str]
) -> bool:
    alone = clause.field == METADATA  # its values are compared as a whole
    text = metadata.get(clause.key) if alone else values[clause.field]
    if text is None or clause.value is None:
        return (text is None and clause.value is None) != clause.negated
    if isinstance(text, int):
        return _COMPARED[clause.operator](text, int(clause.value)) != clause.negated
    wanted = str(clause.value)
    if clause.operator == "~":
        holds = fold_part(wanted) in fold_words(text)
    elif alone:
        holds = fold(text) == fold(wanted)
    else:
        holds = fold_words(wanted) in fold_words(text)
    return holds != clause.negated


def _value(text: str, kind: Kind, field: str) -> str | int | None:
    quoted = text[0] in "\"'"
    if not quoted and text.lower() == "null":
        return None
    plain = _unquoted(text) if quoted else text
    if kind == "numeric":
        if not _WHOLE.fullmatch(plain):
            raise param_errors.bad_search_number(field, plain)
        return int(plain)
    if not quoted and not _NUMBER.fullmatch(plain):
        raise param_errors.unreadable_search()
    return plain


def _unquoted(text: str) -> str:
    """Return what stands between quotes; a backslash keeps a quote, or another, from its work."""
    return _ESCAPED.sub(r"\1", text[1:-1])
