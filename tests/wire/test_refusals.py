import json

import pytest

from meterhouse.errors import Refusal
from meterhouse.wire import envelope, refusals


@pytest.mark.parametrize(
    ("refusal", "status", "code", "message"),
    [
        (
            refusals.meter_exists("credit_usage"),
            400,
            None,
            (
                "An active meter already exists for event name 'credit_usage'. To "
                "create a new meter with the same event name, first deactivate the "
                "currently active meter."
            ),
        ),
        (
            refusals.no_active_meter("tokens"),
            400,
            None,
            'No active meter found for event name "tokens".',
        ),
        (
            refusals.timestamp_too_old(1758141836),
            400,
            None,
            (
                "The event timestamp cannot be more than 35 days in past. Expected a "
                "timestamp greater than or equal to 1758141836."
            ),
        ),
        (
            refusals.timestamp_in_future(),
            400,
            None,
            "The event timestamp cannot be in future.",
        ),
        (
            refusals.value_too_many_digits("1234567890123456", 15),
            400,
            "meter_event_value_too_many_digits",
            "The value in the event payload can have at most 15 digits. Received 1234567890123456.",
        ),
    ],
)
def test_words(refusal: Refusal, status: int, code: str | None, message: str) -> None:
    assert (refusal.status, refusal.code, refusal.message) == (status, code, message)


def test_a_duplicate_has_no_code_and_is_not_sent_again() -> None:
    refusal = refusals.duplicate_identifier("identifier_123")
    assert json.loads(envelope.error_v1(refusal)) == {
        "error": {
            "message": "An event already exists with identifier identifier_123.",
            "type": "invalid_request_error",
        }
    }
    assert refusal.headers == {"Stripe-Should-Retry": "false"}
