from typing import Any

import httpx
import pytest
import stripe

from tests.api.local import LocalServer
from tests.api.samples import connect, error_of, make_meter
from tests.server import Server

PREVIEW = "2026-09-30.preview"


def test_a_meter_with_nothing_but_what_it_needs(client: stripe.StripeClient) -> None:
    made = client.v1.billing.meters.create(
        {
            "display_name": "Search API calls",
            "event_name": "ai_search_api",
            "default_aggregation": {"formula": "sum"},
        }
    )
    document = made.to_dict()
    assert document.pop("id").startswith("mtr_test_61")
    assert document.pop("created") == document.pop("updated") > 0
    assert document == {
        "object": "billing.meter",
        "customer_mapping": {"event_payload_key": "stripe_customer_id", "type": "by_id"},
        "default_aggregation": {"formula": "sum"},
        "display_name": "Search API calls",
        "event_name": "ai_search_api",
        "event_time_window": None,
        "livemode": False,
        "status": "active",
        "status_transitions": {"deactivated_at": None},
        "value_settings": {"event_payload_key": "value"},
    }
    assert client.v1.billing.meters.retrieve(made.id).to_dict() == made.to_dict()


@pytest.mark.parametrize("formula", ["count", "last", "sum"])
@pytest.mark.parametrize("window", ["day", "hour"])
def test_every_parameter(client: stripe.StripeClient, formula: Any, window: Any) -> None:
    made = client.v1.billing.meters.create(
        {
            "display_name": "n" * 250,
            "event_name": "e" * 100,
            "default_aggregation": {"formula": formula},
            "event_time_window": window,
            "customer_mapping": {"type": "by_id", "event_payload_key": "who"},
            "value_settings": {"event_payload_key": "much"},
        }
    )
    assert made.default_aggregation.formula == formula
    assert made.event_time_window == window
    assert made.customer_mapping.event_payload_key == "who"
    assert made.value_settings.event_payload_key == "much"


GOOD = {"display_name": "A", "event_name": "a", "default_aggregation[formula]": "sum"}


@pytest.mark.parametrize(
    ("change", "message", "code", "param"),
    [
        (
            {"display_name": None},
            "Missing required param: display_name.",
            "parameter_missing",
            "display_name",
        ),
        (
            {"event_name": None},
            "Missing required param: event_name.",
            "parameter_missing",
            "event_name",
        ),
        (
            {"default_aggregation[formula]": None},
            "Missing required param: default_aggregation.",
            "parameter_missing",
            "default_aggregation",
        ),
        (
            {"default_aggregation[formula]": "max"},
            "Invalid default_aggregation[formula]: must be one of count, last, or sum",
            None,
            "default_aggregation[formula]",
        ),
        (
            {"event_time_window": "week"},
            "Invalid event_time_window: must be one of day or hour",
            None,
            "event_time_window",
        ),
        (
            {"customer_mapping[type]": "by_id"},
            "Missing required param: customer_mapping[event_payload_key].",
            "parameter_missing",
            "customer_mapping[event_payload_key]",
        ),
        (
            {"customer_mapping[event_payload_key]": "k"},
            "Missing required param: customer_mapping[type].",
            "parameter_missing",
            "customer_mapping[type]",
        ),
        (
            {"value_settings[event_payload_key]": "k" * 101},
            f"Invalid string: {'k' * 101}; must be at most 100 characters",
            "parameter_invalid_string_too_long",
            "value_settings[event_payload_key]",
        ),
        (
            {"event_name": "e" * 101},
            f"Invalid string: {'e' * 101}; must be at most 100 characters",
            "parameter_invalid_string_too_long",
            "event_name",
        ),
        (
            {"display_name": "n" * 251},
            f"Invalid string: {'n' * 100}…{'n' * 100}; must be at most 250 characters",
            "parameter_invalid_string_too_long",
            "display_name",
        ),
        (
            {"value_settings[foo]": "k"},
            "Received unknown parameter: value_settings[foo]",
            "parameter_unknown",
            "value_settings[foo]",
        ),
        (
            {"expand[]": "customer_mapping"},
            "This property cannot be expanded (customer_mapping).",
            None,
            None,
        ),
    ],
)
def test_what_is_refused(
    http: httpx.Client,
    change: dict[str, str | None],
    message: str,
    code: str | None,
    param: str | None,
) -> None:
    data = {name: value for name, value in {**GOOD, **change}.items() if value is not None}
    error = error_of(http.post("/v1/billing/meters", data=data), 400)
    assert (error["message"], error.get("code"), error.get("param")) == (message, code, param)


