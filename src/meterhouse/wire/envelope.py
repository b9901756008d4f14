"""Errors as Stripe words them and as its first envelope carries them.

Every sentence that refuses a request stands here or, about a parameter's shape, in
`wire.param_errors`, about meters and events in `wire.refusals`, about what is billed in the
`…_errors` of its noun, or, where only API v2 has it, in `wire.envelope_v2`, and nowhere else. Each
constructor returns a `Refusal` to raise; a sender's own text is quoted in it at a bounded length.
`error_v1` turns a refusal into the body of the answer (https://docs.stripe.com/api/errors).
"""

from collections.abc import Sequence
from typing import Any, Literal

from meterhouse.errors import Refusal
from meterhouse.limits import (
    ERROR_QUOTED_CHARS_MAX,
    EXPAND_LEVELS_MAX,
    IDEMPOTENCY_KEY_CHARS_MAX,
    REQUEST_BODY_READ_SECONDS_MAX,
    REQUEST_ENCODINGS_ITEMS_MAX,
)
from meterhouse.wire.body import to_json

RateLimitedReason = Literal[
    "endpoint-concurrency",
    "endpoint-rate",
    "global-concurrency",
    "global-rate",
    "resource-specific",
]

_NO_MORE = {"Connection": "close"}  # nobody waits for the rest of the body
_HELP = "or we can help at https://support.stripe.com/."
_ELLIPSIS = "…"


def error_v1(refusal: Refusal) -> bytes:
    """Return the body of a refused v1 request; members that the refusal lacks are left out."""
    error: dict[str, Any] = {}
    if refusal.code is not None:
        error["code"] = refusal.code
        error["doc_url"] = doc_url(refusal.code)
    error["message"] = refusal.message
    if refusal.param is not None:
        error["param"] = refusal.param
    error["type"] = refusal.type
    return to_json({"error": error})


def doc_url(code: str) -> str:
    """Return where Stripe explains an error code."""
    return f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"


def quote(text: str) -> str:
    """Return `text` for use inside a message, its middle left out when it is long."""
    if len(text) <= ERROR_QUOTED_CHARS_MAX:
        return text
    half = ERROR_QUOTED_CHARS_MAX // 2
    return f"{text[:half]}{_ELLIPSIS}{text[-half:]}"


# ---- The request as a whole ----


def malformed_form(problem: str) -> Refusal:
    """Refuse parameters that cannot be read at all; `problem` is a sentence that says why."""
    return Refusal(f"Invalid request: the parameters could not be read. {problem}")


def not_http(problem: str) -> Refusal:
    """Refuse what is no HTTP; `problem` is the parser's sentence."""
    return Refusal(problem)


def head_too_large() -> Refusal:
    """Refuse a request line and headers that are longer than any request needs."""
    return Refusal("The request's URL and headers are too large.", status=431)


def head_too_slow() -> Refusal:
    """Refuse a request line and headers that did not arrive in time."""
    return Refusal("The request's headers did not arrive in time.", status=408)


def wrong_content_type() -> Refusal:
    """Refuse a v1 body that is not a form."""
    return Refusal(
        "Invalid request (check that your POST content type is "
        "application/x-www-form-urlencoded). If you have any questions, we can help at "
        "https://support.stripe.com/."
    )


def body_too_large(bytes_max: int) -> Refusal:
    """Refuse a body that is longer, packed or unpacked, than any request of its kind needs."""
    return Refusal(
        f"Invalid request: the body is larger than {bytes_max} bytes.",
        status=413,
        headers=_NO_MORE,
    )


def unknown_encoding(header: str, known: Sequence[str]) -> Refusal:
    """Refuse a body that is packed in a way that we cannot unpack."""
    return Refusal(
        f"Invalid Content-Encoding: {quote(header)}; must be identity, or up to "
        f"{REQUEST_ENCODINGS_ITEMS_MAX} of {', '.join(known)}",
        status=415,
        headers={"Accept-Encoding": ", ".join(known)},  # RFC 9110, section 15.5.16
    )


def broken_encoding(name: str) -> Refusal:
    """Refuse a body that is not what its header says, that breaks off, or that goes on too long."""
    return Refusal(
        f"Invalid request: the body is not valid {quote(name)}, which the header Content-Encoding "
        "says it is."
    )


