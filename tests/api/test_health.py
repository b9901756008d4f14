import httpx
from prometheus_client.parser import text_string_to_metric_families

from meterhouse import zones
from tests.api.house import House


def test_probes_need_no_key(http: httpx.Client) -> None:
    assert http.get("/healthz", auth=None).json() == {"status": "ok"}
    assert http.get("/readyz", auth=None).json() == {"status": "ready"}


def test_metrics_tell_what_happened(house: House) -> None:
    house.meter()
    data = {"event_name": "calls", "payload[value]": "1", "identifier": "one"}
    for _ in range(2):
        house.request("POST", "/v1/billing/meter_events", data=data)
    house.run(house.meterhouse.house.processor.settle(30))
    house.request("GET", "/secret/path")
    answer = house.request("GET", "/metrics")
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
