from typing import Any

import httpx
import pytest

from meterhouse import limits
from tests.api.local import HOUR, LocalServer
from tests.api.v2.samples import (
    ADJUSTMENTS,
    EVENTS,
    HERE,
    STREAM,
    at,
    done,
    event,
    post,
    refused,
    used,
)


def cancel(identifier: str = "a", **changes: Any) -> dict[str, Any]:
    wanted = {"event_name": "calls", "type": "cancel", "cancel": {"identifier": identifier}}
    return wanted | changes


@pytest.mark.parametrize("path", [EVENTS, STREAM])
def test_an_event_is_cancelled(local: LocalServer, path: str) -> None:
    """Given an event, alone or of a stream, when it is cancelled at once, then it is out."""
    meter, customer = local.meter(), local.customer()
    one = event(customer, "25", identifier="a")
    done(post(local, path, {"events": [one, event(customer)]} if path == STREAM else one))
    adjustment = done(post(local, ADJUSTMENTS, cancel()))
    assert adjustment.pop("id").startswith("mea_test_61")
    assert adjustment == {
        "object": "v2.billing.meter_event_adjustment",
        "cancel": {"identifier": "a"},
        "created": at(0),
        "event_name": "calls",
        "livemode": False,
        "status": "pending",
        "type": "cancel",
    }
    assert used(local, meter, customer) == (1 if path == STREAM else 0)


def test_asking_again_tells_how_far_it_is(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    done(post(local, EVENTS, event(customer, identifier="a")))
    first = done(post(local, ADJUSTMENTS, cancel()))
    assert used(local, meter, customer) == 0
    assert done(post(local, ADJUSTMENTS, cancel())) == first | {"status": "complete"}


@pytest.mark.parametrize("given", [None, {}, {"identifier": None}])
def test_a_cancellation_without_an_event(local: LocalServer, given: Any) -> None:
    error = refused(post(local, ADJUSTMENTS, cancel(cancel=given)), 400)
    assert error == {
        "code": "invalid_cancel_configuration",
        "message": "The adjustment configuration is invalid for the adjustment type.",
    }


def test_an_event_that_cannot_be_cancelled(local: LocalServer) -> None:
    local.meter()
    customer = local.customer()
    error = refused(post(local, ADJUSTMENTS, cancel("nobody")), 400)
    assert error == {
        "code": "invalid_cancel_configuration",
        "message": "No meter event found with identifier nobody.",
    }
    done(post(local, EVENTS, event(customer, identifier="a")))
    local.later(24 * HOUR * 1000 + 1)
    error = refused(post(local, ADJUSTMENTS, cancel()), 400)
    assert error["code"] == "invalid_cancel_configuration"
    assert "more than 24 hours ago" in error["message"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"type": "range"}, "type has a value that it cannot have: 'range'."),
        ({"cancel": {"identifier": 1}}, "cancel.identifier must be a string, not a number."),
        ({"cancel": {"id": "a"}}, "Received unknown field: cancel.id."),
        ({"event_name": None}, "event_name must be a string, not null."),
        ({"event_name": ""}, "event_name must not be empty."),
    ],
)
def test_a_bad_shape(local: LocalServer, changes: dict[str, Any], sentence: str) -> None:
    error = refused(post(local, ADJUSTMENTS, cancel(**changes)), 400)
    assert (error["code"], error["message"]) == ("invalid_fields", sentence)


def test_an_event_that_is_not_judged_in_time(
    local: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given an event of a stream that nobody has judged yet, then its sender may ask again."""
    meter, customer = local.meter(), local.customer()

    async def while_nothing_is_processed() -> httpx.Response:
        async with local.meterhouse._processor.still():
            stream = {"events": [event(customer, identifier="a")]}
            await local.ask("POST", STREAM, json=stream, headers=HERE)
            return await local.ask("POST", ADJUSTMENTS, json=cancel(), headers=HERE)

    monkeypatch.setattr(limits, "CONSISTENCY_WAIT_SECONDS_MAX", 0.01)
    refused(local.run(while_nothing_is_processed()), 503)
    monkeypatch.undo()
    done(post(local, ADJUSTMENTS, cancel()))
    assert used(local, meter, customer) == 0