def body_too_slow() -> Refusal:
    """Refuse a body that did not arrive in time."""
    return Refusal(
        f"Invalid request: the body did not arrive within {REQUEST_BODY_READ_SECONDS_MAX} seconds.",
        status=408,
        headers=_NO_MORE,
    )


def unrecognized_url(method: str, path: str) -> Refusal:
    """Refuse a path that does not exist, or a method that it does not have."""
    return Refusal(
        f"Unrecognized request URL ({quote(method)}: {quote(path)}). If you are trying to list "
        "objects, remove the trailing slash. If you are trying to retrieve an object, make sure "
        "you passed a valid (non-empty) identifier in your code. Please see "
        f"https://stripe.com/docs {_HELP}",
        status=404,
    )


def invalid_version(text: str) -> Refusal:
    """Refuse a header `Stripe-Version` that names no known version."""
    return Refusal(f"Invalid Stripe API version: {quote(text)}")


def invalid_consistency(text: str) -> Refusal:
    """Refuse a header `Meterhouse-Consistency` that says neither `strong` nor `eventual`."""
    return Refusal(
        f"Invalid Meterhouse-Consistency: {quote(text)}; must be one of strong or eventual"
    )


def invalid_exact(text: str) -> Refusal:
    """Refuse a header `Meterhouse-Exact` that says neither `true` nor `false`."""
    return Refusal(f"Invalid Meterhouse-Exact: {quote(text)}; must be one of true or false")


def api_error() -> Refusal:
    """Own up to a fault of ours; the log has its cause under the request's id."""
    return Refusal(
        "An unexpected error occurred while processing your request. It is logged under the "
        "request id of this answer.",
        status=500,
        type="api_error",
    )


def unavailable() -> Refusal:
    """Turn a request away while we start, stop or miss a store; it may be sent again."""
    return Refusal(
        "The server cannot process your request right now. Please try again shortly.",
        status=503,
        type="api_error",
        headers={"Stripe-Should-Retry": "true"},
    )


def too_slow() -> Refusal:
    """Refuse a question that would take longer than any may; asking again would not help."""
    return Refusal(
        "The answer would take too long. Please ask for less: a shorter time range, a narrower "
        "search, or fewer groups.",
        status=503,
        type="api_error",
        headers={"Stripe-Should-Retry": "false"},
    )


def clock_behind() -> Refusal:
    """Turn events away while the server's clock is wrong; they may be sent again."""
    return Refusal(
        "The server takes no events until its clock is right again. Please try again shortly.",
        status=503,
        type="api_error",
        headers={"Stripe-Should-Retry": "true"},
    )


# ---- Objects ----


def no_such(noun: str, id: str, param: str = "id") -> Refusal:  # noqa: A002 - the wire's name
    """Refuse an id that no object has: 404 when it stands in the path, 400 in a parameter."""
    return Refusal(
        f"No such {noun}: '{quote(id)}'",
        status=404 if param == "id" else 400,
        code="resource_missing",
        param=param,
        v2_code="not_found",
    )


def cannot_expand(path: str) -> Refusal:
    """Refuse to expand what is not in the answer (docs.stripe.com/api/expanding_objects)."""
    return Refusal(f"This property cannot be expanded ({quote(path)}).")


def expand_too_deep(path: str) -> Refusal:
    """Refuse a path to expand that has too many levels."""
    return Refusal(
        f"You cannot expand more than {EXPAND_LEVELS_MAX} levels of a property "
        f"(property: {quote(path)})."
    )


# ---- Keys and accounts: https://docs.stripe.com/api/authentication ----


def no_api_key() -> Refusal:
    """Refuse a request that carries no API key."""
    return Refusal(
        "You did not provide an API key. You need to provide your API key in the Authorization "
        "header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See "
        f"https://stripe.com/docs/api#authentication for details, {_HELP}",
        status=401,
        headers={"WWW-Authenticate": 'Basic realm="Stripe"'},
    )


def invalid_api_key(masked: str) -> Refusal:
    """Refuse an unknown or revoked API key, shown as `credentials.mask` shows it."""
    return Refusal(f"Invalid API Key provided: {quote(masked)}", status=401)


