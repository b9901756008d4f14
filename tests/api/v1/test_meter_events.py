import re
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from meterhouse import limits
from meterhouse.usage.store import UsageStore
from tests.api.local import DAY, NOW, LocalServer, local_server
from tests.api.samples import (
    connect,
    error_of,
    make_customer,
    make_meter,
    send,
    total,
)
from tests.server import LIVE_KEY, Server

PATH = "/v1/billing/meter_events"
BEFORE_DECIMALS = "2026-03-25.dahlia"


def event(**extra: str) -> dict[str, str]:
    return {"event_name": "calls", "payload[value]": "1", **extra}


# ---- What a good event is answered ----


def test_an_event_with_everything(client: stripe.StripeClient) -> None:
    make_meter(client)
    customer = make_customer(client)
    instant = client.v1.customers.retrieve(customer).created - 60
    made = client.v1.billing.meter_events.create(
        {
            "event_name": "calls",
            "identifier": "i" * 100,
            "timestamp": instant,
            "payload": {"stripe_customer_id": customer, "value": "25", "model": "große 🎩"},
        }
    )
    document = made.to_dict()
    assert document.pop("created") >= instant
    assert document == {
        "object": "billing.meter_event",
        "event_name": "calls",
        "identifier": "i" * 100,
        "livemode": False,
        "payload": {"stripe_customer_id": customer, "value": "25", "model": "große 🎩"},
        "timestamp": instant,
    }


def test_what_an_event_need_not_say(client: stripe.StripeClient) -> None:
    make_meter(client)
    customer = make_customer(client)
    first, second = (send(client, customer, "1") for _ in range(2))
    assert uuid.UUID(first.identifier) != uuid.UUID(second.identifier)
    assert first.timestamp == first.created


# ---- What is refused in the request ----


@pytest.mark.parametrize(
    ("data", "message", "code", "param"),
    [
        (
            {"payload[value]": "1"},
            "Missing required param: event_name.",
            "parameter_missing",
            "event_name",
        ),
        (
            {"event_name": "calls"},
            "Missing required param: payload.",
            "parameter_missing",
            "payload",
        ),
        (event(foo="1"), "Received unknown parameter: foo", "parameter_unknown", "foo"),
        (
            {"event_name": "calls", "payload": "1"},
            "Invalid object",
            None,
            "payload",
        ),
        (
            {"event_name": "calls", "payload[]": "1"},
            "Invalid object",
            None,
            "payload",
        ),
        (
            event(**{"payload[a][b]": "1"}),
            'Invalid string: {"b":"1"}',
            None,
            "payload[a]",
        ),
        (
            event(timestamp="soon"),
            "Invalid integer: soon",
            "parameter_invalid_integer",
            "timestamp",
        ),
        (event(timestamp="1.5"), "Invalid integer: 1.5", "parameter_invalid_integer", "timestamp"),
        (
            event(identifier="i" * 101),
            f"Invalid string: {'i' * 101}; must be at most 100 characters",
            "parameter_invalid_string_too_long",
            "identifier",
        ),
        (
            event(event_name="e" * 101),
            f"Invalid string: {'e' * 101}; must be at most 100 characters",
            "parameter_invalid_string_too_long",
            "event_name",
        ),
        (
            event(**{"payload[note]": "v" * 101}),
            f"Invalid string: {'v' * 101}; must be at most 100 characters",
            "parameter_invalid_string_too_long",
            "payload[note]",
        ),
        (
            event(**{f"payload[{'k' * 101}]": "v"}),
            f"Invalid string: {'k' * 101}; must be at most 100 characters",
            "parameter_invalid_string_too_long",
            "payload",
        ),
        (
            event(**{f"payload[{number}]": "v" for number in range(50)}),
            "Invalid payload: must have at most 50 items",
            None,
            "payload",
        ),
        (
            event(**{"expand[]": "payload"}),
            "This property cannot be expanded (payload).",
            None,
            None,
        ),
        (
            event(event_name="no such"),
            'No active meter found for event name "no such".',
            None,
            None,
        ),
        (
            event(**{"payload[value]": "1234567890.123456"}),
            (
                "The value in the event payload can have at most 15 digits. "
                "Received 1234567890.123456."
            ),
            "meter_event_value_too_many_digits",
            "payload",
        ),
        *(
            (
                event(**{"payload[value]": text}),
                f"The value in the event payload can have at most 15 digits. Received {text}.",
                "meter_event_value_too_many_digits",
                "payload",
            )
            for text in ("1e15", "1e-16", "1E999999999", "1e-" + "9" * 97)
        ),
    ],
)
def test_what_is_refused(
    client: stripe.StripeClient,
    http: httpx.Client,
    data: dict[str, str],
    message: str,
    code: str | None,
    param: str | None,
) -> None:
    make_meter(client)
    error = error_of(http.post(PATH, data=data), 400)
    assert error["type"] == "invalid_request_error"
    assert (error["message"], error.get("code"), error.get("param")) == (message, code, param)


