"""Errors of parameters, as Stripe words them (https://docs.stripe.com/error-codes).

Each constructor takes the parameter's name as the sender spells it, `default_aggregation[formula]`,
and returns a `Refusal` to raise.
"""

from collections.abc import Sequence
from typing import Any

from meterhouse.errors import Refusal
from meterhouse.limits import SEARCH_CLAUSES_MAX, SEARCH_SUBSTRING_LEAST_CHARS
from meterhouse.wire.body import to_json
from meterhouse.wire.envelope import quote


def missing_param(name: str) -> Refusal:
    """Refuse the absence of a required parameter."""
    return Refusal(
        f"Missing required param: {quote(name)}.", code="parameter_missing", param=quote(name)
    )


def unknown_params(names: Sequence[str], suggestion: str | None = None) -> Refusal:
    """Refuse parameters that do not exist; `suggestion` is what the first may have meant."""
    plural = "s" if len(names) > 1 else ""
    message = f"Received unknown parameter{plural}: {quote(', '.join(names))}"
    if suggestion is not None:
        message += f". Did you mean {suggestion}?"
    return Refusal(message, code="parameter_unknown", param=quote(names[0]))


def not_supported(name: str) -> Refusal:
    """Refuse what Stripe has and what would change an amount here, unbuilt as it is."""
    return Refusal(f"This server does not support `{quote(name)}`.", param=quote(name))


def exclusive_params(*names: str) -> Refusal:
    """Refuse parameters that cannot be sent together; `names` are all of them."""
    return Refusal(
        f"You may only specify one of these parameters: {', '.join(names)}.", param=names[0]
    )


def invalid_empty(name: str) -> Refusal:
    """Refuse an empty string for a parameter that cannot be unset."""
    name = quote(name)
    return Refusal(
        f"You passed an empty string for '{name}'. We assume empty values are an attempt to unset "
        f"a parameter; however '{name}' cannot be unset. You should remove '{name}' from your "
        "request or supply a non-empty value.",
        code="parameter_invalid_empty",
        param=name,
    )


def invalid_integer(name: str, value: Any) -> Refusal:
    """Refuse what is not a whole number."""
    return Refusal(
        f"Invalid integer: {_shown(value)}", code="parameter_invalid_integer", param=quote(name)
    )


def integer_out_of_range(name: str, least: int, most: int, value: int) -> Refusal:
    """Refuse a whole number that is smaller or greater than allowed."""
    bound = (
        f"greater than or equal to {least}" if value < least else f"less than or equal to {most}"
    )
    return Refusal(
        f"Invalid integer: this value must be {bound}.",
        code="parameter_invalid_integer",
        param=quote(name),
    )


def invalid_boolean(name: str, value: Any) -> Refusal:
    """Refuse what is neither `true` nor `false`."""
    return Refusal(f"Invalid boolean: {_shown(value)}", param=quote(name))


def invalid_choice(name: str, choices: Sequence[str]) -> Refusal:
    """Refuse what is not one of a few words."""
    return Refusal(
        f"Invalid {quote(name)}: must be one of {_alternatives(choices)}", param=quote(name)
    )


def invalid_status(name: str, text: str) -> Refusal:
    """Refuse a filter by a status that no answer has."""
    return Refusal(
        f"Invalid status: {quote(text)}; must be an HTTP status such as 400, or 4XX",
        param=quote(name),
    )


def invalid_string(name: str, value: Any) -> Refusal:
    """Refuse a list or a hash where a string is expected."""
    return Refusal(f"Invalid string: {_shown(value)}", param=quote(name))


def invalid_array(name: str) -> Refusal:
    """Refuse what is not a list."""
    return Refusal("Invalid array", param=quote(name))


def invalid_object(name: str) -> Refusal:
    """Refuse what is not a hash."""
    return Refusal("Invalid object", param=quote(name))