def expired_api_key(masked: str) -> Refusal:
    """Refuse an API key whose time is over (https://docs.stripe.com/error-codes)."""
    return Refusal(f"Expired API Key provided: {quote(masked)}", status=401, code="api_key_expired")


def permission_denied(masked: str, account: str, permission: str) -> Refusal:
    """Refuse a restricted key that lacks `permission`, such as `billing_meters:read`."""
    return Refusal(
        f"The provided key '{quote(masked)}' does not have the required permissions for this "
        f"endpoint on account '{account}'. Having the '{permission}' permission would allow this "
        "request to continue.",
        status=403,
    )


def account_denied(masked: str, account: str) -> Refusal:
    """Refuse a header `Stripe-Account` that names an account the key may not act for."""
    return Refusal(
        f"The provided key '{quote(masked)}' does not have access to account '{quote(account)}' "
        "(or that account does not exist). Application access may have been revoked.",
        status=403,
        code="account_invalid",
    )


def operator_only() -> Refusal:
    """Refuse any API key where only the operator of the installation may act."""
    return Refusal(
        "No API key may do this: only the operator of this installation, on its dashboard or on "
        "its command line.",
        status=403,
    )


def no_metrics(masked: str) -> Refusal:
    """Refuse a key that is not for all accounts of the installation."""
    return Refusal(
        f"The metrics tell of all accounts, so the key '{quote(masked)}' cannot open them: show an "
        "unrestricted secret key of the default account.",
        status=403,
    )


# ---- Too much at once: https://docs.stripe.com/rate-limits ----


def rate_limited(reason: RateLimitedReason) -> Refusal:
    """Refuse more requests than allowed; `reason` tells which limit it was."""
    return Refusal(
        "Request rate limit exceeded. You can learn more about rate limits here "
        "https://stripe.com/docs/rate-limits.",
        status=429,
        code="rate_limit",
        headers={"Stripe-Rate-Limited-Reason": reason},
    )


def overloaded() -> Refusal:
    """Turn a request away because a queue of ours is full; it may be sent again."""
    return Refusal(
        "The server has more requests than it can process right now. Please try again shortly.",
        status=429,
        code="rate_limit",
        headers={
            "Stripe-Rate-Limited-Reason": "global-concurrency",
            "Stripe-Should-Retry": "true",
        },
    )


def too_many_listeners() -> Refusal:
    """Refuse a Stripe CLI, because as many as may are listening to the account already."""
    return Refusal(
        "Too many Stripe CLIs listen to this account. Stop one of them, or wait until one that was "
        "stopped is forgotten.",
        status=429,
        code="rate_limit",
        headers={"Stripe-Rate-Limited-Reason": "resource-specific"},
    )


def lock_timeout() -> Refusal:
    """Refuse a request for an object that another request holds."""
    return Refusal(
        "This object cannot be accessed right now because another API request or Stripe process is "
        "currently accessing it. If you see this error intermittently, retry the request. If you "
        "see this error frequently and are making multiple concurrent requests to a single object, "
        "make your requests serially or at a lower rate.",
        status=429,
        code="lock_timeout",
        headers={"Stripe-Should-Retry": "true"},
    )


# ---- Idempotency keys: https://docs.stripe.com/api/idempotent_requests ----


def idempotency_mismatch(key: str) -> Refusal:
    """Refuse a key that was used before with other parameters."""
    return Refusal(
        "Keys for idempotent requests can only be used with the same parameters they were first "
        f"used with. Try using a key other than '{quote(key)}' if you meant to execute a different "
        "request.",
        type="idempotency_error",
        v2_code="idempotency_error",
    )


def idempotency_in_use(key: str) -> Refusal:
    """Refuse a key whose first request has not ended yet."""
    return Refusal(
        "There is currently another in-progress request using this Idempotent Key (that probably "
        "means you submitted twice, and the other request is still going through): "
        f"{quote(key)}. Please try again later.",
        status=409,
        type="idempotency_error",
        code="idempotency_key_in_use",
    )


def idempotency_key_too_long() -> Refusal:
    """Refuse a key that is longer than allowed."""
    return Refusal(
        f"Idempotency keys can have up to {IDEMPOTENCY_KEY_CHARS_MAX} characters.",
        type="idempotency_error",
    )
