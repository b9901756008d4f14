from pathlib import Path
from typing import Any

import pytest

from tests.api.local import DAY, NOW, LocalServer, local_server
from tests.api.v2.samples import EVENTS, at, books, done, event, post, refused, used
from tests.server import LIVE_KEY


@pytest.mark.parametrize(
    ("timestamp", "shown"),
    [
        (None, at(0)),
        (NOW - 60, at(-60)),
        (str(NOW - 60), at(-60)),
        ("2026-11-21T12:59:59.25+01:00", at(-0.75)),
        (at(299), at(299)),
    ],
)
def test_an_event_is_shown_as_it_was_taken(local: LocalServer, timestamp: Any, shown: str) -> None:
    meter, customer = local.meter(), local.customer()
    sent = event(customer, "25", identifier="identifier_123", timestamp=timestamp, include=[])
    assert done(post(local, EVENTS, sent)) == {
        "object": "v2.billing.meter_event",
        "created": at(0),
        "event_name": "calls",
        "identifier": "identifier_123",
        "livemode": False,
        "payload": {"stripe_customer_id": customer, "value": "25"},
        "timestamp": shown,
    }
    assert used(local, meter, customer) == 25


def test_an_identifier_is_made(local: LocalServer) -> None:
    local.meter()
    first, second = (done(post(local, EVENTS, event("cus_1")))["identifier"] for _ in range(2))
    assert first != second


def test_what_is_refused_by_name(local: LocalServer) -> None:
    old = local.meter("old")
    local.create(f"/v1/billing/meters/{old}/deactivate")
    local.meter()
    local.meter("own", **{"value_settings[event_payload_key]": "tokens"})
    done(post(local, EVENTS, event("cus_1", identifier="a")))
    nobody = {"event_name": "calls", "payload": {"value": "1"}}
    nothing = {"event_name": "calls", "payload": {"stripe_customer_id": "cus_1"}}
    for sent, code, message in [
        (
            {**nobody, "event_name": "old"},
            "archived_meter",
            "The meter must be Active to submit events.",
        ),
        ({**nobody, "event_name": "x"}, "no_meter", "A meter must exist to submit events."),
        (
            nobody,
            "payload_no_customer_defined",
            "The payload must have a reference to the customer.",
        ),
        (nothing, "payload_no_value_defined", "The payload must have a value."),
        (
            event("cus_1", event_name="own"),
            "payload_no_value_defined",
            "The payload must have a value.",
        ),
        (event("cus_1", "x"), "payload_invalid_value", "The value must be a positive integer."),
        (
            event("cus_1", "1" * 16),
            "payload_invalid_value",
            "The value must be a positive integer.",
        ),
        (
            event("cus_1", identifier="a"),
            "duplicate_meter_event",
            "A meter event with a duplicate identifier has already been submitted.",
        ),
    ]:
        answer = post(local, EVENTS, sent)
        assert answer.status_code == 400
        assert answer.json() == {"error": {"code": code, "message": message}}
    assert books(local)["acknowledged"] == 1


def test_a_meter_that_counts_needs_no_value(local: LocalServer) -> None:
    meter = local.meter("hits", **{"default_aggregation[formula]": "count"})
    customer = local.customer()
    done(post(local, EVENTS, {"event_name": "hits", "payload": {"stripe_customer_id": customer}}))
    assert used(local, meter, customer) == 1


def test_an_unknown_customer_is_an_outcome(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    done(post(local, EVENTS, event("cus_nobody")))
    assert used(local, meter, customer) == 0
    assert books(local)["meter_event_customer_not_found"] == 1


@pytest.mark.parametrize(
    ("timestamp", "sentence"),
    [
        (NOW - 35 * DAY - 1, "The event timestamp cannot be more than 35 days in past. Expected"),
        (NOW + 301, "The event timestamp cannot be in future."),
        ("soon", "timestamp must be an RFC 3339 timestamp"),
    ],
)
def test_a_timestamp_out_of_bounds(local: LocalServer, timestamp: Any, sentence: str) -> None:
    local.meter()
    error = refused(post(local, EVENTS, event("cus_1", timestamp=timestamp)), 400)
    assert error["code"] == "invalid_fields"
    assert error["message"].startswith(sentence)


def test_whole_numbers_where_the_version_says_so(local: LocalServer) -> None:
    local.meter()
    done(post(local, EVENTS, event("cus_1", "1.5")))
    old = post(local, EVENTS, event("cus_1", "1.5"), Stripe_Version="2024-09-30.acacia")
    assert refused(old, 400)["code"] == "payload_invalid_value"


def test_whole_numbers_where_the_setting_says_so(tmp_path: Path) -> None:
    with local_server(tmp_path, values="whole") as local:
        local.meter()
        error = refused(post(local, EVENTS, event("cus_1", "1.5")), 400)
        assert error["code"] == "payload_invalid_value"


def test_v1_and_v2_share_identifiers(local: LocalServer) -> None:
    local.meter()
    done(post(local, EVENTS, event("cus_1", identifier="a")))
    form = {"event_name": "calls", "identifier": "a", "payload[value]": "1"}
    answer = local.request("POST", "/v1/billing/meter_events", data=form)
    assert answer.json()["error"]["message"] == "An event already exists with identifier a."
    live = refused(post(local, EVENTS, event("cus_1", identifier="a"), key=LIVE_KEY), 400)
    assert live["code"] == "no_meter"
