from typing import Any

import httpx
import pytest

from meterhouse import limits
from tests.api.services import HOUR, Services
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
def test_an_event_is_cancelled(services: Services, path: str) -> None:
    """Given an event, alone or of a stream, when it is cancelled at once, then it is out."""
    meter, customer = services.meter(), services.customer()
    one = event(customer, "25", identifier="a")
    done(post(services, path, {"events": [one, event(customer)]} if path == STREAM else one))
    adjustment = done(post(services, ADJUSTMENTS, cancel()))
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
    assert used(services, meter, customer) == (1 if path == STREAM else 0)


def test_asking_again_tells_how_far_it_is(services: Services) -> None:
    meter, customer = services.meter(), services.customer()
    done(post(services, EVENTS, event(customer, identifier="a")))
    first = done(post(services, ADJUSTMENTS, cancel()))
    assert used(services, meter, customer) == 0
    assert done(post(services, ADJUSTMENTS, cancel())) == first | {"status": "complete"}


@pytest.mark.parametrize("given", [None, {}, {"identifier": None}])
def test_a_cancellation_without_an_event(services: Services, given: Any) -> None:
    error = refused(post(services, ADJUSTMENTS, cancel(cancel=given)), 400)
    assert error == {
        "code": "invalid_cancel_configuration",
        "message": "The adjustment configuration is invalid for the adjustment type.",
    }


def test_an_event_that_cannot_be_cancelled(services: Services) -> None:
    services.meter()
    customer = services.customer()
    error = refused(post(services, ADJUSTMENTS, cancel("nobody")), 400)
    assert error == {
        "code": "invalid_cancel_configuration",
        "message": "No meter event found with identifier nobody.",
    }
    done(post(services, EVENTS, event(customer, identifier="a")))
    services.later(24 * HOUR * 1000 + 1)
    error = refused(post(services, ADJUSTMENTS, cancel()), 400)
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
def test_a_bad_shape(services: Services, changes: dict[str, Any], sentence: str) -> None:
    error = refused(post(services, ADJUSTMENTS, cancel(**changes)), 400)
    assert (error["code"], error["message"]) == ("invalid_fields", sentence)


def test_an_event_that_is_not_judged_in_time(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given an event of a stream that nobody has judged yet, then its sender may ask again."""
    meter, customer = services.meter(), services.customer()

    async def while_nothing_is_processed() -> httpx.Response:
        async with services.meterhouse.services.processor.still():
            stream = {"events": [event(customer, identifier="a")]}
            await services.ask("POST", STREAM, json=stream, headers=HERE)
            return await services.ask("POST", ADJUSTMENTS, json=cancel(), headers=HERE)

    monkeypatch.setattr(limits, "CONSISTENCY_WAIT_SECONDS_MAX", 0.01)
    refused(services.run(while_nothing_is_processed()), 503)
    monkeypatch.undo()
    done(post(services, ADJUSTMENTS, cancel()))
    assert used(services, meter, customer) == 0
