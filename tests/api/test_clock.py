"""What clocks that jump do to the whole program, and to whoever asks it."""

import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.clock import Uptime
from meterhouse.errors import StoreError
from meterhouse.ledger import timekeeping
from meterhouse.stores import Stores
from tests.api.local import DAY, NOW, LocalServer
from tests.api.samples import error_of
from tests.api.v2.samples import (
    ADJUSTMENTS,
    EVENTS,
    SESSION,
    STREAM,
    done,
    event,
    post,
    refused,
    token,
    used,
)

LOOK = limits.CLOCK_LOOK_SECONDS * 1000
MONTHS = 180 * DAY * 1000
V1 = "/v1/billing/meter_events"
RESEND = "/meterhouse/v1/invalid_meter_events/resend"


def v1(customer: str, identifier: str, value: str = "1") -> dict[str, str]:
    return {
        "event_name": "calls",
        "identifier": identifier,
        "payload[stripe_customer_id]": customer,
        "payload[value]": value,
    }


def stream(local: LocalServer, *events: dict[str, Any]) -> None:
    done(post(local, STREAM, {"events": list(events)}, key=token(local)))


def jump(local: LocalServer, milliseconds: int) -> None:
    """Let the clock jump; a look sees it, and a sweep goes by it."""
    local.clock.advance(milliseconds)
    local.clock.let_pass(LOOK)
    local.run(local.meterhouse.services.timekeeper.look())
    local.run(local.job("retain").sweep())


def doubted_enough(connection: sa.Connection, uptime: Uptime) -> None:
    """Have the clock doubted for as long as it takes, but for one look."""
    known = timekeeping.read(connection)
    assert known is not None
    doubted = limits.CLOCK_DOUBT_HOURS * 3_600_000 - LOOK
    timekeeping.write(connection, known._replace(doubted_ms=doubted), uptime)


def verified(local: LocalServer) -> list[str]:
    async def verify() -> dict[str, Any]:
        verification = local.meterhouse.services.verification._verification
        verification.start()
        assert verification._task is not None
        await verification._task
        return verification.state()

    problems: list[str] = local.run(verify())["problems"]
    return problems


def found(local: LocalServer, path: str, **params: str) -> int:
    headers = {"Stripe-Version": "2026-10-28.endive"}
    return len(local.request("GET", path, params=params, headers=headers).json()["data"])


# What is kept for some time, by its name: how many of them there are.
KEPT: dict[str, Callable[[LocalServer], int]] = {
    "rejected events": lambda local: found(
        local, "/meterhouse/v1/meter_events", outcome="rejected"
    ),
    "duplicates": lambda local: found(local, "/meterhouse/v1/meter_events", outcome="duplicate"),
    "snapshot events": lambda local: found(local, "/v1/events"),
    "thin events": lambda local: found(local, "/v2/core/events"),
    "request logs": lambda local: found(local, "/meterhouse/v1/request_logs", method="POST"),
    "activity": lambda local: found(
        local, "/meterhouse/v1/activity", starts_at=str(NOW - DAY), ends_at=str(NOW + DAY)
    ),
}


@pytest.mark.parametrize("back", [True, False])
def test_a_clock_that_jumps_ahead_drops_nothing(local: LocalServer, *, back: bool) -> None:
    """Given all that is kept for some time, when the clock jumps by months, then it is all there.

    Identifiers are taken during the jump and after it, by API v1 and in streams, and so are keys.
    When the clock does not come back, it is believed after a day, and only then things go.
    """
    meter, customer = local.meter(), local.customer()
    key = {"Idempotency-Key": "k"}
    first = local.request("POST", V1, data=v1(customer, "a"), headers=key)
    assert first.status_code == 200
    stream(local, event(customer, identifier="b"), event(customer, identifier="b"))
    stream(local, event("cus_nobody", identifier="wrong"))
    used(local, meter, customer)
    local.run(local.meterhouse._request_logs.stop())  # which inserts what it has noted
    kept = {name: count(local) for name, count in KEPT.items()}
    assert all(kept.values()), kept

    jump(local, MONTHS)
    error_of(local.request("POST", V1, data=v1(customer, "a")), 400)
    again = local.request("POST", V1, data=v1(customer, "a"), headers=key)
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    stream(local, event(customer, identifier="a"), event(customer, identifier="b"))
    local.create(V1, data=v1(customer, "during"))
    local.run(local.meterhouse.services.progress.settle(30))
    if back:
        jump(local, -MONTHS)
        for identifier in ("a", "during"):
            error_of(local.request("POST", V1, data=v1(customer, identifier)), 400)
        stream(local, *(event(customer, identifier=one) for one in ("a", "b", "during")))
        assert used(local, meter, customer) == 2
    for name, count in KEPT.items():
        assert count(local) >= kept[name], name
    assert verified(local) == []
    if not back:
        for _ in range(2):
            jump(local, 0)
        local.run(local.meterhouse.services.stores.write(doubted_enough, local.clock.uptime()))
        jump(local, 0)
        assert KEPT["rejected events"](local) == 0
        assert KEPT["activity"](local) == 0
        assert local.create(V1, data=v1(customer, "a"))


