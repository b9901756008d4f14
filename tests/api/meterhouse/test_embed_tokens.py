from typing import Any

import pytest

from tests.api.local import DAY, HOUR, NOW, LocalServer
from tests.api.meterhouse.samples import stream
from tests.api.samples import error_of
from tests.api.v2.samples import at, done, event
from tests.server import LIVE_KEY, TEST_KEY

TOKENS = "/meterhouse/v1/embed_tokens"
USAGE = "/v1/billing/analytics/meter_usage"
DIMENSIONS = {"dimension_payload_keys[]": "model"}


def make(local: LocalServer, customer: str, *meters: str, **data: Any) -> dict[str, Any]:
    made = local.create(TOKENS, data={"customer": customer, "meters[]": list(meters)} | data)
    assert made["token"].startswith("embed_")
    return made


def ask(local: LocalServer, token: str, customer: str, meter: str, /, **params: Any) -> Any:
    asked: dict[str, Any] = {
        "customer": customer,
        "meters[0][meter]": meter,
        "starts_at": NOW - DAY,
        "ends_at": NOW + DAY,
    }
    headers = {"Stripe-Version": "2026-10-28.preview"}
    return local.request("GET", USAGE, params=asked | params, key=token, headers=headers)


def test_a_token_as_it_is_shown(local: LocalServer) -> None:
    meter, customer = local.meter(**DIMENSIONS), local.customer()
    made = make(local, customer, meter, **{"dimension_group_by_keys[]": "model"})
    assert made.pop("token")
    assert made == {
        "object": "meterhouse.embed_token",
        "created": NOW,
        "customer": customer,
        "dimension_group_by_keys": ["model"],
        "expires_at": NOW + HOUR,
        "livemode": False,
        "meters": [meter],
    }


def test_it_reads_what_it_is_bound_to(local: LocalServer) -> None:
    meter, customer = local.meter(**DIMENSIONS), local.customer()
    payload = {"stripe_customer_id": customer, "value": "7", "model": "small"}
    stream(local, event(customer, timestamp=at(-60)) | {"payload": payload})
    token = make(local, customer, meter, **{"dimension_group_by_keys[]": "model"})["token"]
    for how in (
        {},
        {"meters[0][dimension_group_by_keys][]": "model"},
        {"meters[0][dimension_filters][model]": "small"},
        {"value_grouping_window": "hour"},
    ):
        mine = done(ask(local, token, customer, meter, **how))
        assert mine == done(ask(local, TEST_KEY, customer, meter, **how))


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"customer": "cus_other"}, "does not permit the customer 'cus_other'"),
        ({"meters[1][meter]": "mtr_other"}, "does not permit the meter 'mtr_other'"),
        ({"meters[0][dimension_group_by_keys][]": "region"}, "not permit the dimension 'region'"),
        ({"meters[0][dimension_filters][region]": "eu"}, "not permit the dimension 'region'"),
        ({"meters[0][tenant_group_by_keys][]": "user"}, "does not permit the tenant 'user'"),
        ({"meters[0][tenant_filters][user]": "ada"}, "does not permit the tenant 'user'"),
    ],
)
def test_it_reads_nothing_else(local: LocalServer, how: dict[str, str], sentence: str) -> None:
    keys = {"dimension_payload_keys[0]": "model", "dimension_payload_keys[1]": "region"}
    meter, customer = local.meter(**keys), local.customer()
    token = make(local, customer, meter, **{"dimension_group_by_keys[]": "model"})["token"]
    assert sentence in error_of(ask(local, token, customer, meter, **how), 403)["message"]


def test_it_does_not_read_all_meters_together(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    token = make(local, customer, meter)["token"]
    asked = {"customer": customer, "starts_at": NOW - DAY, "ends_at": NOW + DAY}
    headers = {"Stripe-Version": "2026-10-28.preview"}
    refused = local.request("GET", USAGE, params=asked, key=token, headers=headers)
    assert error_of(refused, 403)["param"] == "meters"


def test_it_is_over_in_time(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    token = make(local, customer, meter, expires_in="60")["token"]
    local.clock.advance(59_999)
    assert ask(local, token, customer, meter).status_code == 200
    local.clock.advance(1)
    refused = error_of(ask(local, token, customer, meter), 401)
    assert refused["message"] == "The embed token has expired; make a new one."


def test_one_that_a_clock_ahead_has_made_does_not_outlast_it(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    local.clock.advance(180 * 86_400_000)
    token = make(local, customer, meter)["token"]
    assert ask(local, token, customer, meter).status_code == 200
    local.clock.advance(-180 * 86_400_000)
    error_of(ask(local, token, customer, meter), 401)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/customers"),
        ("GET", "/v1/billing/meters"),
        ("GET", "/meterhouse/v1/usage"),
        ("GET", "/meterhouse/v1/api_keys"),
        ("POST", TOKENS),
        ("POST", "/v1/billing/meter_events"),
    ],
)
def test_nothing_else_takes_it(local: LocalServer, method: str, path: str) -> None:
    token = make(local, local.customer(), local.meter())["token"]
    error_of(local.request(method, path, key=token), 401)


def test_a_token_that_was_changed_opens_nothing(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    token = make(local, customer, meter)["token"]
    for changed in (token[:-2], "embed_", "embed_" + "A" * 300, "embed_" + "A" * 10_000):
        error_of(ask(local, changed, customer, meter), 401)


def test_it_is_of_its_account(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    token = make(local, customer, meter)["token"]
    headers = {"Stripe-Account": "acct_other", "Stripe-Version": "2026-10-28.preview"}
    error_of(local.request("GET", USAGE, key=token, headers=headers), 403)


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ({"customer": "cus_none"}, "customer"),
        ({"meters[]": "mtr_none"}, "meters[0]"),
        ({"meters": ""}, "meters"),
        ({"dimension_group_by_keys[]": "region"}, "dimension_group_by_keys[0]"),
        ({"expires_in": "59"}, "expires_in"),
        ({"expires_in": "86401"}, "expires_in"),
    ],
)
def test_what_cannot_be_bound_is_refused(
    local: LocalServer, data: dict[str, str], param: str
) -> None:
    bound: dict[str, str] = {
        "customer": local.customer(),
        "meters[]": local.meter(**DIMENSIONS),
    }
    if "meters" in data:
        del bound["meters[]"]
    assert error_of(local.request("POST", TOKENS, data=bound | data), 400)["param"] == param


def test_books_are_apart(local: LocalServer) -> None:
    data = {"customer": local.customer(), "meters[]": local.meter()}
    refused = error_of(local.request("POST", TOKENS, data=data, key=LIVE_KEY), 400)
    assert refused["param"] == "customer"