def test_an_inactive_meter_takes_no_events(client: stripe.StripeClient) -> None:
    meter = make_meter(client)
    customer = make_customer(client)
    client.v1.billing.meters.deactivate(meter)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        send(client, customer, "1")
    assert caught.value.user_message == 'No active meter found for event name "calls".'
    client.v1.billing.meters.reactivate(meter)
    send(client, customer, "2")
    assert total(client, meter, customer) == 2


def test_an_identifier_is_taken_once(client: stripe.StripeClient) -> None:
    meter = make_meter(client)
    make_meter(client, "other")
    customer = make_customer(client)
    send(client, customer, "1", identifier="one")
    for event_name in ("calls", "other"):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            send(client, customer, "1", event_name, identifier="one")
        assert caught.value.http_status == 400
        assert caught.value.user_message == "An event already exists with identifier one."
        assert caught.value.code is None
        assert '"code"' not in str(caught.value.http_body)
        assert (caught.value.headers or {})["stripe-should-retry"] == "false"
    send(client, customer, "1", identifier="ONE")
    assert total(client, meter, customer) == 2


def test_accounts_do_not_share_identifiers(server: Server, client: stripe.StripeClient) -> None:
    platform = connect(server)
    for one in (client, platform):
        make_meter(one, "shared identifiers")
        send(one, make_customer(one), "1", "shared identifiers", identifier="shared")


def test_timestamps_are_bounded(local: LocalServer) -> None:
    local.meter()

    def answer(timestamp: int) -> Any:
        return local.request("POST", PATH, data=event(timestamp=str(timestamp))).json()

    oldest = NOW - 35 * DAY
    assert answer(oldest)["timestamp"] == oldest
    assert answer(NOW + 300)["timestamp"] == NOW + 300
    assert answer(oldest - 1)["error"] == {
        "message": "The event timestamp cannot be more than 35 days in past. Expected a timestamp "
        f"greater than or equal to {oldest}.",
        "param": "timestamp",
        "type": "invalid_request_error",
    }
    assert answer(NOW + 301)["error"] == {
        "message": "The event timestamp cannot be in future.",
        "param": "timestamp",
        "type": "invalid_request_error",
    }
    local.clock.advance(1)  # within a second, the earliest timestamp is the next whole one
    assert answer(oldest)["error"]["message"].endswith(f" {oldest + 1}.")
    assert answer(oldest + 1)["timestamp"] == oldest + 1


# ---- How long identifiers stay taken ----


