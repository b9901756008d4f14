from pathlib import Path
from typing import Any

import pytest

from meterhouse import limits
from tests.api.samples import error_of
from tests.api.services import NOW, Services, housing
from tests.server import LIVE_KEY

PATH = "/meterhouse/v1/request_logs"


def logs(services: Services, **params: Any) -> list[dict[str, Any]]:
    answer = services.request("GET", PATH, params=params)
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


def test_a_request_and_what_came_of_it(services: Services) -> None:
    answer = services.request(
        "GET", "/v1/customers/cus_none", headers={"Stripe-Version": "2024-06-20"}
    )
    [log] = logs(services)
    assert isinstance(log.pop("duration_ms"), int)
    assert log == {
        "id": answer.headers["request-id"],
        "object": "meterhouse.request_log",
        "api_version": "2024-06-20",
        "created": NOW,
        "error": answer.json()["error"],
        "ip_address": "127.0.0.1",
        "livemode": False,
        "method": "GET",
        "path": "/v1/customers/cus_none",
        "status": 404,
    }


@pytest.mark.parametrize(("trusted", "ip"), [("127.0.0.1", "192.0.2.1"), ("none", "127.0.0.1")])
def test_the_client_is_who_a_trusted_proxy_names(tmp_path: Path, trusted: str, ip: str) -> None:
    with housing(tmp_path, trusted_proxies=trusted) as services:
        lines = [("x-forwarded-for", "192.0.2.66"), ("x-forwarded-for", "192.0.2.1")]
        services.request("GET", "/v1/customers/cus_none", headers=lines)
        [log] = logs(services)
        assert log["ip_address"] == ip


def test_requests_of_both_apis_are_kept_but_not_those_of_streams(services: Services) -> None:
    headers = {"Stripe-Version": "2026-10-28.endive"}
    session = services.create("/v2/billing/meter_event_session", headers=headers)
    services.request(
        "POST",
        "/v2/billing/meter_event_stream",
        key=session["authentication_token"],
        headers=headers,
        json={"events": []},
    )
    services.create("/v1/customers")
    services.request("GET", "/v1/nothing")
    services.request("GET", "/v1/customers", key="sk_test_" + "x" * 24)
    services.request("GET", "/healthz")
    paths = ["/v1/customers", "/v2/billing/meter_event_session"]
    assert sorted(log["path"] for log in logs(services)) == paths


def test_an_error_that_is_replayed_is_told_again(services: Services) -> None:
    services.meter("calls")
    again = {
        "display_name": "Calls",
        "event_name": "calls",
        "default_aggregation[formula]": "sum",
    }
    for _ in range(2):
        services.request(
            "POST", "/v1/billing/meters", data=again, headers={"Idempotency-Key": "again"}
        )
    first, second = logs(services, status="400")
    assert first["error"] == second["error"]
    assert first["error"]["message"].startswith("An active meter already exists")


def test_filters(services: Services) -> None:
    services.customer()
    services.clock.advance(1000)
    services.request("GET", "/v1/customers/cus_none")
    services.clock.advance(1000)
    services.request("GET", "/v1/customers")
    for params, statuses in (
        ({"method": "GET"}, [200, 404]),
        ({"path": "/v1/customers"}, [200, 200]),
        ({"path": "/v1/customers/*"}, [404]),
        ({"status": "4XX"}, [404]),
        ({"status": "200"}, [200, 200]),
        ({"created": NOW}, [200]),
        ({"created[gte]": NOW + 1}, [200, 404]),
        ({"created[lt]": NOW + 2, "method": "GET"}, [404]),
    ):
        assert [log["status"] for log in logs(services, **params)] == statuses, params


def test_pages(services: Services) -> None:
    made = []
    for _ in range(5):
        made.append(services.request("GET", "/v1/customers").headers["request-id"])
        services.clock.advance(1)
    made.reverse()
    first = services.request("GET", PATH, params={"limit": 2}).json()
    assert (first["object"], first["url"], first["has_more"]) == ("list", PATH, True)
    assert [log["id"] for log in first["data"]] == made[:2]
    assert [log["id"] for log in logs(services, starting_after=made[1])] == made[2:]
    last = services.request("GET", PATH, params={"limit": 3, "starting_after": made[1]}).json()
    assert last["has_more"] is False
    assert [log["id"] for log in logs(services, ending_before=made[4], limit=2)] == made[2:4]
    assert [log["id"] for log in logs(services, ending_before=made[2])] == made[:2]


def test_modes_are_apart(services: Services) -> None:
    services.request("GET", "/v1/customers", key=LIVE_KEY)
    assert logs(services) == []
    live = services.request(
        "GET", PATH, key=LIVE_KEY, headers={"Meterhouse-Consistency": "strong"}
    ).json()
    assert [log["livemode"] for log in live["data"]] == [True]


def test_a_path_is_kept_at_a_bounded_length(services: Services) -> None:
    services.request("GET", "/v1/customers/" + "x" * 1_000)
    [log] = logs(services)
    assert len(log["path"]) == limits.LOG_PATH_CHARS_MAX


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"status": "bad"}, "status"),
        ({"status": "6XX"}, "status"),
        ({"method": "PATCH"}, "method"),
        ({"starting_after": "req_none"}, "starting_after"),
        ({"ending_before": "req_none"}, "ending_before"),
        ({"limit": 101}, "limit"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_what_is_refused(services: Services, params: dict[str, str], param: str) -> None:
    assert error_of(services.request("GET", PATH, params=params), 400)["param"] == param
