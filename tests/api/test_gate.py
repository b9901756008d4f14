import json
import logging
from typing import Any

import httpx
import pytest
import stripe

from meterhouse.api.routes import ROUTES
from meterhouse.errors import StoreError
from tests.api.local import HOUR, NOW, LocalServer
from tests.api.samples import connect, error_of, make_customer, make_meter, send
from tests.server import TEST_KEY, Server

_GROWING = {"/metrics", "/meterhouse/v1/request_logs"}  # with each request

# ---- Versions ----


@pytest.mark.parametrize(
    "version",
    [
        "2011-01-01",
        "2024-06-20",
        "2024-09-30.acacia",
        "2025-03-31.basil",
        "2025-09-30.clover",
        "2026-03-25.dahlia",
        "2026-10-28.endive",
        "2026-09-30.preview",
        "2027-01-01.fig",
    ],
)
def test_a_version_is_answered(http: httpx.Client, version: str) -> None:
    answer = http.get("/v1/account", headers={"Stripe-Version": version})
    assert answer.status_code == 200
    assert answer.headers["stripe-version"] == version


def test_the_version_when_none_is_asked_for(http: httpx.Client) -> None:
    assert http.get("/v1/account").headers["stripe-version"] == "2026-10-28.endive"


@pytest.mark.parametrize(
    "version",
    ["", "latest", "2026-10-28", "2026-10-28.acacia", "2024-13-01", "2099-01-01.fig", "2.0", "é"],
)
def test_a_version_that_does_not_exist(http: httpx.Client, version: str) -> None:
    answer = http.get("/v1/account", headers={b"stripe-version": version.encode("latin-1")})
    assert error_of(answer, 400) == {
        "message": f"Invalid Stripe API version: {version}",
        "type": "invalid_request_error",
    }


# ---- The request as a whole ----


def test_every_answer_has_an_id_of_its_own(http: httpx.Client) -> None:
    answers = [http.get(path) for path in ("/v1/account", "/v1/account", "/no", "/healthz")]
    ids = {answer.headers["request-id"] for answer in answers}
    assert len(ids) == len(answers)


def test_the_sdk_shows_the_id(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.v1.customers.retrieve("cus_no")
    assert (caught.value.request_id or "").startswith("req_")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1"),
        ("GET", "/v1/no"),
        ("GET", "/v1/customers/"),
        ("GET", "/v1/customers/cus_x/cards"),
        ("GET", "/v1/billing/meter_events"),
        ("PUT", "/v1/customers"),
        ("PATCH", "/v1/customers/cus_x"),
        ("DELETE", "/v1/billing/meters/mtr_x"),
        ("OPTIONS", "/v1/customers"),
        ("POST", "/healthz"),
        ("PUT", "/healthz"),
        ("GET", "/v1/%C3%A9%22"),
    ],
)
def test_what_is_not_there(http: httpx.Client, method: str, path: str) -> None:
    error = error_of(http.request(method, path), 404)
    shown = path.replace("%C3%A9%22", 'é"')
    assert error == {
        "message": f"Unrecognized request URL ({method}: {shown}). If you are trying to list "
        "objects, remove the trailing slash. If you are trying to retrieve an object, make sure "
        "you passed a valid (non-empty) identifier in your code. Please see "
        "https://stripe.com/docs or we can help at https://support.stripe.com/.",
        "type": "invalid_request_error",
    }


@pytest.mark.parametrize("path", [row.path for row in ROUTES if row.method == "GET"])
def test_head_has_the_status_and_the_headers_of_get_and_no_body(
    http: httpx.Client, path: str
) -> None:
    """A body would be taken for the beginning of the next answer on the connection."""
    at = path.replace("{id}", "no_such_id")
    head, got = http.head(at), http.get(at)
    assert (head.status_code, head.content) == (got.status_code, b"")
    differ = {"date", "request-id"} | ({"content-length"} if path in _GROWING else set())
    assert all(head.headers[name] == got.headers[name] for name in got.headers.keys() - differ)
    assert int(head.headers["content-length"]) > 0


def test_head_of_what_is_not_there_and_of_what_only_takes_post(http: httpx.Client) -> None:
    for path in ("/no", "/v1/billing/meter_events"):
        assert (http.head(path).status_code, http.head(path).content) == (404, b"")


def test_head_of_a_file_sends_none_of_it(local: LocalServer) -> None:
    asked = {"starts_at": NOW - HOUR, "ends_at": NOW, "meters[0][meter]": local.meter()}
    head, got = (
        local.request(method, "/meterhouse/v1/usage", params=asked, headers={"accept": "text/csv"})
        for method in ("HEAD", "GET")
    )
    assert (head.status_code, got.status_code, head.content) == (200, 200, b"")
    assert head.headers["content-length"] == got.headers["content-length"] == str(len(got.content))


def test_parameters_of_a_post_may_stand_in_its_url(http: httpx.Client) -> None:
    made = http.post("/v1/customers?metadata[a]=1&name=A", data={"metadata[b]": "2", "name": "B"})
    assert (made.json()["metadata"], made.json()["name"]) == ({"a": "1", "b": "2"}, "B")


