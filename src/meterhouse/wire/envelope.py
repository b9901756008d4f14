"""Errors as Stripe words them and as its first envelope carries them.

Every sentence that refuses a request stands here or, about a parameter's shape, in
`wire.param_errors`, or, where only API v2 has it, in `wire.envelope_v2`, and nowhere else. Each
constructor returns a `Refusal` to raise; a sender's own text is quoted in it at a bounded length.
`error_v1` turns a refusal into the body of the answer (https://docs.stripe.com/api/errors).
"""

from collections.abc import Sequence
from typing import Any, Literal

from meterhouse.errors import Refusal
from meterhouse.limits import (
    ADJUSTMENT_HOURS_MAX,
    DESTINATIONS_MAX,
    ERROR_QUOTED_CHARS_MAX,
    EVENT_PAST_DAYS_MAX,
    EXPAND_LEVELS_MAX,
    IDEMPOTENCY_KEY_CHARS_MAX,
    REQUEST_BODY_BYTES_MAX,
    REQUEST_BODY_READ_SECONDS_MAX,
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


def body_too_large() -> Refusal:
    """Refuse a body that is longer than any request needs."""
    return Refusal(
        f"Invalid request: the body is larger than {REQUEST_BODY_BYTES_MAX} bytes.",
        status=413,
        headers=_NO_MORE,
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


# ---- The Stripe CLI ----


def unknown_websocket() -> Refusal:
    """Refuse a websocket of an unknown session. The CLI matches on this sentence."""
    return Refusal("Unknown WebSocket ID.", status=404)


# ---- Destinations and deliveries ----


def invalid_url(problem: str, param: str) -> Refusal:
    """Refuse a URL that nothing can be delivered to; `problem` is a sentence that says why."""
    return Refusal(f"Invalid URL: {problem}", code="url_invalid", param=param)


def invalid_event_type(pattern: str, param: str) -> Refusal:
    """Refuse what cannot be the type of an event."""
    return Refusal(f"Invalid event type: {quote(pattern)}", param=param)


def wrong_payload(pattern: str, payload: str, param: str) -> Refusal:
    """Refuse a type of events that are not told in the way that a destination takes."""
    return Refusal(
        f"Events of the type {quote(pattern)} are not sent with {quote(payload)} payloads.",
        param=param,
    )


def too_many_destinations(livemode: bool) -> Refusal:
    """Refuse one more destination than an account may have."""
    mode = "live" if livemode else "test"
    return Refusal(f"You have reached the maximum of {DESTINATIONS_MAX} {mode} webhook endpoints.")


def destination_disabled(destination: str) -> Refusal:
    """Refuse to send to a destination that is disabled or deleted."""
    return Refusal(f"The destination '{quote(destination)}' is not enabled, so nothing is sent.")


# ---- Meters ----


def meter_exists(event_name: str) -> Refusal:
    """Refuse an event name that an active meter has."""
    return Refusal(
        f"An active meter already exists for event name '{quote(event_name)}'. To create a new "
        "meter with the same event name, first deactivate the currently active meter."
    )


def dimensions_changing(meter: str) -> Refusal:
    """Refuse to change the dimensions of a meter while they are being changed."""
    return Refusal(
        f"The dimensions of the meter '{meter}' are being changed already. Try again when that "
        "change is complete."
    )


# ---- Meter events ----


def no_active_meter(event_name: str) -> Refusal:
    """Refuse an event name that no active meter has."""
    return Refusal(
        f'No active meter found for event name "{quote(event_name)}".', v2_code="no_meter"
    )


def duplicate_identifier(identifier: str) -> Refusal:
    """Refuse a taken identifier. Clients match on this sentence, for it has no code."""
    return Refusal(
        f"An event already exists with identifier {quote(identifier)}.",
        headers={"Stripe-Should-Retry": "false"},
        v2_code="duplicate_meter_event",
    )


def timestamp_too_old(earliest: int) -> Refusal:
    """Refuse an event of too long ago; `earliest` is the first unix second still accepted."""
    return Refusal(
        f"The event timestamp cannot be more than {EVENT_PAST_DAYS_MAX} days in past. Expected a "
        f"timestamp greater than or equal to {earliest}.",
        param="timestamp",
    )


def timestamp_in_future() -> Refusal:
    """Refuse an event that has not happened yet."""
    return Refusal("The event timestamp cannot be in future.", param="timestamp")


def value_too_many_digits(text: str, digits_max: int) -> Refusal:
    """Refuse a usage value with more significant digits than can be kept exactly."""
    return Refusal(
        f"The value in the event payload can have at most {digits_max} digits. Received "
        f"{quote(text)}.",
        code="meter_event_value_too_many_digits",
        param="payload",
        v2_code="payload_invalid_value",
    )


# ---- Adjustments ----


def no_event_to_cancel(identifier: str) -> Refusal:
    """Refuse to cancel an event that does not exist."""
    return Refusal(
        f"No meter event found with identifier {quote(identifier)}.",
        param="cancel[identifier]",
        v2_code="invalid_cancel_configuration",
    )


def too_late_to_cancel(identifier: str) -> Refusal:
    """Refuse to cancel an event that was received too long ago."""
    return Refusal(
        f"The meter event with identifier {quote(identifier)} cannot be cancelled because it was "
        f"received more than {ADJUSTMENT_HOURS_MAX} hours ago.",
        param="cancel[identifier]",
        v2_code="invalid_cancel_configuration",
    )


# ---- Resends ----


def identifiers_or_filter() -> Refusal:
    """Refuse a resend that says in two ways, or in none, which events it is about."""
    return Refusal("Specify which events to resend by either identifiers or filter.")


# ---- Meter usage ----


def invalid_time_range() -> Refusal:
    """Refuse a range that ends before it begins. The sentence is Stripe's, for all versions."""
    return Refusal(
        "Param start_time should not be greater than end_time", code="invalid_time_range"
    )


def unknown_zone(name: str) -> Refusal:
    """Refuse a time zone that is not in the database of time zones."""
    return Refusal(
        f"Invalid timezone: {quote(name)}; must be the name of an IANA time zone, such as "
        "America/New_York",
        param="timezone",
    )


def unknown_dimension(key: str, meter: str, declared: Sequence[str], param: str) -> Refusal:
    """Refuse to tell usage apart by a key that the meter does not declare."""
    has = f"its dimensions are {quote(', '.join(declared))}" if declared else "it has none"
    return Refusal(
        f"'{quote(key)}' is not a dimension of the meter {quote(meter)}; {has}. Other keys of the "
        "payload can be used as tenants.",
        param=param,
    )


def too_many_rows(rows_max: int) -> Refusal:
    """Refuse a question whose answer would be too long."""
    return Refusal(
        f"The answer would have more than {rows_max} rows. Ask for a shorter time range, a larger "
        "value_grouping_window, or fewer groups."
    )


def top_without_groups() -> Refusal:
    """Refuse the most used of groups where nothing is told apart."""
    return Refusal("Invalid top: nothing is grouped by.", param="top")


def as_of_in_future() -> Refusal:
    """Refuse to tell what will have been received."""
    return Refusal("Invalid as_of: must not be in the future.", param="as_of")


def not_acceptable() -> Refusal:
    """Refuse to answer in none of the formats that there are."""
    return Refusal(
        "Invalid Accept header: must allow application/json, text/csv or "
        "application/vnd.apache.parquet.",
        status=406,
    )


def too_large_answer(sentence: str) -> Refusal:
    """Refuse to answer with more than can be written."""
    return Refusal(sentence)


# ---- Event summaries ----


def incomplete_tenants() -> Refusal:
    """Refuse some of the parameters that filter by tenants without the others."""
    return Refusal(
        "tenant_keys, tenant_operator and tenant_values must be used together, with a list of "
        "values for each key."
    )


def unaligned_time(param: str, unit: str) -> Refusal:
    """Refuse a bound that does not begin a `unit` ("minute", "hour", "day") in UTC."""
    return Refusal(f"Invalid {param}: must be aligned with {unit} boundaries in UTC.", param=param)


def empty_range() -> Refusal:
    """Refuse a range that ends before it begins."""
    return Refusal("Invalid end_time: must be after start_time.", param="end_time")
