import asyncio
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from meterhouse.api.rate_limits import Measure, RateLimits
from meterhouse.clock import ManualClock
from meterhouse.errors import Refusal
from meterhouse.metering.model import Scope
from meterhouse.settings import RATE_LIMITS
from tests.api.local import LocalServer, local_server
from tests.api.samples import error_of
from tests.api.v2.samples import EVENTS, HERE, STREAM, done, event, post, refused, token
from tests.server import LIVE_KEY

TEST, LIVE, OTHER = Scope(1, "acct_1", False), Scope(2, "acct_1", True), Scope(4, "acct_2", True)
FORM = {"event_name": "calls", "payload[stripe_customer_id]": "cus_1", "payload[value]": "1"}


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[LocalServer]:
    rates = (
        "basic.test=3,basic.live=3,meter_events.live=2,meter_event_stream.live=150,"
        "meter_usage.test=2"
    )
    with local_server(tmp_path, limits="stripe", rate_limits=rates) as opened:
        opened.clock.advance(1_000)
        yield opened


def refill(local: LocalServer) -> None:
    local.clock.advance(1_000)


def test_a_measure_fills_up_as_time_goes_on() -> None:
    measure = Measure(10, 0)
    assert [measure.take(1, 0) for _ in range(11)] == [True] * 10 + [False]
    assert not measure.take(1, 99)
    assert measure.take(1, 100)
    assert not measure.take(1, 100)
    assert [measure.take(10, 60_000), measure.take(1, 60_000)] == [True, False]


def test_a_measure_takes_what_is_larger_than_itself_when_it_is_full() -> None:
    measure = Measure(10, 0)
    assert measure.take(100, 0)
    assert not measure.take(1, 9_000)
    assert measure.take(1, 9_100)


def test_nodes_that_share_a_rate_have_their_part_of_it() -> None:
    measure = Measure(10, 0)
    assert [measure.take(1, 0, nodes=4) for _ in range(3)] == [True, True, False]
    assert not measure.take(1, 199, nodes=4)
    assert measure.take(1, 200, nodes=4)
    assert not measure.take(1, 299, nodes=4)
    assert measure.take(1, 380)  # the others have gone


def test_a_clock_that_goes_back_gives_nothing() -> None:
    measure = Measure(1, 1_000)
    assert measure.take(1, 1_000)
    assert not measure.take(1, 0)
    assert not measure.take(1, 999)
    assert measure.take(1, 1_000)


def admitted(limit: Any, scope: Scope, *, connected: bool = False, amount: int = 1) -> int:
    """Count what passes within an instant."""
    limits, passed = RateLimits(RATE_LIMITS, ManualClock(0)), 0

    def all_that_pass() -> None:
        nonlocal passed
        while True:
            limits.admit(limit, scope, connected=connected, amount=amount)
            passed += 1

    with pytest.raises(Refusal, match="Request rate limit exceeded"):
        all_that_pass()
    return passed


@pytest.mark.parametrize(
    ("limit", "scope", "connected", "amount", "passed"),
    [
        ("basic", TEST, False, 1, 25),
        ("basic", LIVE, False, 1, 100),
        ("meter_events", TEST, False, 1, 25),
        ("meter_events", LIVE, False, 1, 1_000),
        ("meter_events", LIVE, True, 1, 100),
        ("meter_event_stream", TEST, False, 100, 25),
        ("meter_event_stream", LIVE, False, 100, 100),
        ("meter_event_stream", LIVE, False, 1, 10_000),
        ("meter_event_stream", LIVE, True, 100, 100),
        ("search", TEST, False, 1, 20),
        ("search", LIVE, True, 1, 20),
    ],
)
def test_the_table(limit: str, scope: Scope, connected: bool, amount: int, passed: int) -> None:
    assert admitted(limit, scope, connected=connected, amount=amount) == passed


def test_accounts_and_modes_have_measures_of_their_own() -> None:
    limits = RateLimits({**RATE_LIMITS, "basic.live": 1}, ManualClock(0))
    for scope in (LIVE, OTHER):
        limits.admit("basic", scope, connected=False)
        with pytest.raises(Refusal):
            limits.admit("basic", scope, connected=False)
    limits.admit("meter_events", LIVE, connected=False)


