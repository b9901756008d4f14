"""Retries under one idempotency key: `api.idempotency` and `api.once`."""

import asyncio
from typing import Any

import httpx
import pytest
import stripe

from meterhouse.api.idempotency import fingerprint
from tests.api.local import DAY, HOUR, NOW, LocalServer
from tests.api.samples import connect, error_of, make_customer, make_meter, send, total
from tests.server import LIVE_KEY, Server

METER = {"display_name": "A", "event_name": "calls", "default_aggregation[formula]": "sum"}
EVENT = {"event_name": "calls", "payload[value]": "1", "payload[stripe_customer_id]": "cus_x"}


def key(name: str) -> dict[str, str]:
    return {"Idempotency-Key": name}


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/v1/customers", {"name": "Ada"}),
        ("/v1/billing/meters", {**METER, "event_name": "other"}),
        ("/v1/billing/meter_events", EVENT),
    ],
)
def test_a_retry_hears_the_first_answer(
    http: httpx.Client, client: stripe.StripeClient, path: str, data: dict[str, str]
) -> None:
    make_meter(client)
    first = http.post(path, data=data, headers=key("k"))
    again = http.post(path, data=dict(reversed(data.items())), headers=key("k"))
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    assert first.headers["idempotency-key"] == again.headers["idempotency-key"] == "k"
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["original-request"] == first.headers["request-id"]
    assert again.headers["request-id"] != first.headers["request-id"]


def test_the_effect_happens_once(client: stripe.StripeClient) -> None:
    meter, customer = make_meter(client), make_customer(client)
    params: Any = {
        "event_name": "calls",
        "payload": {"stripe_customer_id": customer, "value": "3"},
    }
    options: Any = {"idempotency_key": "same"}
    events = [client.v1.billing.meter_events.create(params, options) for _ in range(3)]
    assert len({event.identifier for event in events}) == 1
    assert total(client, meter, customer) == 3
    adjustments: Any = {
        "event_name": "calls",
        "type": "cancel",
        "cancel": {"identifier": events[0].identifier},
    }
    options = {"idempotency_key": "cancel"}
    for _ in range(2):
        made = client.v1.billing.meter_event_adjustments.create(adjustments, options)
        assert made.status == "pending"
    assert total(client, meter, customer) == 0


def test_an_identifier_is_a_matter_of_its_own(client: stripe.StripeClient) -> None:
    make_meter(client)
    customer = make_customer(client)
    send(client, customer, "1", identifier="one")
    with pytest.raises(stripe.InvalidRequestError, match="already exists with identifier one"):
        send(client, customer, "1", identifier="one")  # the SDK makes a new key for each call


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/v1/customers", {"name": "Bob"}),
        ("/v1/billing/meters", METER),
        ("/v1/billing/meter_events", EVENT),
    ],
)
def test_a_key_is_for_one_request(local: LocalServer, path: str, data: dict[str, str]) -> None:
    local.meter("calls")
    local.create("/v1/customers", data={"name": "Ada"}, headers=key("k" * 255))
    error = error_of(local.request("POST", path, data=data, headers=key("k" * 255)), 400)
    assert error["type"] == "idempotency_error"
    assert error["message"] == (
        "Keys for idempotent requests can only be used with the same parameters they were first "
        f"used with. Try using a key other than '{'k' * 100}…{'k' * 100}' if you meant to execute "
        "a different request."
    )


def test_the_sdk_knows_what_a_mismatch_means(client: stripe.StripeClient) -> None:
    options: Any = {"idempotency_key": "k"}
    client.v1.customers.create({"name": "Ada"}, options)
    with pytest.raises(stripe.IdempotencyError):
        client.v1.customers.create({"name": "Bob"}, options)


