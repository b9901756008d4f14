"""What clocks that jump do to the whole program, and to whoever asks it."""

import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from meterhouse import limits
from meterhouse.errors import StoreError
from meterhouse.ledger import timekeeping
from meterhouse.stores import Stores
from tests.api.house import DAY, NOW, House
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


def stream(house: House, *events: dict[str, Any]) -> None:
    done(post(house, STREAM, {"events": list(events)}, key=token(house)))


def jump(house: House, milliseconds: int) -> None:
    """Let the clock jump; a look sees it, and a sweep goes by it."""
    house.clock.advance(milliseconds)
    house.run(house.meterhouse.house.timekeeper.look(LOOK))
    house.run(house.meterhouse._retention.sweep())


def verified(house: House) -> list[str]:
    async def verify() -> dict[str, Any]:
        verification = house.meterhouse.house.verification
        verification.start()
        assert verification._task is not None
        await verification._task
        return verification.state()

    problems: list[str] = house.run(verify())["problems"]
    return problems


def found(house: House, path: str, **params: str) -> int:
    headers = {"Stripe-Version": "2026-10-28.endive"}
    return len(house.request("GET", path, params=params, headers=headers).json()["data"])


# What is kept for some time, by its name: how many of them there are.
KEPT: dict[str, Callable[[House], int]] = {
    "rejected events": lambda house: found(
        house, "/meterhouse/v1/meter_events", outcome="rejected"
    ),
    "duplicates": lambda house: found(house, "/meterhouse/v1/meter_events", outcome="duplicate"),
    "snapshot events": lambda house: found(house, "/v1/events"),
    "thin events": lambda house: found(house, "/v2/core/events"),
    "request logs": lambda house: found(house, "/meterhouse/v1/request_logs", method="POST"),
    "activity": lambda house: found(
        house, "/meterhouse/v1/activity", starts_at=str(NOW - DAY), ends_at=str(NOW + DAY)
    ),
}


@pytest.mark.parametrize("back", [True, False])
def test_a_clock_that_jumps_ahead_drops_nothing(house: House, *, back: bool) -> None:
    """Given all that is kept for some time, when the clock jumps by months, then it is all there.

    Identifiers are taken during the jump and after it, by API v1 and in streams, and so are keys.
    When the clock does not come back, it is believed after a day, and only then things go.
    """
    meter, customer = house.meter(), house.customer()
    key = {"Idempotency-Key": "k"}
    first = house.request("POST", V1, data=v1(customer, "a"), headers=key)
    assert first.status_code == 200
    stream(house, event(customer, identifier="b"), event(customer, identifier="b"))
    stream(house, event("cus_nobody", identifier="wrong"))
    used(house, meter, customer)
    house.run(house.meterhouse._request_logs.stop())  # which inserts what it has noted
    kept = {name: count(house) for name, count in KEPT.items()}
    assert all(kept.values()), kept

    jump(house, MONTHS)
    error_of(house.request("POST", V1, data=v1(customer, "a")), 400)
    again = house.request("POST", V1, data=v1(customer, "a"), headers=key)
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    stream(house, event(customer, identifier="a"), event(customer, identifier="b"))
    house.create(V1, data=v1(customer, "during"))
    house.run(house.meterhouse.house.processor.settle(30))
    if back:
        jump(house, -MONTHS)
        for identifier in ("a", "during"):
            error_of(house.request("POST", V1, data=v1(customer, identifier)), 400)
        stream(house, *(event(customer, identifier=one) for one in ("a", "b", "during")))
        assert used(house, meter, customer) == 2
    for name, count in KEPT.items():
        assert count(house) >= kept[name], name
    assert verified(house) == []
    if not back:
        for _ in range(2):
            jump(house, 0)
        house.run(house.meterhouse.house.timekeeper.look(limits.CLOCK_DOUBT_HOURS * 3_600_000))
        jump(house, 0)
        assert KEPT["rejected events"](house) == 0
        assert KEPT["activity"](house) == 0
        assert house.create(V1, data=v1(customer, "a"))


SENT: list[tuple[str, Callable[[House, str], httpx.Response]]] = [
    ("v1", lambda house, _: house.request("POST", V1, data=v1("cus_1", "x"))),
    (
        "v1 adjustment",
        lambda house, _: house.request("POST", V1.replace("events", "event_adjustments")),
    ),
    ("v2", lambda house, _: post(house, EVENTS, event("cus_1"))),
    ("v2 adjustment", lambda house, _: post(house, ADJUSTMENTS, {"event_name": "calls"})),
    ("stream", lambda house, key: post(house, STREAM, {"events": [event("cus_1")]}, key=key)),
    ("resend", lambda house, _: house.request("POST", RESEND, json={"filter": {}})),
]


