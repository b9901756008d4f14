"""Test clocks: made, moved and deleted, and the customers that live by them."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from meterhouse.ledger import test_clocks
from tests.api.local import NOW, LocalServer, local_server
from tests.api.samples import error_of
from tests.server import LIVE_KEY

CLOCKS = "/v1/test_helpers/test_clocks"
YEAR = 365 * 86_400


def ready(client: stripe.StripeClient, clock_id: str) -> Any:
    """Return a clock once it has arrived."""
    for _ in range(500):
        clock = client.v1.test_helpers.test_clocks.retrieve(clock_id)
        if clock.status == "ready":
            return clock
        time.sleep(0.01)  # it tells by an event only, which is no way to wait
    raise AssertionError(f"it is still {clock.status}")


def test_a_clock_is_made_listed_moved_and_deleted(client: stripe.StripeClient) -> None:
    clocks = client.v1.test_helpers.test_clocks
    made = clocks.create({"frozen_time": 1_577_836_800, "name": "January"})
    document = made.to_dict()
    assert document.pop("id").startswith("clock_1")
    created = document.pop("created")
    assert document == {
        "object": "test_helpers.test_clock",
        "deletes_after": created + 30 * 86_400,
        "frozen_time": 1_577_836_800,
        "livemode": False,
        "name": "January",
        "status": "ready",
        "status_details": {},
    }
    other = clocks.create({"frozen_time": 1})
    assert [one.id for one in clocks.list().data] == [other.id, made.id]
    moving = clocks.advance(made.id, {"frozen_time": 1_580_515_200})
    assert (moving.status, moving.frozen_time) == ("advancing", 1_577_836_800)
    assert moving.status_details.advancing is not None
    assert moving.status_details.advancing.target_frozen_time == 1_580_515_200
    arrived = ready(client, made.id)
    assert (arrived.frozen_time, arrived.status_details.to_dict()) == (1_580_515_200, {})
    gone = clocks.delete(made.id)
    assert gone.to_dict() == {"id": made.id, "object": "test_helpers.test_clock", "deleted": True}
    with pytest.raises(stripe.InvalidRequestError, match=f"No such billingclock: '{made.id}'"):
        clocks.retrieve(made.id)
    told = [
        event.type.removeprefix("test_helpers.test_clock.")
        for event in reversed(client.v1.events.list().data)
        if event.data.object["id"] == made.id
    ]
    assert told == ["created", "advancing", "ready", "deleted"]


def test_customers_of_a_clock_are_hidden_unless_it_is_named_and_go_with_it(
    client: stripe.StripeClient,
) -> None:
    customers, clocks = client.v1.customers, client.v1.test_helpers.test_clocks
    clock = clocks.create({"frozen_time": 1_577_836_800}).id
    clocked = customers.create({"test_clock": clock})
    plain = customers.create()
    assert (clocked.test_clock, clocked.created) == (clock, 1_577_836_800)
    assert plain.test_clock is None
    assert [one.id for one in customers.list().data] == [plain.id]
    assert [one.id for one in customers.list({"test_clock": clock}).data] == [clocked.id]
    with pytest.raises(stripe.InvalidRequestError, match="No such billingclock: 'clock_1'"):
        customers.list({"test_clock": "clock_1"})
    clocks.delete(clock)
    assert customers.retrieve(clocked.id).to_dict() == {
        "id": clocked.id,
        "object": "customer",
        "deleted": True,
    }
    assert [one.id for one in customers.list().data] == [plain.id]


def test_a_customer_that_exists_joins_a_clock_for_good(client: stripe.StripeClient) -> None:
    customers, clocks = client.v1.customers, client.v1.test_helpers.test_clocks
    customer = customers.create().id
    clock = clocks.create({"frozen_time": 1_577_836_800, "customer": customer}).id
    assert customers.retrieve(customer).test_clock == clock
    newest = client.v1.events.list({"limit": 1}).data[0].to_dict()
    assert newest["type"] == "customer.updated"
    assert newest["data"]["previous_attributes"] == {"test_clock": None}
    with pytest.raises(stripe.InvalidRequestError, match="already belongs to a test clock"):
        clocks.create({"frozen_time": 1_577_836_800, "customer": customer})


@pytest.mark.parametrize(
    ("path", "data", "status", "message", "param"),
    [
        ("", {}, 400, "Missing required param: frozen_time.", "frozen_time"),
        ("", {"frozen_time": "x"}, 400, "Invalid integer: x", "frozen_time"),
        ("", {"frozen_time": "1", "foo": "1"}, 400, "Received unknown parameter: foo", "foo"),
        (
            "",
            {"frozen_time": "1", "customer": "cus_1"},
            400,
            "No such customer: 'cus_1'",
            "customer",
        ),
        (
            "/clock_1/advance",
            {"frozen_time": "1"},
            404,
            "No such billingclock: 'clock_1'",
            "id",
        ),
        (
            "/{clock}/advance",
            {"frozen_time": "1000"},
            400,
            (
                "The test clock can only be advanced to a time after its current frozen time, "
                "which is 1000."
            ),
            "frozen_time",
        ),
    ],
)
def test_what_is_refused(
    http: httpx.Client, path: str, data: dict[str, str], status: int, message: str, param: str
) -> None:
    clock = http.post(CLOCKS, data={"frozen_time": "1000"}).json()["id"]
    error = error_of(http.post(CLOCKS + path.format(clock=clock), data=data), status)
    assert (error["message"], error["param"]) == (message, param)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", ""),
        ("GET", ""),
        ("GET", "/clock_1"),
        ("POST", "/clock_1/advance"),
        ("DELETE", "/clock_1"),
    ],
)
def test_there_are_none_in_live_mode(http: httpx.Client, method: str, path: str) -> None:
    answer = http.request(method, CLOCKS + path, auth=(LIVE_KEY, ""))
    assert error_of(answer, 403)["message"] == (
        "This endpoint is only available in testmode. Try using your test keys instead."
    )


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[LocalServer]:
    with local_server(tmp_path, limits="stripe") as local:
        yield local


def test_the_limits_profile_bounds_customers_and_how_far_a_clock_goes(
    limited: LocalServer,
) -> None:
    clock = limited.create(CLOCKS, data={"frozen_time": NOW})["id"]
    for _ in range(3):
        limited.create("/v1/customers", data={"test_clock": clock})
    refused = limited.request("POST", "/v1/customers", data={"test_clock": clock})
    assert error_of(refused, 400)["message"] == "A test clock can have at most 3 customers."
    path = f"{CLOCKS}/{clock}/advance"
    refused = limited.request("POST", path, data={"frozen_time": NOW + 3 * YEAR})
    assert error_of(refused, 400)["param"] == "frozen_time"
    limited.create(path, data={"frozen_time": NOW + 2 * YEAR})


def test_the_limits_profile_bounds_subscriptions_of_a_customer_with_a_clock(
    limited: LocalServer,
) -> None:
    """Given three, then one has to be over before there is another; without a clock never."""
    product = limited.create("/v1/products", data={"name": "Seats"})["id"]
    price = limited.create(
        "/v1/prices",
        data={
            "product": product,
            "currency": "usd",
            "unit_amount": 100,
            "recurring[interval]": "month",
        },
    )["id"]
    clock = limited.create(CLOCKS, data={"frozen_time": NOW})["id"]
    clocked = limited.create("/v1/customers", data={"test_clock": clock})["id"]
    other = limited.create("/v1/customers")["id"]
    path = "/v1/subscriptions"
    wanted = {"customer": clocked, "items[0][price]": price}
    first, *_ = (limited.create(path, data=wanted)["id"] for _ in range(3))
    error = error_of(limited.request("POST", path, data=wanted), 400)
    assert error["param"] == "customer"
    assert error["message"] == "A customer with a test clock can have at most 3 subscriptions."
    limited.request("DELETE", f"{path}/{first}").raise_for_status()
    limited.create(path, data=wanted)
    for _ in range(4):
        limited.create(path, data=wanted | {"customer": other})


def test_what_lives_by_a_clock_is_not_changed_while_it_is_on_its_way(local: LocalServer) -> None:
    clock = local.create(CLOCKS, data={"frozen_time": NOW})["id"]
    customer = local.create("/v1/customers", data={"test_clock": clock})["id"]
    local.stop_job("invoice")
    target = {"frozen_time": NOW + YEAR}
    local.create(f"{CLOCKS}/{clock}/advance", data=target)
    for method, path, data in (
        ("POST", f"/v1/customers/{customer}", {"name": "New"}),
        ("DELETE", f"/v1/customers/{customer}", None),
        ("POST", "/v1/customers", {"test_clock": clock}),
        ("POST", f"{CLOCKS}/{clock}/advance", target),
    ):
        answer = local.request(method, path, data=data)
        assert error_of(answer, 429)["message"] == (
            f"Test clock advancement underway - cannot perform modifications: {clock}"
        )
    local.run(_started(local))
    local.until(lambda connection: not test_clocks.advancing(connection))
    local.create(f"/v1/customers/{customer}", data={"name": "New"})


async def _started(local: LocalServer) -> None:
    local.start_job("invoice")
