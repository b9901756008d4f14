import inspect
import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import get_type_hints

import pytest

from meterhouse import limits, wire
from meterhouse.errors import Refusal
from meterhouse.wire import envelope, envelope_v2, param_errors

SUPPORT = "or we can help at https://support.stripe.com/."


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (
            param_errors.missing_param("event_name"),
            {
                "code": "parameter_missing",
                "doc_url": "https://stripe.com/docs/error-codes/parameter-missing",
                "message": "Missing required param: event_name.",
                "param": "event_name",
                "type": "invalid_request_error",
            },
        ),
        (
            envelope.no_such("customer", "cus_x"),
            {
                "code": "resource_missing",
                "doc_url": "https://stripe.com/docs/error-codes/resource-missing",
                "message": "No such customer: 'cus_x'",
                "param": "id",
                "type": "invalid_request_error",
            },
        ),
    ],
)
def test_v1(refusal: Refusal, error: dict[str, str]) -> None:
    assert json.loads(envelope.error_v1(refusal)) == {"error": error}


@pytest.mark.parametrize(
    ("refusal", "status", "code", "message"),
    [
        (
            envelope.unrecognized_url("GET", "/v1/x"),
            404,
            None,
            "Unrecognized request URL (GET: /v1/x). If you are trying to list objects, remove the "
            "trailing slash. If you are trying to retrieve an object, make sure you passed a valid "
            "(non-empty) identifier in your code. Please see https://stripe.com/docs " + SUPPORT,
        ),
        (
            envelope.no_api_key(),
            401,
            None,
            "You did not provide an API key. You need to provide your API key in the Authorization "
            "header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See "
            "https://stripe.com/docs/api#authentication for details, " + SUPPORT,
        ),
        (
            envelope.invalid_api_key("sk_test_****abcd"),
            401,
            None,
            "Invalid API Key provided: sk_test_****abcd",
        ),
        (
            envelope.permission_denied("rk_test_****abcd", "acct_1", "billing_meters:read"),
            403,
            None,
            (
                "The provided key 'rk_test_****abcd' does not have the required "
                "permissions for this endpoint on account 'acct_1'. Having the "
                "'billing_meters:read' permission would allow this request to continue."
            ),
        ),
        (
            envelope.rate_limited("global-rate"),
            429,
            "rate_limit",
            (
                "Request rate limit exceeded. You can learn more about rate limits "
                "here https://stripe.com/docs/rate-limits."
            ),
        ),
        (
            envelope.idempotency_mismatch("k"),
            400,
            None,
            (
                "Keys for idempotent requests can only be used with the same "
                "parameters they were first used with. Try using a key other than 'k' "
                "if you meant to execute a different request."
            ),
        ),
        (
            envelope.idempotency_in_use("k"),
            409,
            "idempotency_key_in_use",
            (
                "There is currently another in-progress request using this Idempotent "
                "Key (that probably means you submitted twice, and the other request "
                "is still going through): k. Please try again later."
            ),
        ),
        (
            envelope.no_such("customer", "cus_x", "customer"),
            400,
            "resource_missing",
            "No such customer: 'cus_x'",
        ),
    ],
)
def test_words(refusal: Refusal, status: int, code: str | None, message: str) -> None:
    assert (refusal.status, refusal.code, refusal.message) == (status, code, message)


@pytest.mark.parametrize(
    ("refusal", "headers"),
    [
        (envelope.no_api_key(), {"WWW-Authenticate": 'Basic realm="Stripe"'}),
        (envelope.lock_timeout(), {"Stripe-Should-Retry": "true"}),
        (envelope.unavailable(), {"Stripe-Should-Retry": "true"}),
        (
            envelope.rate_limited("endpoint-rate"),
            {"Stripe-Rate-Limited-Reason": "endpoint-rate"},
        ),
        (
            envelope.overloaded(),
            {"Stripe-Rate-Limited-Reason": "global-concurrency", "Stripe-Should-Retry": "true"},
        ),
    ],
)
def test_headers(refusal: Refusal, headers: dict[str, str]) -> None:
    assert refusal.headers == headers


# What no sender writes: the rest of a constructor's arguments may be anything that was sent.
OURS = dict.fromkeys(
    (
        "account",
        "adjective",
        "choices",
        "item",
        "known",
        "noun",
        "operator",
        "own",
        "param",
        "parent",
        "permission",
        "problem",
        "reason",
        "resource",
        "status",
        "suggestion",
        "unit",
        "window",
        "names",
    ),
    "ours",
) | {"code": "no_meter"}
MODULES = [import_module(f"{wire.__name__}.{found.name}") for found in iter_modules(wire.__path__)]
CONSTRUCTORS: list[Callable[..., Refusal]] = [
    function
    for module in MODULES
    for _, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__
    and not function.__name__.startswith("_")
    and get_type_hints(function).get("return") is Refusal
]


def _named(constructor: Callable[..., Refusal]) -> str:
    return f"{constructor.__module__.rpartition('.')[2]}.{constructor.__name__}"


def _sent(name: str, hint: object) -> object:
    if name in OURS:
        return OURS[name]
    return 1 if hint in {int, bool} else "\U0001f600" * 100_000


@pytest.mark.parametrize("constructor", CONSTRUCTORS, ids=_named)
def test_an_answer_stays_short_whatever_was_sent(constructor: Callable[..., Refusal]) -> None:
    hints = get_type_hints(constructor)
    positional, named = [], {}
    for name, parameter in inspect.signature(constructor).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[name] = _sent(name, hints[name])
        else:
            positional.append(_sent(name, hints[name]))
    refusal = constructor(*positional, **named)
    body = envelope.error_v1(refusal)
    assert len(body.decode()) < 8 * limits.ERROR_QUOTED_CHARS_MAX
    assert json.loads(envelope_v2.error_v2(refusal))["error"]["code"]


def test_every_refusal_is_among_them() -> None:
    """A module of refusals that nobody finds would be held to nothing."""
    names = {constructor.__module__.rpartition(".")[2] for constructor in CONSTRUCTORS}
    assert names >= {"envelope", "envelope_v2", "refusals"}
    assert names >= {found.stem for found in Path(*wire.__path__).glob("*_errors.py")}


def test_quote_keeps_both_ends() -> None:
    text = "a" * limits.ERROR_QUOTED_CHARS_MAX
    assert envelope.quote(text) == text
    assert envelope.quote(f"{text}b") == "a" * 100 + "\u2026" + "a" * 99 + "b"
