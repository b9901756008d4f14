import json

import pytest

from meterhouse.errors import Refusal
from meterhouse.wire import envelope, refusals
from meterhouse.wire.envelope_v2 import (
    error_v2,
    invalid_cancel_configuration,
    meter_event_refused,
    session_expired,
    too_many_concurrent_requests,
)


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (
            envelope.wrong_content_type(),
            {
                "code": "invalid_fields",
                "doc_url": "https://stripe.com/docs/error-codes/invalid-fields",
                "message": envelope.wrong_content_type().message,
            },
        ),
        (
            envelope.unrecognized_url("GET", "/v2/x"),
            {
                "code": "not_found",
                "doc_url": "https://stripe.com/docs/error-codes/not-found",
                "message": envelope.unrecognized_url("GET", "/v2/x").message,
                "type": "invalid_request_error",
            },
        ),
        (
            envelope.api_error(),
            {
                "code": "api_error",
                "doc_url": "https://stripe.com/docs/error-codes/api-error",
                "message": envelope.api_error().message,
                "type": "api_error",
            },
        ),
    ],
)
def test_v2(refusal: Refusal, error: dict[str, str]) -> None:
    assert json.loads(error_v2(refusal)) == {"error": error}


def test_an_expired_session_has_all_four_members() -> None:
    refusal = session_expired()
    assert refusal.status == 400
    assert json.loads(error_v2(refusal))["error"] == {
        "code": "billing_meter_event_session_expired",
        "doc_url": "https://stripe.com/docs/error-codes/billing-meter-event-session-expired",
        "message": refusal.message,
        "type": "temporary_session_expired",
    }


@pytest.mark.parametrize(
    ("refusal", "status", "code", "message"),
    [
        (
            meter_event_refused("archived_meter"),
            400,
            "archived_meter",
            "The meter must be Active to submit events.",
        ),
        (
            refusals.duplicate_identifier("a"),
            400,
            "duplicate_meter_event",
            "A meter event with a duplicate identifier has already been submitted.",
        ),
        (
            refusals.no_active_meter("a"),
            400,
            "no_meter",
            "A meter must exist to submit events.",
        ),
        (
            refusals.value_too_many_digits("1" * 16, 15),
            400,
            "payload_invalid_value",
            "The value must be a positive integer.",
        ),
        (
            meter_event_refused("payload_no_customer_defined"),
            400,
            "payload_no_customer_defined",
            "The payload must have a reference to the customer.",
        ),
        (
            meter_event_refused("payload_no_value_defined"),
            400,
            "payload_no_value_defined",
            "The payload must have a value.",
        ),
        (
            too_many_concurrent_requests(),
            409,
            "too_many_concurrent_requests",
            "Cannot create multiple usage events for the same customer, meter concurrently.",
        ),
        (
            invalid_cancel_configuration(),
            400,
            "invalid_cancel_configuration",
            "The adjustment configuration is invalid for the adjustment type.",
        ),
        (
            refusals.no_event_to_cancel("a"),
            400,
            "invalid_cancel_configuration",
            "No meter event found with identifier a.",
        ),
    ],
)
def test_an_error_of_an_endpoint_has_a_code_and_a_message(
    refusal: Refusal, status: int, code: str, message: str
) -> None:
    assert refusal.status == status
    assert json.loads(error_v2(refusal)) == {"error": {"code": code, "message": message}}


@pytest.mark.parametrize(
    ("refusal", "code", "type_"),
    [
        (envelope.idempotency_mismatch("k"), "idempotency_error", "idempotency_error"),
        (envelope.idempotency_in_use("k"), "idempotency_key_in_use", "idempotency_error"),
        (envelope.rate_limited("global-rate"), "rate_limit", "rate_limit"),
        (envelope.overloaded(), "rate_limit", "rate_limit"),
        (envelope.invalid_api_key("sk_****"), "unauthorized", "invalid_request_error"),
    ],
)
def test_clients_know_an_error_by_its_type(refusal: Refusal, code: str, type_: str) -> None:
    error = json.loads(error_v2(refusal))["error"]
    assert (error["code"], error["type"]) == (code, type_)


def test_another_request_under_a_key_is_told_in_the_words_of_v2() -> None:
    error = json.loads(error_v2(envelope.idempotency_mismatch("k")))["error"]
    assert error["message"] == ("An idempotent retry occurred with different request parameters.")
