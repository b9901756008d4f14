from typing import Any

import pytest

from meterhouse.metering.model import Scope
from meterhouse.usage.request_logs import TABLE, Query, RequestLog, pack
from meterhouse.usage.store import UsageStore
from tests.usage.samples import new_scope, next_token

NOW = 1_795_255_092_550

NEXT_TO_MIDNIGHT = (("req_before", -1), ("req_after", 0))


def log_of(scope: Scope, request: str, **changes: Any) -> RequestLog:
    values: dict[str, Any] = {
        "created": NOW,
        "method": "POST",
        "path": "/v1/customers",
        "status": 200,
        "microseconds": 1_234,
        "version": "2026-10-28.endive",
        "ip": "127.0.0.1",
        "error": "",
    }
    return RequestLog(scope.account, scope.livemode, request=request, **values | changes)


@pytest.fixture(scope="module")
def logged(store: UsageStore) -> Scope:
    scope = new_scope()
    logs = [
        log_of(scope, "req_a"),
        log_of(scope, "req_b", method="GET", path="/v1/customers/cus_1"),
        log_of(scope, "req_c", status=400, error='{"message":"No."}'),
        log_of(scope, "req_d", created=NOW + 1, path="/v1/events", status=404, ip=""),
        log_of(scope, "req_e", created=NOW + 1000, status=500),
        log_of(new_scope(), "req_f"),
        log_of(Scope(scope.id, scope.account, livemode=True), "req_g"),
    ]
    store.insert(TABLE, pack(logs), next_token())
    return scope


def test_logs_come_back_as_they_were(store: UsageStore, logged: Scope) -> None:
    [found] = store.request_logs(Query(logged, 1, statuses=(400, 400)))
    assert found == log_of(logged, "req_c", status=400, error='{"message":"No."}')
    assert store.find_request_log(logged, "req_c") == found


def test_a_log_is_its_owners_alone(store: UsageStore, logged: Scope) -> None:
    assert store.find_request_log(logged, "req_f") is None
    assert store.find_request_log(logged, "req_g") is None
    assert store.find_request_log(logged, "req_nothing") is None


@pytest.mark.parametrize(
    ("wanted", "requests"),
    [
        ({}, "edcba"),
        ({"rows_max": 2}, "ed"),
        ({"method": "GET"}, "b"),
        ({"path": "/v1/customers"}, "eca"),
        ({"path": "/v1/customers*"}, "ecba"),
        ({"path": "*"}, "edcba"),
        ({"path": "%"}, ""),
        ({"statuses": (400, 499)}, "dc"),
        ({"start": NOW + 1}, "ed"),
        ({"end": NOW + 1}, "cba"),
        ({"start": NOW + 1, "end": NOW + 1000}, "d"),
        ({"after": (NOW, "req_b")}, "a"),
        ({"after": (NOW + 1, "req_d")}, "cba"),
        ({"before": (NOW, "req_b")}, "edc"),
        ({"before": (NOW, "req_a"), "rows_max": 2}, "cb"),
        ({"after": (NOW + 1, "req_d"), "method": "POST", "rows_max": 1}, "c"),
    ],
)
def test_pages(store: UsageStore, logged: Scope, wanted: dict[str, Any], requests: str) -> None:
    found = store.request_logs(Query(logged, 10)._replace(**wanted))
    assert [log.request for log in found] == [f"req_{letter}" for letter in requests]


def test_logs_leave_by_whole_days(store: UsageStore) -> None:
    scope, day = new_scope(), 24 * 3_600_000
    before, after = (log_of(scope, name, created=5_000 * day + at) for name, at in NEXT_TO_MIDNIGHT)
    store.insert(TABLE, pack([before]), next_token())
    store.insert(TABLE, pack([after]), next_token())
    assert store.drop_before(TABLE, 19830910) == 1  # day 5,000 since the epoch
    assert store.request_logs(Query(scope, 10)) == [after]
