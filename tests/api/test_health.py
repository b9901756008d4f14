from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from meterhouse import zones
from meterhouse.ledger import accounts
from tests.api.local import NOW, LocalServer, local_server
from tests.server import LIVE_KEY, TEST_KEY


def test_probes_need_no_key(http: httpx.Client) -> None:
    assert http.get("/healthz", auth=None).json() == {"status": "ok"}
    assert http.get("/readyz", auth=None).json() == {"status": "ready"}


def test_metrics_tell_what_happened(local: LocalServer) -> None:
    local.meter()
    data = {"event_name": "calls", "payload[value]": "1", "identifier": "one"}
    for _ in range(2):
        local.request("POST", "/v1/billing/meter_events", data=data)
    local.run(local.meterhouse.services.progress.settle(30))
    local.request("GET", "/secret/path")
    answer = local.request("GET", "/metrics")
    rules = zones.rules()
    assert (
        f'meterhouse_timezone_rules_info{{source="{rules.source}",version="{rules.version}"}} 1.0'
    ) in answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    requests = "meterhouse_requests_total"
    assert samples[requests, "POST", "/v1/billing/meter_events", "200"] == 1
    assert samples[requests, "POST", "/v1/billing/meter_events", "400"] == 1
    assert samples[requests, "any", "unrecognized", "404"] == 1
    assert samples["meterhouse_events_total", "", "acknowledged"] == 1
    assert samples["meterhouse_journal_events",] == 0
    assert "secret" not in answer.text


PROXIED = {"x-forwarded-for": "192.0.2.1"}


def read_metrics(local: LocalServer, authorization: str | None = None, **more: str) -> int:
    headers = more | ({"authorization": authorization} if authorization else {})

    async def ask() -> int:
        transport = httpx.ASGITransport(local.meterhouse.asgi)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return (await client.get("/metrics", headers=headers)).status_code

    return local.run(ask())


def test_metrics_are_for_this_machine_and_for_who_may_see_all_accounts(local: LocalServer) -> None:
    with local.meterhouse.ledger.write() as connection:
        account = accounts.create_account(connection, "Theirs", NOW * 1000).id

    def make_key(headers: dict[str, str], **data: str) -> str:
        operator = local.meterhouse.services.operator_token
        path = "/meterhouse/v1/api_keys"
        made = local.create(path, key=operator, headers=headers, data={"name": "one"} | data)
        secret: str = made["secret"]
        return secret

    other = make_key({"Stripe-Account": account})
    restricted = make_key({}, **{"permissions[customers]": "write"})
    assert read_metrics(local) == 200
    assert read_metrics(local, **PROXIED) == 401
    assert read_metrics(local, host="meters.example.com") == 401
    assert read_metrics(local, f"Bearer {TEST_KEY}", **PROXIED) == 200
    assert read_metrics(local, f"Bearer {LIVE_KEY}", **PROXIED) == 200
    assert read_metrics(local, "Bearer sk_test_nobodys", **PROXIED) == 401
    assert read_metrics(local, f"Bearer {other}", **PROXIED) == 403
    assert read_metrics(local, f"Bearer {restricted}", **PROXIED) == 403


def test_metrics_are_open_where_a_setting_says_so(tmp_path: Path) -> None:
    with local_server(tmp_path, metrics="open") as local:
        assert read_metrics(local, **PROXIED) == 200