SENT: list[tuple[str, Callable[[LocalServer, str], httpx.Response]]] = [
    ("v1", lambda local, _: local.request("POST", V1, data=v1("cus_1", "x"))),
    (
        "v1 adjustment",
        lambda local, _: local.request("POST", V1.replace("events", "event_adjustments")),
    ),
    ("v2", lambda local, _: post(local, EVENTS, event("cus_1"))),
    ("v2 adjustment", lambda local, _: post(local, ADJUSTMENTS, {"event_name": "calls"})),
    ("stream", lambda local, key: post(local, STREAM, {"events": [event("cus_1")]}, key=key)),
    ("resend", lambda local, _: local.request("POST", RESEND, json={"filter": {}})),
]


@pytest.mark.parametrize(("sent", "send"), SENT, ids=[name for name, _ in SENT])
def test_a_clock_that_is_behind_stops_events(
    local: LocalServer,
    caplog: pytest.LogCaptureFixture,
    sent: str,
    send: Callable[[LocalServer, str], httpx.Response],
) -> None:
    """Given a clock that jumps back, then who sends is to retry; all else is answered."""
    key = token(local)
    local.clock.advance(-6 * 365 * DAY * 1000)
    answer = send(local, key)
    error = answer.json()["error"]
    assert (answer.status_code, error["message"][:51]) == (
        503,
        "The server takes no events until its clock is right",
    ), sent
    assert answer.headers["stripe-should-retry"] == "true"
    ready = local.request("GET", "/readyz")
    assert ready.status_code == 503
    assert ready.json()["reason"].startswith("The clock says 2020-11-22 12:00:00 UTC, but time has")
    local.run(local.meterhouse.services.timekeeper.look())
    assert "events are answered with 503" in caplog.text
    assert [one.levelno for one in caplog.records if "clock" in one.name] == [logging.WARNING]
    local.meter()
    done(post(local, SESSION))
    local.clock.set(NOW * 1000)
    assert send(local, token(local)).status_code != 503
    assert local.request("GET", "/readyz").status_code == 200


def test_the_operator_may_say_that_a_clock_which_is_behind_is_right(local: LocalServer) -> None:
    """Given a server that ran with a clock in the future, then one command sets it going again."""
    local.meter()
    local.clock.advance(-MONTHS)
    refused(post(local, EVENTS, event("cus_1")), 503)
    local.run(
        local.meterhouse.services.stores.write(
            timekeeping.settle, local.clock.now(), local.clock.uptime()
        )
    )
    local.run(local.meterhouse.services.timekeeper.look())
    done(post(local, EVENTS, event("cus_1")))
    assert verified(local) == []


def test_what_a_clock_ahead_has_made_does_not_outlast_it(local: LocalServer) -> None:
    """Given a session made by a clock that was ahead, then it is over when the clock is back."""
    local.clock.advance(MONTHS)
    key = token(local)
    done(post(local, STREAM, {"events": [event("cus_1")]}, key=key))
    local.clock.advance(-MONTHS)
    assert refused(post(local, STREAM, {"events": [event("cus_1")]}, key=key), 400)["type"] == (
        "temporary_session_expired"
    )


# ---- Readiness ----


def test_it_is_not_ready_while_the_ledger_takes_nothing(
    local: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a disk that is full, then the reason is told until something is written again."""
    local.meter()
    write_then = Stores.write_then

    async def full(self: Stores, then: Any, work: Any, *args: Any) -> Any:
        def fails(*_: Any) -> None:
            raise StoreError("The ledger does not answer: database or disk is full")

        return await write_then(self, then, fails if args else work, *args)

    monkeypatch.setattr(Stores, "write_then", full)
    answer = local.request("POST", V1, data=v1("cus_1", "a"))
    assert answer.status_code == 503
    for _ in range(2):
        ready = local.request("GET", "/readyz")
        assert ready.status_code == 503
        assert ready.json() == {
            "status": "not ready",
            "reason": "The ledger does not answer: database or disk is full",
        }
        local.run(local.job("retain").sweep())  # which has nothing to write
    monkeypatch.undo()
    local.create(V1, data=v1("cus_1", "a"))
    assert local.request("GET", "/readyz").status_code == 200


def test_a_look_at_the_clock_tells_that_the_ledger_takes_something_again(
    local: LocalServer,
) -> None:
    health = local.meterhouse.services.stores._health
    health.trouble = "The ledger does not answer: database is locked"
    assert local.request("GET", "/readyz").status_code == 503
    local.run(local.meterhouse.services.timekeeper.look())
    assert local.request("GET", "/readyz").status_code == 200


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (StoreError("The usage store gave no answer"), "The usage store gave no answer"),
        (ValueError("?"), "Events are acknowledged, but cannot be processed; the log tells why."),
    ],
)
def test_it_is_not_ready_while_nothing_is_processed(
    local: LocalServer, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    processor = local.meterhouse._processor

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(processor._engine, "judge", fail)
    local.meter()
    local.create(V1, data=v1("cus_1", "a"))
    local.run(processor.settle(0.2))
    assert local.request("GET", "/readyz").json()["reason"] == reason
    monkeypatch.undo()
    local.run(processor.settle(30))
    assert local.request("GET", "/readyz").status_code == 200
