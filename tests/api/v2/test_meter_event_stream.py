import sys
from collections.abc import Sequence
from typing import Any

import pytest

from meterhouse.ingest.commit import Answer, StreamSubmission, Submission
from meterhouse.ledger.journal import Packed
from meterhouse.metering.model import MeterEvent
from meterhouse.wire.timestamp import print_timestamp
from tests.api.local import DAY, NOW, LocalServer
from tests.api.v2.samples import (
    HERE,
    STREAM,
    books,
    done,
    event,
    post,
    refused,
    token,
    used,
)
from tests.server import TEST_KEY


def test_a_full_request_is_taken(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    sent = {"events": [event(customer, str(number)) for number in range(1, 101)]}
    answer = post(local, STREAM, sent, key=token(local))
    assert answer.content == b"{}"
    assert done(answer) == {}
    assert used(local, meter, customer) == 5050


def test_events_wait_for_the_commit_as_bytes_alone(
    local: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    acceptor = local.meterhouse.services.acceptor
    pack, accept = acceptor.pack, acceptor.accept
    packed: list[Sequence[MeterEvent]] = []
    holders: list[int] = []

    def note_packed(events: Sequence[MeterEvent]) -> tuple[Packed, ...]:
        packed.append(events)
        return pack(events)

    async def note_holders(submission: Submission | StreamSubmission) -> Answer:
        holders.append(sys.getrefcount(packed[0]))
        return await accept(submission)

    monkeypatch.setattr(acceptor, "pack", note_packed)
    monkeypatch.setattr(acceptor, "accept", note_holders)
    done(post(local, STREAM, {"events": [event("cus_1"), event("cus_2")]}, key=token(local)))
    assert len(packed[0]) == 2
    assert holders == [2]  # the list above, and the call that counts


def test_a_secret_key_opens_the_stream_too(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    done(post(local, STREAM, {"events": [event(customer, "2.5")]}, key=TEST_KEY))
    assert used(local, meter, customer) == 2.5


def test_everything_but_the_shape_becomes_an_outcome(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    events = [
        event(customer, "1", identifier="a"),
        event(customer, "1", identifier="a"),
        event(customer, "2.5e-07"),
        event(customer, "1e-16"),
        event(customer, "x"),
        event("cus_nobody"),
        event(customer, "1" * 16),
        event(customer, timestamp=NOW - 36 * DAY),
        event(customer, timestamp=NOW + 600),
        {"event_name": "nobody", "payload": {}},
        {"event_name": "calls", "payload": {}},
        event(customer, ""),
    ]
    assert done(post(local, STREAM, {"events": events}, key=token(local))) == {}
    assert used(local, meter, customer) == 1.00000025
    counted = books(local)
    assert counted.pop("acknowledged") == len(events)
    assert counted == {
        "accepted": 2,
        "duplicate": 1,
        "no_meter": 1,
        "meter_event_customer_not_found": 1,
        "meter_event_invalid_value": 1,
        "meter_event_value_too_many_digits": 2,
        "meter_event_no_customer_defined": 1,
        "meter_event_value_not_found": 1,
        "timestamp_in_future": 1,
        "timestamp_too_far_in_past": 1,
    }


@pytest.mark.parametrize(
    "timestamp",
    [
        NOW,
        NOW + 0.5,
        str(NOW),
        print_timestamp(NOW * 1000),
        "2026-11-21T13:00:00+01:00",
        "2026-11-21T06:30:00.123456-05:30",
        None,
    ],
)
def test_timestamps_of_every_spelling(local: LocalServer, timestamp: Any) -> None:
    meter, customer = local.meter(), local.customer()
    sent = {"events": [event(customer, "7", timestamp=timestamp)]}
    done(post(local, STREAM, sent, key=token(local)))
    answer = local.summaries(meter, customer, start_time=NOW, end_time=NOW + 60)
    assert answer.json()["data"][0]["aggregated_value"] == 7


def test_values_follow_the_version(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    sent = {"events": [event(customer, "1.5")]}
    done(post(local, STREAM, sent, Stripe_Version="2025-09-30.clover"))
    done(post(local, STREAM, sent, Stripe_Version="2026-04-22.dahlia"))
    assert used(local, meter, customer) == 1.5
    assert books(local)["meter_event_invalid_value"] == 1


GOOD = event("cus_1")


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({}, "Missing required field: events."),
        ({"events": []}, "events must not be empty."),
        ({"events": [GOOD] * 101}, "events must have at most 100 items."),
        ({"events": GOOD}, "events must be an array, not an object."),
        ({"events": [GOOD, {"payload": {}}]}, "Missing required field: events[1].event_name."),
        ({"events": [{"event_name": "calls"}]}, "Missing required field: events[0].payload."),
        ({"events": [{**GOOD, "x": 1}]}, "Received unknown field: events[0].x."),
        ({"events": [GOOD], "x": 1}, "Received unknown field: x."),
        ({"events": [GOOD], "include": ["x"]}, "This property cannot be included: x."),
        (
            {"events": [GOOD, {**GOOD, "event_name": "n" * 101}]},
            "events[1].event_name must have at most 100 characters.",
        ),
        (
            {"events": [{**GOOD, "identifier": ""}]},
            "events[0].identifier must not be empty.",
        ),
        (
            {"events": [GOOD, GOOD, GOOD, event("cus_1", value=25)]},  # type: ignore[arg-type]
            "events[3].payload.value must be a string, not a number.",
        ),
        (
            {"events": [event("cus_1", "1" * 101)]},
            "events[0].payload.value must have at most 100 characters.",
        ),
        (
            {"events": [{**GOOD, "payload": {"k" * 101: "1"}}]},
            "A key of events[0].payload must have at most 100 characters.",
        ),
        (
            {"events": [{**GOOD, "payload": {str(number): "" for number in range(51)}}]},
            "events[0].payload must have at most 50 keys.",
        ),
        (
            {"events": [GOOD, {**GOOD, "timestamp": "soon"}]},
            "events[1].timestamp must be an RFC 3339 timestamp such as 2024-06-01T12:00:00.000Z.",
        ),
        (
            {"events": [{**GOOD, "timestamp": ""}]},
            "events[0].timestamp must be an RFC 3339 timestamp such as 2024-06-01T12:00:00.000Z.",
        ),
        (
            {"events": [{**GOOD, "timestamp": True}]},
            "events[0].timestamp must be a number or a string, not a boolean.",
        ),
        (
            {"events": [{**GOOD, "identifier": "a\0"}]},
            "The request body is not valid JSON: it has the character U+0000.",
        ),
        ([GOOD], "The request body must be an object, not an array."),
    ],
)
def test_a_bad_shape_is_refused_as_a_whole(
    local: LocalServer, document: Any, sentence: str
) -> None:
    error = refused(post(local, STREAM, document or {"include": []}, key=token(local)), 400)
    assert error["code"] == "invalid_fields"
    assert error["message"] == sentence
    assert "type" not in error
    assert "acknowledged" not in books(local)


def test_a_body_that_is_no_json(local: LocalServer) -> None:
    headers = HERE | {"Content-Type": "application/json"}
    error = refused(local.request("POST", STREAM, content=b"{", headers=headers), 400)
    assert error["message"].startswith("The request body is not valid JSON: ")


def test_a_sent_key_makes_a_retry_safe(local: LocalServer) -> None:
    """Given events without identifiers, when their request is repeated, then they count once."""
    meter, customer = local.meter(), local.customer()
    bearer = token(local)
    sent = {"events": [event(customer, "2")]}
    done(post(local, STREAM, sent, key=bearer, Idempotency_Key="k"))
    again = post(local, STREAM, sent, key=bearer, Idempotency_Key="k")
    assert done(again) == {}
    assert again.headers["idempotent-replayed"] == "true"
    assert used(local, meter, customer) == 2
    other = post(local, STREAM, {"events": [event(customer, "3")]}, Idempotency_Key="k")
    error = refused(other, 400)
    assert (error["type"], error["code"]) == ("idempotency_error", "idempotency_error")