def test_what_a_request_that_began_was_refused_with_is_kept(local: LocalServer) -> None:
    meter = local.meter()
    refused = local.request("POST", "/v1/billing/meters", data=METER, headers=key("k"))
    error_of(refused, 400)
    local.create(f"/v1/billing/meters/{meter}/deactivate")
    again = local.request("POST", "/v1/billing/meters", data=METER, headers=key("k"))
    assert (again.status_code, again.content) == (400, refused.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["original-request"] == refused.headers["request-id"]


@pytest.mark.parametrize(
    ("path", "wrong", "right"),
    [
        ("/v1/customers", {"balance": "much"}, {"balance": "1"}),
        ("/v1/billing/meter_events", {**EVENT, "event_name": "no"}, EVENT),
    ],
)
def test_what_was_refused_before_it_began_is_not_kept(
    local: LocalServer, path: str, wrong: dict[str, str], right: dict[str, str]
) -> None:
    local.meter()
    error_of(local.request("POST", path, data=wrong, headers=key("k")), 400)
    assert local.create(path, data=right, headers=key("k"))


def test_an_event_that_has_aged_since_is_replayed(local: LocalServer) -> None:
    """Given an event that was just young enough, when it is sent again, then it is still in."""
    local.meter()
    data = {**EVENT, "timestamp": str(NOW - 35 * DAY)}
    first = local.create("/v1/billing/meter_events", data=data, headers=key("k"))
    local.clock.advance(2_000)
    answer = local.request("POST", "/v1/billing/meter_events", data=data, headers=key("k"))
    assert answer.json() == first
    assert answer.headers["idempotent-replayed"] == "true"
    error_of(local.request("POST", "/v1/billing/meter_events", data=data, headers=key("new")), 400)
    data["timestamp"] = str(NOW - 36 * DAY)
    answer = local.request("POST", "/v1/billing/meter_events", data=data, headers=key("k"))
    assert error_of(answer, 400)["type"] == "idempotency_error"


@pytest.mark.parametrize(
    ("path", "data"), [("/v1/customers", {"name": "Ada"}), ("/v1/billing/meter_events", EVENT)]
)
def test_keys_are_kept_for_24_hours(local: LocalServer, path: str, data: dict[str, str]) -> None:
    local.meter()
    first = local.create(path, data=data, headers=key("k"))
    local.later(24 * HOUR * 1000 - 1)
    assert local.create(path, data=data, headers=key("k")) == first
    local.later(1)
    anew = local.create(path, data=data, headers=key("k"))
    assert anew != first
    assert local.create(path, data=data, headers=key("k")) == anew


def test_accounts_and_modes_have_keys_of_their_own(server: Server, account: str) -> None:
    options: Any = {"idempotency_key": f"key of {account}"}
    clients = [connect(server), connect(server, LIVE_KEY), connect(server, account=account)]
    ids = [client.v1.customers.create({"name": "Ada"}, options).id for client in clients]
    assert len(set(ids)) == 3


@pytest.mark.parametrize(
    ("path", "data"), [("/v1/customers", {"name": "Ada"}), ("/v1/billing/meter_events", EVENT)]
)
def test_a_retry_while_the_first_is_at_work(
    local: LocalServer, path: str, data: dict[str, str]
) -> None:
    local.meter()

    async def both() -> list[httpx.Response]:
        requests = (local.ask("POST", path, data=data, headers=key("k")) for _ in range(2))
        return await asyncio.gather(*requests)

    first, second = local.run(both())
    assert first.status_code == 200
    assert error_of(second, 409) == {
        "code": "idempotency_key_in_use",
        "doc_url": "https://stripe.com/docs/error-codes/idempotency-key-in-use",
        "message": "There is currently another in-progress request using this Idempotent Key (that "
        "probably means you submitted twice, and the other request is still going through): k. "
        "Please try again later.",
        "type": "idempotency_error",
    }
    assert local.create(path, data=data, headers=key("k")) == first.json()


def test_a_key_that_is_too_long(http: httpx.Client) -> None:
    error = error_of(http.post("/v1/customers", headers=key("k" * 256)), 400)
    assert error["type"] == "idempotency_error"
    assert error["message"] == "Idempotency keys can have up to 255 characters."


def test_only_posts_have_keys(http: httpx.Client) -> None:
    customer = http.post("/v1/customers", headers=key("")).json()["id"]
    for name in ("Ada", "Bob"):
        found = http.get("/v1/customers", params={"email": name}, headers=key("k"))
        assert found.status_code == 200
    assert http.delete(f"/v1/customers/{customer}", headers=key("k")).status_code == 200
    error_of(http.delete(f"/v1/customers/{customer}", headers=key("k")), 404)


def test_the_fingerprint_of_a_request() -> None:
    def of(parameters: bytes, path: str = "/a", method: str = "POST") -> bytes:
        return fingerprint("v1", method, path, parameters)

    assert of(b"a=1&b=2") == of(b"b=2&a=1")
    different = [
        of(b"a=1&b=2"),
        of(b"a=2&b=1"),
        of(b"a=1"),
        of(b""),
        of(b"a[]=1&a[]=2"),
        of(b"a[]=2&a[]=1"),
        of(b"", "/b"),
        of(b"", "/a", "DELETE"),
    ]
    assert len(set(different)) == len(different)