def test_a_wrong_wish_for_exactness(http: httpx.Client) -> None:
    answer = http.get("/v1/account", headers={"Meterhouse-Exact": "yes"})
    assert error_of(answer, 400)["message"] == (
        "Invalid Meterhouse-Exact: yes; must be one of true or false"
    )


def test_a_wrong_wish_for_consistency(http: httpx.Client) -> None:
    answer = http.get("/v1/account", headers={"Meterhouse-Consistency": "maybe"})
    assert error_of(answer, 400)["message"] == (
        "Invalid Meterhouse-Consistency: maybe; must be one of strong or eventual"
    )


def test_a_fault_of_ours(local: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault is logged under the request's id; the sender hears nothing of what was wrong."""

    async def read(*_: Any) -> None:
        raise ZeroDivisionError("secret detail")

    local.request("GET", "/v1/account")
    monkeypatch.setattr(local.meterhouse.services.questions, "read", read)
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", records.append)
    logger = logging.getLogger("meterhouse.request")
    logger.addHandler(handler)
    try:
        answer = local.request("GET", "/v1/account")
    finally:
        logger.removeHandler(handler)
    error = error_of(answer, 500)
    assert error["type"] == "api_error"
    assert "secret detail" not in answer.text
    (record,) = records
    assert answer.headers["request-id"] in record.getMessage()
    assert record.exc_info


def test_a_store_that_does_not_answer(local: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def read(*_: Any) -> None:
        raise StoreError("The ledger does not answer.")

    local.request("GET", "/v1/account")
    monkeypatch.setattr(local.meterhouse.services.questions, "read", read)
    monkeypatch.setattr(logging.getLogger("meterhouse.request"), "disabled", True)
    answer = local.request("GET", "/v1/account")
    assert error_of(answer, 503)["type"] == "api_error"
    assert answer.headers["stripe-should-retry"] == "true"


def test_a_queue_that_is_full(local: LocalServer) -> None:
    local.meter()
    acceptor = local.meterhouse.services.acceptor
    before, acceptor.journal_events = acceptor.journal_events, 2_000_000
    data = {"event_name": "calls", "payload[value]": "1"}
    answer = local.request("POST", "/v1/billing/meter_events", data=data)
    assert error_of(answer, 429)["code"] == "rate_limit"
    assert answer.headers["stripe-rate-limited-reason"] == "global-concurrency"
    assert answer.headers["stripe-should-retry"] == "true"
    assert local.request("GET", "/readyz").status_code == 503
    assert (
        'meterhouse_overloads_total{queue="journal"} 1.0' in local.request("GET", "/metrics").text
    )
    acceptor.journal_events = before
    assert local.create("/v1/billing/meter_events", data=data)
    assert local.request("GET", "/readyz").status_code == 200


# ---- The log ----


def test_each_request_is_noted_once(local: LocalServer) -> None:
    answers = [
        local.request("GET", "/v1/account?expand[]=x"),
        local.request("GET", "/no"),
        local.request("GET", "/v1/account", key="sk_test_wrong_key_0"),
        local.request("GET", "/healthz"),
    ]
    account = local.request("GET", "/v1/account").json()["id"]
    noted = local.noted[:-1]
    assert [one.request for one in noted] == [answer.headers["request-id"] for answer in answers]
    assert [
        (one.method, one.path, one.status, one.account, one.livemode, one.now) for one in noted
    ] == [
        ("GET", "/v1/account", 400, account, False, NOW * 1000),
        ("GET", "/no", 404, "", None, NOW * 1000),
        ("GET", "/v1/account", 401, "", None, NOW * 1000),
        ("GET", "/healthz", 200, "", None, NOW * 1000),
    ]
    assert all(one.seconds > 0 for one in noted)


def test_the_log_has_no_secret_and_no_payload(server: Server, account: str) -> None:
    client = connect(server, account=account)
    make_meter(client, "name-that-is-private")
    customer = make_customer(client)
    send(client, customer, "123454321", "name-that-is-private", identifier="private-identifier")
    httpx.get(f"{server.url}/v1/customers/{TEST_KEY}?secret=query", trust_env=False)
    last = httpx.get(f"{server.url}/healthz", trust_env=False).headers["request-id"]
    while last not in (log := server.log()):
        pass
    assert "status=200 ms=" in log
    assert f"account={account} livemode=false" in log
    assert "path=/v1/customers/sk_test_**** status=401" in log
    for secret in (TEST_KEY, "private", "123454321", "query"):
        assert secret not in log


def test_answers_are_json_to_the_letter(http: httpx.Client) -> None:
    answer = http.post("/v1/customers", data={"name": '\u2028 " \\ \u0001 é 🎩'})
    assert json.loads(answer.content)["name"] == '\u2028 " \\ \u0001 é 🎩'
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["content-length"]) == len(answer.content)