def test_an_identifier_is_free_after_the_window_of_deduplication(tmp_path: Path) -> None:
    with local_server(tmp_path, deduplication_days="2") as local:
        meter, customer = local.meter(), local.customer()
        data = event(identifier="one", **{"payload[stripe_customer_id]": customer})
        assert local.create(PATH, data=data)
        free = (NOW // DAY + 3) * DAY * 1000  # when the second day after this one is over
        local.later(free - 1 - local.clock.now())
        error_of(local.request("POST", PATH, data=data), 400)
        local.later(1)
        assert local.create(PATH, data=data)
        assert local.summaries(meter, customer).json()["data"][0]["aggregated_value"] == 2


def test_test_and_live_mode_share_nothing(local: LocalServer) -> None:
    meter = local.meter()
    data = event(identifier="one")
    assert local.create(PATH, data=data)["livemode"] is False
    error = error_of(local.request("POST", PATH, data=data, key=LIVE_KEY), 400)
    assert error["message"] == 'No active meter found for event name "calls".'
    error_of(local.request("GET", f"/v1/billing/meters/{meter}", key=LIVE_KEY), 404)
    live = local.request(
        "POST",
        "/v1/billing/meters",
        key=LIVE_KEY,
        data={"display_name": "L", "event_name": "calls", "default_aggregation[formula]": "sum"},
    ).json()
    assert live["livemode"] is True
    assert re.match(r"mtr_61[A-Za-z0-9]{30}$", live["id"])
    assert local.create(PATH, data=data, key=LIVE_KEY)["livemode"] is True


# ---- Values ----


@pytest.mark.parametrize(
    ("values", "printed"),
    [
        (["25"], "25"),
        (["0.1", "0.2"], "0.3"),
        (["1.50"], "1.5"),
        (["2.5", "-0.5"], "2"),
        (["+3", "007"], "10"),
        (["-0.0"], "0"),
        (["-5"], "-5"),
        (["999999999999999", "0.000000000000001"], "999999999999999.000000000000001"),
        (["100000000000000.000"], "100000000000000"),
        (["0.000000000000001"], "0.000000000000001"),
    ],
)
def test_values_are_exact(client: stripe.StripeClient, values: list[str], printed: str) -> None:
    meter, customer = make_meter(client), make_customer(client)
    for value in values:
        assert send(client, customer, value).payload["value"] == value
    created = client.v1.customers.retrieve(customer).created
    page: Any = client.v1.billing.meters.event_summaries.list(
        meter,
        {
            "customer": customer,
            "start_time": created // DAY * DAY,
            "end_time": created // DAY * DAY + 2 * DAY,
        },
    )
    assert f'"aggregated_value":{printed},' in page.last_response.body


@pytest.mark.parametrize(
    ("version", "setting", "value", "code"),
    [
        (None, "decimal", "1.5", None),
        ("2026-04-22.dahlia", "decimal", "1.5", None),
        (BEFORE_DECIMALS, "decimal", "1.5", "meter_event_invalid_value"),
        ("2024-06-20", "decimal", "1.5", "meter_event_invalid_value"),
        ("2024-06-20", "decimal", "-15", None),
        ("2024-06-20", "decimal", "1234567890123456", "meter_event_value_too_many_digits"),
        ("2026-03-25.preview", "decimal", "1.5", "meter_event_invalid_value"),
        ("2026-09-30.preview", "decimal", "1.5", None),
        (None, "whole", "1.5", "meter_event_invalid_value"),
        (None, "whole", "15", None),
        (None, "decimal", "2.5e-06", None),
        (BEFORE_DECIMALS, "decimal", "2.5e-06", "meter_event_invalid_value"),
        (BEFORE_DECIMALS, "decimal", "1.5E+3", None),
        (BEFORE_DECIMALS, "decimal", "1e15", "meter_event_value_too_many_digits"),
        (None, "whole", "1e3", None),
        (None, "whole", "1e-3", "meter_event_invalid_value"),
    ],
)
def test_decimals_by_version_and_setting(
    tmp_path: Path, version: str | None, setting: str, value: str, code: str | None
) -> None:
    with local_server(tmp_path, values=setting) as local:
        meter, customer = local.meter(), local.customer()
        headers = {"Stripe-Version": version} if version else {}
        data = event(**{"payload[value]": value, "payload[stripe_customer_id]": customer})
        assert local.create(PATH, data=data, headers=headers)
        (row,) = local.summaries(meter, customer).json()["data"]
        assert row["aggregated_value"] == (0 if code else float(value))
        assert rejected(local) == ([code] if code else [])


# ---- What is rejected after it was acknowledged ----


def rejected(local: LocalServer) -> list[str]:
    """Return the codes of the rejected events that the usage store holds, and of the metrics."""
    stores = local.meterhouse.services.stores
    local.run(local.meterhouse.services.progress.settle(30))
    counts = local.run(stores.usage(UsageStore.counts))
    held = sorted(
        code
        for count in counts.values()
        for code, rows in count.rejected.items()
        for _ in range(rows)
    )
    text = local.request("GET", "/metrics").text
    counted = re.findall(
        r'^meterhouse_events_total{code="(\w+)",outcome="rejected"} (\d+)\.0$', text, re.MULTILINE
    )
    assert sorted(code for code, times in counted for _ in range(int(times))) == held
    return held


@pytest.fixture
def dimensional(local: LocalServer) -> LocalServer:
    local.meter(**{"dimension_payload_keys[0]": "model", "dimension_payload_keys[1]": "region"})
    return local


GOOD = {"payload[value]": "1", "payload[model]": "m", "payload[region]": "r"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, None),
        ({"payload[stripe_customer_id]": None}, "meter_event_no_customer_defined"),
        ({"payload[stripe_customer_id]": ""}, "meter_event_no_customer_defined"),
        ({"payload[stripe_customer_id]": "cus_no"}, "meter_event_customer_not_found"),
        ({"payload[value]": None}, "meter_event_value_not_found"),
        ({"payload[value]": ""}, "meter_event_value_not_found"),
        ({"payload[value]": "many"}, "meter_event_invalid_value"),
        ({"payload[value]": "NaN"}, "meter_event_invalid_value"),
        ({"payload[value]": "Infinity"}, "meter_event_invalid_value"),
        ({"payload[value]": "1e3"}, None),
        ({"payload[value]": "1e-07"}, None),
        ({"payload[value]": "1e"}, "meter_event_invalid_value"),
        ({"payload[value]": "1_000"}, "meter_event_invalid_value"),
        ({"payload[value]": " 1"}, "meter_event_invalid_value"),
        ({"payload[value]": "٣"}, "meter_event_invalid_value"),
        ({"payload[model]": None}, "missing_dimension_payload_keys"),
        ({"payload[region]": ""}, "missing_dimension_payload_keys"),
    ],
)
def test_what_is_rejected_later(
    dimensional: LocalServer, change: dict[str, str | None], code: str | None
) -> None:
    local = dimensional
    data = {**GOOD, "event_name": "calls", "payload[stripe_customer_id]": local.customer()}
    sent = {name: value for name, value in {**data, **change}.items() if value is not None}
    assert local.create(PATH, data=sent)["object"] == "billing.meter_event"
    assert rejected(local) == ([code] if code else [])