def test_test_mode_shares_one_limit(limited: LocalServer) -> None:
    """Given three requests of any kind, when a fourth comes in that second, then it is refused."""
    limited.meter()
    bearer = token(limited)
    done(post(limited, STREAM, {"events": [event("cus_1")] * 100}, key=bearer))
    over = limited.request("POST", "/v1/billing/meter_events", data=FORM)
    assert error_of(over, 429) == {
        "code": "rate_limit",
        "doc_url": "https://stripe.com/docs/error-codes/rate-limit",
        "message": "Request rate limit exceeded. You can learn more about rate limits here "
        "https://stripe.com/docs/rate-limits.",
        "type": "invalid_request_error",
    }
    assert over.headers["stripe-rate-limited-reason"] == "global-rate"
    assert "stripe-should-retry" not in over.headers
    over = post(limited, STREAM, {"events": [event("cus_1")]}, key=bearer)
    error = refused(over, 429)
    assert (error["type"], error["code"]) == ("rate_limit", "rate_limit")
    assert over.headers["stripe-rate-limited-reason"] == "global-rate"
    refill(limited)
    done(post(limited, STREAM, {"events": [event("cus_1")]}, key=bearer))


def test_single_events_have_a_limit_of_their_own_in_live_mode(limited: LocalServer) -> None:
    meter = {"display_name": "A", "event_name": "calls", "default_aggregation[formula]": "sum"}
    limited.create("/v1/billing/meters", data=meter, key=LIVE_KEY)
    limited.create("/v1/billing/meter_events", data=FORM, key=LIVE_KEY)
    done(post(limited, EVENTS, event("cus_1"), key=LIVE_KEY))
    over = limited.request("POST", "/v1/billing/meter_events", data=FORM, key=LIVE_KEY)
    assert error_of(over, 429)["code"] == "rate_limit"
    assert over.headers["stripe-rate-limited-reason"] == "endpoint-rate"
    assert limited.request("GET", "/v1/billing/meters", key=LIVE_KEY).status_code == 200


def test_a_stream_in_live_mode_is_measured_in_events(limited: LocalServer) -> None:
    bearer = token(limited, LIVE_KEY)
    done(post(limited, STREAM, {"events": [event("cus_1")] * 100}, key=bearer))
    done(post(limited, STREAM, {"events": [event("cus_1")] * 50}, key=bearer))
    over = post(limited, STREAM, {"events": [event("cus_1")]}, key=bearer)
    assert refused(over, 429)["type"] == "rate_limit"
    assert over.headers["stripe-rate-limited-reason"] == "endpoint-rate"
    limited.clock.advance(10)
    done(post(limited, STREAM, {"events": [event("cus_1")]}, key=bearer))


def both(local: LocalServer, path: str, **details: Any) -> list[httpx.Response]:
    """Send a request twice; while nothing is committed, one may be refused."""

    async def ask() -> list[httpx.Response]:
        go_on = Event()
        stores = local.meterhouse.services.stores
        held = asyncio.create_task(stores.write(lambda _: go_on.wait(60)))
        asked = [asyncio.create_task(local.ask("POST", path, **details)) for _ in range(2)]
        await asyncio.wait(asked, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
        go_on.set()
        await held
        return await asyncio.gather(*asked)

    return sorted(local.run(ask()), key=lambda answer: answer.status_code)


def test_one_event_at_a_time_for_a_customer_and_a_meter(tmp_path: Path) -> None:
    with local_server(tmp_path, limits="stripe") as local:
        key = "customer_mapping[event_payload_key]"
        local.meter(**{key: "who", "customer_mapping[type]": "by_id"})
        form = {"event_name": "calls", "payload[who]": "cus_1", "payload[value]": "1"}
        taken, locked = both(local, "/v1/billing/meter_events", data=form)
        assert taken.status_code == 200
        assert error_of(locked, 429)["code"] == "lock_timeout"
        assert locked.headers["stripe-should-retry"] == "true"
        assert "stripe-rate-limited-reason" not in locked.headers
        sent = {"event_name": "calls", "payload": {"who": "cus_1", "value": "1"}}
        taken, locked = both(local, EVENTS, json=sent, headers=HERE)
        assert done(taken)["event_name"] == "calls"
        assert refused(locked, 409) == {
            "code": "too_many_concurrent_requests",
            "message": "Cannot create multiple usage events for the same customer, meter "
            "concurrently.",
        }
        done(post(local, EVENTS, sent))


def test_without_the_profile_nothing_is_limited(local: LocalServer) -> None:
    local.meter()
    assert local.meterhouse.services.rate_limits is None
    for answer in both(local, "/v1/billing/meter_events", data=FORM):
        assert answer.status_code == 200
    for _ in range(30):
        assert local.request("GET", "/v1/billing/meters").status_code == 200


def test_meter_usage_has_a_limit_of_its_own(limited: LocalServer) -> None:
    """Also in test mode, and for an account that the sender has to name."""
    asked = {"customer": limited.customer(), "starts_at": 0, "ends_at": 60}
    answers = [
        limited.request("GET", "/v1/billing/analytics/meter_usage", params=asked) for _ in range(3)
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].headers["stripe-rate-limited-reason"] == "endpoint-rate"
    assert limited.request("GET", "/v1/customers").status_code == 200
