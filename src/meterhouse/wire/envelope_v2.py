"""Errors as API v2 carries them, and the refusals that only v2 has.

`error_v2` turns any refusal into the body of the answer. `code` and `message` always stand in it;
the errors that v2 documents by name for an endpoint have nothing else, and their sentences are
those of Stripe's schema, `v2.error.<code>`
(https://docs.stripe.com/api-v2-overview, https://docs.stripe.com/api/v2/errors).
"""

from meterhouse.errors import Refusal
from meterhouse.limits import SESSION_MINUTES
from meterhouse.wire.body import to_json
from meterhouse.wire.envelope import doc_url, error_v1, quote
from meterhouse.wire.version import Api

_INVALID_FIELDS = "invalid_fields"

# The code of an error where the refusal itself names none.
_CODES: dict[int, str] = {
    400: _INVALID_FIELDS,
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    408: "request_timeout",
    409: "conflict",
    413: "request_too_large",
    415: "unsupported_media_type",
    429: "rate_limit",
}

# Errors that an endpoint documents by name: they have a code and a sentence, and nothing else.
_SENTENCES: dict[str, str] = {
    "archived_meter": "The meter must be Active to submit events.",
    "duplicate_meter_event": (
        "A meter event with a duplicate identifier has already been submitted."
    ),
    "no_meter": "A meter must exist to submit events.",
    "payload_invalid_value": "The value must be a positive integer.",
    "payload_no_customer_defined": "The payload must have a reference to the customer.",
    "payload_no_value_defined": "The payload must have a value.",
    "too_many_concurrent_requests": (
        "Cannot create multiple usage events for the same customer, meter concurrently."
    ),
}
_INVALID_CANCEL = "invalid_cancel_configuration"
_MISMATCH = "An idempotent retry occurred with different request parameters."


def error_of(refusal: Refusal, api: Api) -> bytes:
    """Return the body of a refused request in the shape of the API that was asked."""
    return error_v1(refusal) if api == "v1" else error_v2(refusal)


def error_v2(refusal: Refusal) -> bytes:
    """Return the body of a refused v2 request.

    SDKs know an error by its `type`, and one of fields, which has none, by its `invalid_fields`.
    That is the code of whatever v1 says about a parameter; its name goes into the sentence, as v2
    has no `param`.
    """
    field = refusal.param if refusal.v2_code is None else None
    code = refusal.v2_code or (refusal.code if field is None else _INVALID_FIELDS)
    code = code or _CODES.get(refusal.status, refusal.type)
    if code in _SENTENCES:
        return to_json({"error": {"code": code, "message": _SENTENCES[code]}})
    if code == _INVALID_CANCEL:
        return to_json({"error": {"code": code, "message": refusal.message}})
    message = _MISMATCH if code == "idempotency_error" else refusal.message
    if field is not None and field not in message:
        message = f"{field}: {message}"
    error = {"code": code, "doc_url": doc_url(code), "message": message}
    if code != _INVALID_FIELDS:
        error["type"] = code if code == "rate_limit" else refusal.type
    return to_json({"error": error})


# ---- The request as a whole ----


def missing_version() -> Refusal:
    """Refuse a request without the header `Stripe-Version`, which v2 has no default for."""
    return Refusal(
        "Requests to API v2 must name the API version in the header Stripe-Version, such as "
        "'Stripe-Version: 2026-10-28.endive'."
    )


def not_json() -> Refusal:
    """Refuse a body of another content type."""
    return Refusal("The request must have the content type application/json.")


def malformed_json(problem: str) -> Refusal:
    """Refuse a body that is not JSON; `problem` says where."""
    return Refusal(f"The request body is not valid JSON: {quote(problem)}.")


def invalid_field(sentence: str) -> Refusal:
    """Refuse a field that is missing, unknown or not as it must be; `sentence` names its place."""
    return Refusal(quote(sentence))


def unknown_query(name: str) -> Refusal:
    """Refuse a parameter of the query string that the endpoint does not have."""
    return Refusal(f"Received unknown query parameter: {quote(name)}.")


def cannot_include(name: str) -> Refusal:
    """Refuse to include in the answer what it does not offer (`include` of API v2)."""
    return Refusal(f"This property cannot be included: {quote(name)}.")


# ---- Sessions of the meter event stream ----


def session_expired() -> Refusal:
    """Refuse the token of a session that is over; its owner makes a new one and goes on.

    The status is 400: with 401, older Node SDKs take it for an invalid API key.
    """
    return Refusal(
        "The temporary session token has expired. A meter event session lasts "
        f"{SESSION_MINUTES} minutes; create a new one.",
        type="temporary_session_expired",
        code="billing_meter_event_session_expired",
    )


# ---- Event destinations: https://docs.stripe.com/api/v2/core/event-destinations ----


def unsupported_destination(type_: str) -> Refusal:
    """Refuse a type of destination that only Stripe itself can deliver to."""
    return Refusal(
        f"Event destinations of the type {quote(type_)} are not supported by this server. Use "
        "webhook_endpoint."
    )


# ---- Meter events: https://docs.stripe.com/api/v2/billing/meter-event ----


def meter_event_refused(code: str) -> Refusal:
    """Refuse a meter event for one of the reasons that the endpoint documents by `code`."""
    return Refusal(_SENTENCES[code], v2_code=code)


def too_many_concurrent_requests() -> Refusal:
    """Refuse a meter event while another of the same customer and meter is on its way."""
    code = "too_many_concurrent_requests"
    return Refusal(_SENTENCES[code], status=409, v2_code=code)


# ---- Adjustments: https://docs.stripe.com/api/v2/billing/meter-event-adjustment ----


def invalid_cancel_configuration() -> Refusal:
    """Refuse an adjustment that does not say which event to cancel."""
    return Refusal(
        "The adjustment configuration is invalid for the adjustment type.", v2_code=_INVALID_CANCEL
    )