@pytest.mark.parametrize(("sent", "send"), SENT, ids=[name for name, _ in SENT])
def test_a_clock_that_is_behind_stops_events(
    house: House,
    caplog: pytest.LogCaptureFixture,
    sent: str,
    send: Callable[[House, str], httpx.Response],
) -> None:
    """Given a clock that jumps back, then who sends is to retry; all else is answered."""
    key = token(house)
    house.clock.advance(-6 * 365 * DAY * 1000)
    answer = send(house, key)
    error = answer.json()["error"]
    assert (answer.status_code, error["message"][:51]) == (
        503,
        "The server takes no events until its clock is right",
    ), sent
    assert answer.headers["stripe-should-retry"] == "true"
    ready = house.request("GET", "/readyz")
    assert ready.status_code == 503
    assert ready.json()["reason"].startswith("The clock says 2020-11-22 12:00:00 UTC, but time has")
    house.run(house.meterhouse.house.timekeeper.look())
    assert "events are answered with 503" in caplog.text
    assert [one.levelno for one in caplog.records if "clock" in one.name] == [logging.WARNING]
    house.meter()
    done(post(house, SESSION))
    house.clock.set(NOW * 1000)
    assert send(house, token(house)).status_code != 503
    assert house.request("GET", "/readyz").status_code == 200


def test_the_operator_may_say_that_a_clock_which_is_behind_is_right(house: House) -> None:
    """Given a server that ran with a clock in the future, then one command sets it going again."""
    house.meter()
    house.clock.advance(-MONTHS)
    refused(post(house, EVENTS, event("cus_1")), 503)
    house.run(house.meterhouse.house.stores.write(timekeeping.settle, house.clock.now()))
    house.run(house.meterhouse.house.timekeeper.look())
    done(post(house, EVENTS, event("cus_1")))
    assert verified(house) == []


def test_what_a_clock_ahead_has_made_does_not_outlast_it(house: House) -> None:
    """Given a session made by a clock that was ahead, then it is over when the clock is back."""
    house.clock.advance(MONTHS)
    key = token(house)
    done(post(house, STREAM, {"events": [event("cus_1")]}, key=key))
    house.clock.advance(-MONTHS)
    assert refused(post(house, STREAM, {"events": [event("cus_1")]}, key=key), 400)["type"] == (
        "temporary_session_expired"
    )


# ---- Readiness ----


def test_it_is_not_ready_while_the_ledger_takes_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a disk that is full, then the reason is told until something is written again."""
    house.meter()
    write_then = Stores.write_then

    async def full(self: Stores, then: Any, work: Any, *args: Any) -> Any:
        def fails(*_: Any) -> None:
            raise StoreError("The ledger does not answer: database or disk is full")

        return await write_then(self, then, fails if args else work, *args)

    monkeypatch.setattr(Stores, "write_then", full)
    answer = house.request("POST", V1, data=v1("cus_1", "a"))
    assert answer.status_code == 503
    for _ in range(2):
        ready = house.request("GET", "/readyz")
        assert ready.status_code == 503
        assert ready.json() == {
            "status": "not ready",
            "reason": "The ledger does not answer: database or disk is full",
        }
        house.run(house.meterhouse._retention.sweep())  # which has nothing to write
    monkeypatch.undo()
    house.create(V1, data=v1("cus_1", "a"))
    assert house.request("GET", "/readyz").status_code == 200


def test_a_look_at_the_clock_tells_that_the_ledger_takes_something_again(house: House) -> None:
    house.meterhouse.house.stores._trouble = "The ledger does not answer: database is locked"
    assert house.request("GET", "/readyz").status_code == 503
    house.run(house.meterhouse.house.timekeeper.look())
    assert house.request("GET", "/readyz").status_code == 200


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (StoreError("The usage store gave no answer"), "The usage store gave no answer"),
        (ValueError("?"), "Events are acknowledged, but cannot be processed; the log tells why."),
    ],
)
def test_it_is_not_ready_while_nothing_is_processed(
    house: House, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    processor = house.meterhouse.house.processor

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(processor._workshop, "judge", fail)
    house.meter()
    house.create(V1, data=v1("cus_1", "a"))
    house.run(processor.settle(0.2))
    assert house.request("GET", "/readyz").json()["reason"] == reason
    monkeypatch.undo()
    house.run(processor.settle(30))
    assert house.request("GET", "/readyz").status_code == 200
