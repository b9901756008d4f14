"""Live events that are held back, because nobody asks: whoever asks waits for them."""

from typing import Any

import pytest

from meterhouse import limits
from tests.api.local import DAY, NOW, LocalServer
from tests.api.v2.samples import STREAM, done, event, post
from tests.server import LIVE_KEY

METER = {
    "display_name": "Calls",
    "event_name": "calls",
    "default_aggregation[formula]": "sum",
}


class Held:
    """A meter and a customer in live mode, and two events: one counts, one is rejected."""

    def __init__(self, local: LocalServer) -> None:
        self.local = local
        self.meter = local.create("/v1/billing/meters", key=LIVE_KEY, data=METER)["id"]
        self.customer = local.create("/v1/customers", key=LIVE_KEY)["id"]
        events = [event(self.customer, "3", identifier="a"), event("cus_no", identifier="b")]
        done(post(local, STREAM, {"events": events}, key=LIVE_KEY))

    def ask(self, path: str, **params: Any) -> Any:
        """Ask an eventual question."""
        return done(self.local.request("GET", path, key=LIVE_KEY, params=params))

    def day(self, *names: str) -> dict[str, int]:
        """Return the parameters for this day and the next, by the names that they have."""
        return dict(zip(names, (NOW // DAY * DAY, NOW // DAY * DAY + 2 * DAY), strict=True))


@pytest.fixture
def held(local: LocalServer, monkeypatch: pytest.MonkeyPatch) -> Held:
    """Let events wait as long as it takes, also right after a question."""
    monkeypatch.setattr(limits, "PROCESS_HELD_MILLISECONDS_MAX", 60_000)
    monkeypatch.setattr(limits, "PROCESS_ASKED_MILLISECONDS", 0)
    return Held(local)


def test_a_summary_waits(held: Held) -> None:
    path = f"/v1/billing/meters/{held.meter}/event_summaries"
    found = held.ask(path, customer=held.customer, **held.day("start_time", "end_time"))
    assert [point["aggregated_value"] for point in found["data"]] == [3]


@pytest.mark.parametrize("path", ["/v1/billing/analytics/meter_usage", "/meterhouse/v1/usage"])
def test_usage_waits_and_is_as_fresh_as_now(held: Held, path: str) -> None:
    mine = {"customer": held.customer} if path.startswith("/v1/") else {}
    asked = {"meters[0][meter]": held.meter, **held.day("starts_at", "ends_at")}
    found = held.ask(path, **asked, **mine)
    rows = found.get("rows") or found["data"]
    assert [float(row.get("value", row.get("bucket_value"))) for row in rows] == [3]
    assert found.get("refreshed_at", found.get("data_refreshed_at")) == NOW


def test_a_search_waits(held: Held) -> None:
    found = held.ask("/meterhouse/v1/meter_events")["data"]
    assert {one["identifier"]: one["outcome"] for one in found} == {
        "a": "accepted",
        "b": "rejected",
    }
    assert held.ask("/meterhouse/v1/meter_events/a")["outcome"] == "accepted"


def test_activity_and_rejections_wait(held: Held) -> None:
    found = held.ask("/meterhouse/v1/activity", **held.day("starts_at", "ends_at"))["data"]
    assert sum(row["events"] for row in found) == 2
    [kind] = held.ask("/meterhouse/v1/rejections")["data"]
    assert kind["code"] == "meter_event_customer_not_found"


def test_the_books_wait(held: Held) -> None:
    told = held.ask("/meterhouse/v1/status")
    assert (told["pending"], told["accepted"], told["rejected"]) == (0, 1, 1)
    assert told["complete_until"] == f"{NOW}.000"


def test_metrics_wait(held: Held) -> None:
    text = held.local.request("GET", "/metrics").text
    assert 'meterhouse_events_total{code="",outcome="accepted"} 1.0' in text
    assert "meterhouse_journal_events 0.0" in text


def test_a_verification_waits(held: Held) -> None:
    token = held.local.meterhouse.services.operator_token
    path = "/meterhouse/v1/verification"
    done(held.local.request("POST", path, key=token))
    told = done(held.local.request("GET", path, key=token))
    while told["status"] == "running":
        told = done(held.local.request("GET", path, key=token))
    assert told["status"] == "balanced"
    assert [line["pending"] for line in told["lines"]] == [0]


@pytest.mark.parametrize("change", ["deactivate", "customer"])
def test_events_are_judged_by_the_catalog_of_their_time(held: Held, change: str) -> None:
    """What is changed after an event was acknowledged does not change what becomes of it."""
    held.local.clock.advance(1)
    if change == "deactivate":
        held.local.create(f"/v1/billing/meters/{held.meter}/deactivate", key=LIVE_KEY)
    else:
        held.local.request("DELETE", f"/v1/customers/{held.customer}", key=LIVE_KEY)
    told = held.ask("/meterhouse/v1/status")
    assert (told["accepted"], told["rejected"]) == (1, 1)
