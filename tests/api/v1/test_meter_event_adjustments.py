from typing import Any

import httpx
import pytest
import stripe

from tests.api.local import DAY, NOW, LocalServer
from tests.api.samples import error_of, make_customer, make_meter, send, total

PATH = "/v1/billing/meter_event_adjustments"


def cancel(client: stripe.StripeClient, identifier: str, event_name: str = "calls") -> Any:
    return client.v1.billing.meter_event_adjustments.create(
        {"event_name": event_name, "type": "cancel", "cancel": {"identifier": identifier}}
    )


def test_a_cancellation(client: stripe.StripeClient) -> None:
    meter, customer = make_meter(client), make_customer(client)
    send(client, customer, "2", identifier="two")
    send(client, customer, "40", identifier="forty")
    assert cancel(client, "two").to_dict() == {
        "object": "billing.meter_event_adjustment",
        "cancel": {"identifier": "two"},
        "event_name": "calls",
        "livemode": False,
        "status": "pending",
        "type": "cancel",
    }
    assert total(client, meter, customer) == 40
    assert cancel(client, "two").status == "complete"
    assert total(client, meter, customer) == 40


def test_an_identifier_stays_taken_when_its_event_is_cancelled(
    client: stripe.StripeClient,
) -> None:
    make_meter(client)
    customer = make_customer(client)
    send(client, customer, "2", identifier="two")
    cancel(client, "two")
    with pytest.raises(stripe.InvalidRequestError, match="already exists with identifier two"):
        send(client, customer, "2", identifier="two")


@pytest.mark.parametrize(
    ("data", "message", "param"),
    [
        ({"event_name": ""}, None, "event_name"),
        ({"event_name": None}, "Missing required param: event_name.", "event_name"),
        ({"type": None}, "Missing required param: type.", "type"),
        ({"type": "undo"}, "Invalid type: must be one of cancel", "type"),
        (
            {"cancel[identifier]": None},
            "Missing required param: cancel[identifier].",
            "cancel[identifier]",
        ),
        (
            {"cancel[identifier]": "unknown"},
            "No meter event found with identifier unknown.",
            "cancel[identifier]",
        ),
        (
            {"event_name": "other"},
            "No meter event found with identifier one.",
            "cancel[identifier]",
        ),
        (
            {"cancel[identifier]": "rejected"},
            "No meter event found with identifier rejected.",
            "cancel[identifier]",
        ),
        ({"cancel[foo]": "1"}, "Received unknown parameter: cancel[foo]", "cancel[foo]"),
        ({"expand[]": "cancel"}, "This property cannot be expanded (cancel).", None),
    ],
)
def test_what_is_refused(
    client: stripe.StripeClient,
    http: httpx.Client,
    data: dict[str, str | None],
    message: str | None,
    param: str | None,
) -> None:
    make_meter(client)
    make_meter(client, "other")
    send(client, make_customer(client), "1", identifier="one")
    send(client, "cus_unknown", "1", identifier="rejected")
    good = {"event_name": "calls", "type": "cancel", "cancel[identifier]": "one"}
    sent = {name: value for name, value in {**good, **data}.items() if value is not None}
    error = error_of(http.post(PATH, data=sent), 400)
    assert error.get("param") == param
    if message:
        assert error["message"] == message


def test_only_what_was_received_in_the_last_24_hours(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    for identifier in ("one", "two"):
        local.create(
            "/v1/billing/meter_events",
            data={
                "event_name": "calls",
                "identifier": identifier,
                "timestamp": str(NOW - 2 * DAY),  # when it was used does not matter
                "payload[value]": "1",
                "payload[stripe_customer_id]": customer,
            },
        )

    def answer(identifier: str) -> httpx.Response:
        data = {"event_name": "calls", "type": "cancel", "cancel[identifier]": identifier}
        return local.request("POST", PATH, data=data)

    local.later(DAY * 1000)
    assert answer("one").json()["status"] == "pending"
    local.later(1)
    assert error_of(answer("two"), 400) == {
        "message": "The meter event with identifier two cannot be cancelled because it was "
        "received more than 24 hours ago.",
        "param": "cancel[identifier]",
        "type": "invalid_request_error",
    }
    assert local.summaries(meter, customer).json()["data"][0]["aggregated_value"] == 1
    assert answer("one").json()["status"] == "complete"


def test_an_identifier_that_was_used_again_names_the_newest_event(local: LocalServer) -> None:
    """Given one after the window of deduplication that is cancelled at once, then it is that."""
    local.meter()
    customer = local.customer()
    data = {
        "event_name": "calls",
        "identifier": "one",
        "payload[value]": "1",
        "payload[stripe_customer_id]": customer,
    }
    for _ in range(2):
        local.create("/v1/billing/meter_events", data=data)
        asked = {"event_name": "calls", "type": "cancel", "cancel[identifier]": "one"}
        assert local.request("POST", PATH, data=asked).json()["status"] == "pending"
        local.later(36 * DAY * 1000)


@pytest.mark.parametrize("window", [None, "day", "hour"])
@pytest.mark.parametrize(
    ("formula", "raw", "windowed"),
    [
        ("sum", (7, 3, 1), (4, 2, 1)),
        ("count", (3, 2, 1), (1, 1, 1)),
        ("last", (4, 2, 1), (4, 2, 1)),
    ],
)
def test_every_kind_of_meter(
    local: LocalServer,
    formula: str,
    window: str | None,
    raw: tuple[int, ...],
    windowed: tuple[int, ...],
) -> None:
    """Given events of 1, 2 and 4, when they are cancelled last first, the one before counts."""
    extra = {"default_aggregation[formula]": formula}
    meter = local.meter(**extra, **({"event_time_window": window} if window else {}))
    customer = local.customer()
    for number, value in enumerate(("1", "2", "4")):
        local.create(
            "/v1/billing/meter_events",
            data={
                "event_name": "calls",
                "identifier": value,
                "timestamp": str(NOW - 600 + number),
                "payload[value]": value,
                "payload[stripe_customer_id]": customer,
            },
        )
    found = []
    for identifier in ("4", "2", "1"):
        found.append(local.summaries(meter, customer).json()["data"][0]["aggregated_value"])
        data = {"event_name": "calls", "type": "cancel", "cancel[identifier]": identifier}
        local.create(PATH, data=data)
    assert tuple(found) == (windowed if window else raw)
    assert local.summaries(meter, customer).json()["data"][0]["aggregated_value"] == 0


def test_an_event_of_a_meter_that_was_deactivated_since(client: stripe.StripeClient) -> None:
    """Two meters share a name, one after the other; each event is cancelled on its own meter."""
    customer = make_customer(client)
    meters = []
    for number in range(2):
        meters.append(make_meter(client))
        send(client, customer, str(number + 1), identifier=str(number))
        client.v1.billing.meters.deactivate(meters[-1])
    assert cancel(client, "0").status == "pending"
    assert [total(client, meter, customer) for meter in meters] == [0, 2]
