import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from meterhouse.ledger.accounts import create_account
from tests.api.local import LocalServer
from tests.api.samples import error_of
from tests.api.v2.samples import HERE
from tests.receiver import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as opened:
        yield opened


def listen(local: LocalServer, receiver: Receiver, **data: Any) -> str:
    sent = {"url": receiver.url, "enabled_events[]": "customer.deleted"} | data
    made: str = local.create("/v1/webhook_endpoints", data=sent)["id"]
    return made


def newest(local: LocalServer) -> str:
    found: str = local.request("GET", "/v1/events").json()["data"][0]["id"]
    return found


def until_heard(local: LocalServer, receiver: Receiver, count: int) -> None:
    """Let the server work on until the receiver has heard so much."""
    local.run(asyncio.to_thread(receiver.wait, count))


def test_an_event_goes_to_an_endpoint_again(local: LocalServer, receiver: Receiver) -> None:
    endpoint = listen(local, receiver)
    local.customer()
    event = newest(local)
    for count in (1, 2):
        sent = local.create(f"/v1/events/{event}/retry", data={"webhook_endpoint": endpoint})
        assert (sent["id"], sent["object"], sent["pending_webhooks"]) == (event, "event", 1)
        until_heard(local, receiver, count)
    rows = local.request("GET", "/meterhouse/v1/deliveries").json()["data"]
    assert [(one["event"], one["destination"]) for one in rows] == [(event, endpoint)]


def test_a_retry_of_the_retry_sends_nothing(local: LocalServer, receiver: Receiver) -> None:
    endpoint = listen(local, receiver)
    local.customer()
    path, data = f"/v1/events/{newest(local)}/retry", {"webhook_endpoint": endpoint}
    for _ in range(2):
        local.create(path, data=data, headers={"Idempotency-Key": "once"})
        until_heard(local, receiver, 1)
    local.create("/v1/customers")
    assert len(receiver.heard) == 1


def test_refusals(local: LocalServer, receiver: Receiver) -> None:
    endpoint = listen(local, receiver)
    local.customer()
    event = newest(local)
    path = f"/v1/events/{event}/retry"
    thin = local.request("GET", "/v2/core/events", headers=HERE).json()["data"][0]["id"]

    def refusal(path: str, status: int, **data: str) -> str:
        return error_of(local.request("POST", path, data=data), status)["message"]

    assert "Missing required param: webhook_endpoint" in refusal(path, 400)
    assert "No such webhook endpoint" in refusal(path, 400, webhook_endpoint="we_none")
    unknown = "/v1/events/evt_none/retry"
    assert "No such notification: 'evt_none'" in refusal(unknown, 404, webhook_endpoint=endpoint)
    other = refusal(path, 400, webhook_endpoint=endpoint, account="acct_none")
    assert "No such account: 'acct_none'" in other
    wrong = refusal(f"/v1/events/{thin}/retry", 400, webhook_endpoint=endpoint)
    assert "not sent with snapshot payloads" in wrong
    local.create(f"/v1/webhook_endpoints/{endpoint}", data={"disabled": "true"})
    assert "is not enabled" in refusal(path, 400, webhook_endpoint=endpoint)


def test_a_platform_resends_what_happened_to_its_account(
    local: LocalServer, receiver: Receiver
) -> None:
    account = _connected(local)
    own = listen(local, receiver, connect="true")
    local.create("/v1/customers", headers={"Stripe-Account": account})
    listed = local.request("GET", "/v1/events", headers={"Stripe-Account": account})
    event = listed.json()["data"][0]["id"]
    data = {"webhook_endpoint": own, "account": account}
    sent = local.create(f"/v1/events/{event}/retry", data=data)
    assert (sent["id"], sent["account"]) == (event, account)
    until_heard(local, receiver, 1)
    del data["account"]
    error_of(local.request("POST", f"/v1/events/{event}/retry", data=data), 404)


def _connected(local: LocalServer) -> str:
    with local.meterhouse.ledger.write() as connection:
        return create_account(connection, None, now=1).id