def test_a_deleted_customer_uses_nothing_any_more(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    data = event(**{"payload[stripe_customer_id]": customer})
    local.create(PATH, data=data)
    local.clock.advance(1)
    assert local.request("DELETE", f"/v1/customers/{customer}").json()["deleted"]
    local.create(PATH, data=data)
    assert rejected(local) == ["meter_event_customer_not_found"]
    assert local.summaries(meter, customer).json()["data"][0]["aggregated_value"] == 1


def test_too_many_combinations_of_dimensions(
    dimensional: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DIMENSION_COMBINATIONS_MAX", 2)
    customer = dimensional.customer()
    for region in ("a", "b", "a", "c"):
        data = {**GOOD, "payload[region]": region, "payload[stripe_customer_id]": customer}
        dimensional.create(PATH, data={"event_name": "calls", **data})
    assert rejected(dimensional) == ["meter_event_dimension_count_too_high"]


def test_a_meter_that_counts_needs_no_value(local: LocalServer) -> None:
    meter = local.meter(**{"default_aggregation[formula]": "count"})
    customer = local.customer()
    for value in ({}, {"payload[value]": "many"}, {"payload[value]": "12345678901234567"}):
        data = {"event_name": "calls", "payload[stripe_customer_id]": customer, **value}
        local.create(PATH, data=data)
    assert rejected(local) == []
    assert local.summaries(meter, customer).json()["data"][0]["aggregated_value"] == 3


def test_other_keys_of_the_payload(local: LocalServer) -> None:
    meter = local.meter(
        **{
            "customer_mapping[type]": "by_id",
            "customer_mapping[event_payload_key]": "who",
            "value_settings[event_payload_key]": "much",
        }
    )
    customer = local.customer()
    payload = {"payload[who]": customer, "payload[much]": "2.5", "payload[value]": "9"}
    local.create(PATH, data={"event_name": "calls", **payload})
    local.create(PATH, data=event(**{"payload[stripe_customer_id]": customer}))
    assert local.summaries(meter, customer).json()["data"][0]["aggregated_value"] == 2.5
    assert rejected(local) == ["meter_event_no_customer_defined"]