def string_too_long(name: str, text: str, chars_max: int) -> Refusal:
    """Refuse a string of more characters than allowed."""
    return Refusal(
        f"Invalid string: {quote(text)}; must be at most {chars_max} characters",
        code="parameter_invalid_string_too_long",
        param=quote(name),
    )


def too_many_items(name: str, items_max: int) -> Refusal:
    """Refuse a list of more items, or a hash of more keys, than allowed."""
    return Refusal(f"Invalid {quote(name)}: must have at most {items_max} items", param=quote(name))


def too_many_metadata_keys(name: str, keys: int, keys_max: int) -> Refusal:
    """Refuse more metadata than an object may have."""
    return Refusal(
        f"Metadata can have up to {keys_max} keys, but you've set {keys}.", param=quote(name)
    )


def metadata_key_too_long(name: str, key: str, chars_max: int) -> Refusal:
    """Refuse a key of the metadata that is too long."""
    return Refusal(
        f"Metadata keys can have up to {chars_max} characters, but you passed in a key that is "
        f"{len(key)} characters. Invalid key: {quote(key)}",
        param=quote(name),
    )


def metadata_value_too_long(name: str, value: str, chars_max: int) -> Refusal:
    """Refuse a value of the metadata that is too long."""
    return Refusal(
        f"Metadata values can have up to {chars_max} characters, but you passed in a value that is "
        f"{len(value)} characters. Invalid value: {quote(value)}",
        param=quote(name),
    )


# ---- Search queries: https://docs.stripe.com/search ----


def unreadable_search() -> Refusal:
    """Refuse a query that does not follow the search query language."""
    return Refusal(
        "We were unable to parse your search query. Try using the format "
        '`metadata["key"]:"value"` to query for metadata or key:"value" to query for other fields.',
        param="query",
    )


def unknown_search_field(field: str, resource: str) -> Refusal:
    """Refuse a field by which objects of `resource` cannot be looked for."""
    return Refusal(
        f"Field `{quote(field)}` is an unsupported search field for resource `{resource}`. See "
        f"http://stripe.com/docs/search#query-fields-for-{resource} for a list of supported "
        "fields.",
        param="query",
    )


def bad_search_operator(operator: str, field: str) -> Refusal:
    """Refuse an operator that a field of this kind does not know."""
    return Refusal(
        f"Operator `{operator}` is not supported for search field `{quote(field)}`.",
        param="query",
    )


def bad_search_number(field: str, text: str) -> Refusal:
    """Refuse what a numeric field cannot be compared with."""
    return Refusal(
        f"Search field `{quote(field)}` takes a whole number, not `{quote(text)}`.", param="query"
    )


def short_search_substring(field: str) -> Refusal:
    """Refuse a substring that is too short to look for."""
    return Refusal(
        f"A substring to search for in `{quote(field)}` must have at least "
        f"{SEARCH_SUBSTRING_LEAST_CHARS} characters.",
        param="query",
    )


def too_many_search_clauses() -> Refusal:
    """Refuse a query with more clauses than allowed."""
    return Refusal(f"A search query can have up to {SEARCH_CLAUSES_MAX} clauses.", param="query")


def mixed_search() -> Refusal:
    """Refuse a query of which it is not clear what belongs together."""
    return Refusal("You can't combine AND and OR in the same search query.", param="query")


def bad_search_page(token: str) -> Refusal:
    """Refuse a token that names no page of a search."""
    return Refusal(
        f"Invalid page: {quote(token)}; must be the next_page of another answer", param="page"
    )


def _alternatives(choices: Sequence[str]) -> str:
    """Return `a`, `a or b`, or `a, b, or c`."""
    *others, last = choices
    if not others:
        return last
    return f"{', '.join(others)}{',' if len(others) > 1 else ''} or {last}"


def _shown(value: Any) -> str:
    """Return what was sent, a hash or a list as JSON."""
    return quote(value if isinstance(value, str) else to_json(value).decode())
