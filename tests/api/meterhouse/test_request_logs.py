from pathlib import Path
from typing import Any

import pytest

from meterhouse import limits
from tests.api.local import NOW, LocalServer, local_server
from tests.api.samples import error_of
from tests.server import LIVE_KEY

PATH = "/meterhouse/v1/request_logs"


def logs(local: LocalServer, **params: Any) -> list[dict[str, Any]]:
    answer = local.request("GET", PATH, params=params)
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


def test_a_request_and_what_came_of_it(local: LocalServer) -> None:
    answer = local.request(
        "GET", "/v1/customers/cus_none", headers={"Stripe-Version": "2024-06-20"}
    )
    [log] = logs(local)
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
    with local_server(tmp_path, trusted_proxies=trusted) as local:
        lines = [("x-forwarded-for", "192.0.2.66"), ("x-forwarded-for", "192.0.2.1")]
        local.request("GET", "/v1/customers/cus_none", headers=lines)
        [log] = logs(local)
        assert log["ip_address"] == ip


def test_requests_of_both_apis_are_kept_but_not_those_of_streams(local: LocalServer) -> None:
    headers = {"Stripe-Version": "2026-10-28.endive"}
    session = local.create("/v2/billing/meter_event_session", headers=headers)
    local.request(
        "POST",
        "/v2/billing/meter_event_stream",
        key=session["authentication_token"],
        headers=headers,
        json={"events": []},
    )
    local.create("/v1/customers")
    local.request("GET", "/v1/nothing")
    local.request("GET", "/v1/customers", key="sk_test_" + "x" * 24)
    local.request("GET", "/healthz")
    paths = ["/v1/customers", "/v2/billing/meter_event_session"]
    assert sorted(log["path"] for log in logs(local)) == paths


def test_an_error_that_is_replayed_is_told_again(local: LocalServer) -> None:
    local.meter("calls")
    again = {
        "display_name": "Calls",
        "event_name": "calls",
        "default_aggregation[formula]": "sum",
    }
    for _ in range(2):
        local.request(
            "POST", "/v1/billing/meters", data=again, headers={"Idempotency-Key": "again"}
        )
    first, second = logs(local, status="400")
    assert first["error"] == second["error"]
    assert first["error"]["message"].startswith("An active meter already exists")


def test_filters(local: LocalServer) -> None:
    local.customer()
    local.clock.advance(1000)
    local.request("GET", "/v1/customers/cus_none")
    local.clock.advance(1000)
    local.request("GET", "/v1/customers")
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
        assert [log["status"] for log in logs(local, **params)] == statuses, params


def test_pages(local: LocalServer) -> None:
    made = []
    for _ in range(5):
        made.append(local.request("GET", "/v1/customers").headers["request-id"])
        local.clock.advance(1)
    made.reverse()
    first = local.request("GET", PATH, params={"limit": 2}).json()
    assert (first["object"], first["url"], first["has_more"]) == ("list", PATH, True)
    assert [log["id"] for log in first["data"]] == made[:2]
    assert [log["id"] for log in logs(local, starting_after=made[1])] == made[2:]
    last = local.request("GET", PATH, params={"limit": 3, "starting_after": made[1]}).json()
    assert last["has_more"] is False
    assert [log["id"] for log in logs(local, ending_before=made[4], limit=2)] == made[2:4]
    assert [log["id"] for log in logs(local, ending_before=made[2])] == made[:2]


def test_modes_are_apart(local: LocalServer) -> None:
    local.request("GET", "/v1/customers", key=LIVE_KEY)
    assert logs(local) == []
    live = local.request(
        "GET", PATH, key=LIVE_KEY, headers={"Meterhouse-Consistency": "strong"}
    ).json()
    assert [log["livemode"] for log in live["data"]] == [True]


def test_a_path_is_kept_at_a_bounded_length(local: LocalServer) -> None:
    local.request("GET", "/v1/customers/" + "x" * 1_000)
    [log] = logs(local)
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
def test_what_is_refused(local: LocalServer, params: dict[str, str], param: str) -> None:
    assert error_of(local.request("GET", PATH, params=params), 400)["param"] == param