def test_the_name_alone_can_be_changed(local: LocalServer) -> None:
    meter = local.meter()
    local.clock.advance(5_000)
    path = f"/v1/billing/meters/{meter}"
    same = local.create(path)
    assert same["updated"] == same["created"]
    changed = local.create(path, data={"display_name": "B"})
    assert changed["display_name"] == "B"
    assert changed["updated"] == same["updated"] + 5
    error = error_of(local.request("POST", path, data={"event_name": "b"}), 400)
    assert error["message"] == "Received unknown parameter: event_name"


def test_deactivation_and_reactivation(local: LocalServer) -> None:
    meter = local.meter()
    path = f"/v1/billing/meters/{meter}"
    created = local.request("GET", path).json()
    local.clock.advance(1_000)
    inactive = local.create(f"{path}/deactivate")
    assert inactive == created | {
        "status": "inactive",
        "updated": created["updated"] + 1,
        "status_transitions": {"deactivated_at": created["created"] + 1},
    }
    local.clock.advance(1_000)
    assert local.create(f"{path}/deactivate") == inactive
    active = local.create(f"{path}/reactivate")
    assert active == created | {"updated": created["updated"] + 2}
    local.clock.advance(1_000)
    assert local.create(f"{path}/reactivate") == active


def test_one_active_meter_for_each_event_name(client: stripe.StripeClient) -> None:
    message = (
        "An active meter already exists for event name 'calls'. To create a new meter with the "
        "same event name, first deactivate the currently active meter."
    )
    first = make_meter(client)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        make_meter(client)
    assert caught.value.user_message == message
    assert caught.value.code is None
    assert client.v1.billing.meters.deactivate(first).status == "inactive"
    second = make_meter(client)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.billing.meters.reactivate(first)
    assert caught.value.user_message == message
    client.v1.billing.meters.deactivate(second)
    assert client.v1.billing.meters.reactivate(first).status == "active"


def test_the_list(client: stripe.StripeClient) -> None:
    ids = [make_meter(client, f"calls_{number}") for number in range(5)][::-1]
    client.v1.billing.meters.deactivate(ids[1])
    page = client.v1.billing.meters.list({"limit": 2})
    assert page.url == "/v1/billing/meters"
    assert [meter.id for meter in page.auto_paging_iter()] == ids
    inactive = client.v1.billing.meters.list({"status": "inactive"})
    assert [meter.id for meter in inactive.data] == [ids[1]]
    active = client.v1.billing.meters.list({"status": "active", "starting_after": ids[0]})
    assert [meter.id for meter in active.data] == ids[2:]
    before = client.v1.billing.meters.list({"limit": 2, "ending_before": ids[4]})
    assert ([meter.id for meter in before.data], before.has_more) == (ids[2:4], True)


def test_lists_that_are_refused(http: httpx.Client) -> None:
    error = error_of(http.get("/v1/billing/meters", params={"status": "dead"}), 400)
    assert error["message"] == "Invalid status: must be one of active or inactive"
    error = error_of(http.get("/v1/billing/meters", params={"starting_after": "mtr_no"}), 400)
    assert error["message"] == "No such billing meter: 'mtr_no'"
    assert error["param"] == "starting_after"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("POST", ""),
        ("POST", "/deactivate"),
        ("POST", "/reactivate"),
        ("GET", "/event_summaries?customer=cus_x&start_time=0&end_time=60"),
    ],
)
def test_an_unknown_meter(http: httpx.Client, method: str, path: str) -> None:
    error = error_of(http.request(method, f"/v1/billing/meters/mtr_no{path}"), 404)
    assert error == {
        "code": "resource_missing",
        "doc_url": "https://stripe.com/docs/error-codes/resource-missing",
        "message": "No such billing meter: 'mtr_no'",
        "param": "id",
        "type": "invalid_request_error",
    }


def test_dimensions_are_a_preview_that_every_version_takes(server: Server, account: str) -> None:
    plain, preview = (connect(server, account=account, version=v) for v in (None, PREVIEW))
    with_them = make_meter(plain, "a", dimension_payload_keys=["model", "region", "model"])
    without = make_meter(plain, "b")

    def keys(client: stripe.StripeClient, meter: str) -> Any:
        return client.v1.billing.meters.retrieve(meter).to_dict().get("dimension_payload_keys", "-")

    assert keys(plain, with_them) == keys(preview, with_them) == ["model", "region"]
    assert keys(plain, without) == "-"
    assert keys(preview, without) is None


def test_too_many_dimensions(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="must have at most 10 items"):
        make_meter(client, dimension_payload_keys=[str(number) for number in range(11)])
