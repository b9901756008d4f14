import asyncio
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.jobs import resend as resend_job
from meterhouse.jobs.resend import Resender
from meterhouse.ledger import resends
from tests.api.local import DAY, NOW, LocalServer, local_server
from tests.api.meterhouse.samples import RESEND, counts, find, life, resend, stream, wrong
from tests.api.samples import error_of
from tests.api.v2.samples import at, books, done, event, used
from tests.server import LIVE_KEY


def single(local: LocalServer, customer: str, identifier: str, value: str = "1") -> None:
    """Send one event over API v1."""
    local.create(
        "/v1/billing/meter_events",
        data={
            "event_name": "calls",
            "identifier": identifier,
            "payload[stripe_customer_id]": customer,
            "payload[value]": value,
        },
    )


def test_a_resend_as_it_is_shown(local: LocalServer) -> None:
    customer = local.customer()
    stream(local, event(customer, "2", identifier="a", timestamp=at(-60)), wrong("b", customer))
    meter = local.meter()
    told = resend(local, filter={"code": "no_meter"})
    assert told.pop("id").startswith("rsd_")
    assert told == {
        "object": "meterhouse.resend",
        "accepted": 1,
        "codes": {"no_meter": 1},
        "created": NOW,
        "dry_run": False,
        "duplicate": 0,
        "livemode": False,
        "matched": 2,
        "rejected": 1,
        "status": "complete",
    }
    assert used(local, meter, customer) == 2
    event_ = life(local, "a")
    assert event_["timestamp"] == NOW - 60
    assert [one["code"] for one in event_["rejections"]] == ["no_meter"]


def test_what_is_replaced(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    stream(local, wrong("a", "cus_1", timestamp=at(-50 * 86_400)))
    told = resend(
        local,
        identifiers=["a"],
        replace={
            "event_name": "calls",
            "timestamp": NOW - 5,
            "payload": {"stripe_customer_id": customer, "note": "by hand"},
        },
    )
    assert counts(told) == (1, 1, 0, 0)
    shown = life(local, "a")
    assert shown["timestamp"] == NOW - 5
    assert shown["payload"] == {"stripe_customer_id": customer, "value": "2", "note": "by hand"}
    assert used(local, meter, customer) == 2


def test_it_counts_once_though_its_identifier_is_free_again(tmp_path: Path) -> None:
    with local_server(tmp_path, deduplication_days="1") as local:
        meter, customer = local.meter(), local.customer()
        stream(local, wrong("a", customer), wrong("b", customer))
        fixed = {"event_name": "calls"}
        assert counts(resend(local, identifiers=["a"], replace=fixed)) == (1, 1, 0, 0)
        local.clock.advance(5 * DAY * 1000)
        local.run(local.job("retain").sweep())
        assert counts(resend(local, filter={}, replace=fixed, dry_run=True)) == (2, 1, 0, 1)
        assert counts(resend(local, filter={}, replace=fixed)) == (2, 1, 0, 1)
        assert used(local, meter, customer) == 4


def test_however_often_it_is_resent_it_counts_once(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    stream(local, wrong("a", customer), wrong("a", customer), wrong("b", customer))
    fixed = {"event_name": "calls"}
    assert counts(resend(local, identifiers=["a"])) == (1, 0, 1, 0)
    assert counts(resend(local, identifiers=["a"], replace=fixed)) == (1, 1, 0, 0)
    assert counts(resend(local, filter={}, replace=fixed)) == (2, 1, 0, 1)
    assert counts(resend(local, filter={}, replace=fixed)) == (2, 0, 0, 2)
    stream(local, event(customer, identifier="a"))
    assert used(local, meter, customer) == 4
    outcomes = books(local)
    assert outcomes["accepted"] == 2
    assert outcomes["duplicate"] == 4
    assert outcomes["no_meter"] == 4


def test_an_event_that_was_sent_alone_is_no_duplicate_of_itself(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    single(local, "cus_1", "a", "3")
    single(local, customer, "b")
    fixed = {"payload": {"stripe_customer_id": customer}}
    assert counts(resend(local, identifiers=["a", "b"])) == (1, 0, 1, 0)
    assert counts(resend(local, identifiers=["a"], replace=fixed, dry_run=True)) == (1, 1, 0, 0)
    assert counts(resend(local, identifiers=["a"], replace=fixed)) == (1, 1, 0, 0)
    assert counts(resend(local, identifiers=["a"], replace=fixed)) == (1, 0, 0, 1)
    assert used(local, meter, customer) == 4
    again = local.request(
        "POST",
        "/v1/billing/meter_events",
        data={"event_name": "calls", "identifier": "a", "payload[stripe_customer_id]": customer},
    )
    assert error_of(again, 400)["message"] == "An event already exists with identifier a."


def test_the_filters(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    stream(
        local,
        wrong("a", customer),
        event("cus_1", identifier="b"),
        event(customer, "x", identifier="c"),
        event(customer, identifier="d"),
    )
    local.clock.advance(10_000)
    stream(local, wrong("e", customer))

    def matched(**filter_: Any) -> int:
        told = resend(local, filter=filter_, dry_run=True)
        assert told["dry_run"] is True
        return counts(told)[0]

    assert matched() == 4
    assert matched(meter=meter) == 2
    assert matched(code="meter_event_invalid_value") == 1
    assert matched(event_name="cals") == 2
    assert matched(customer=customer) == 3
    assert matched(received={"gte": NOW + 1}) == 1
    assert matched(received={"lt": NOW + 1}) == 3
    assert matched(received={"gte": NOW, "lt": NOW}) == 0
    assert len(find(local)) == 5


def test_a_preview_sends_nothing(local: LocalServer) -> None:
    local.meter()
    customer = local.customer()
    stream(local, event(customer, identifier="taken"), wrong("taken", customer))
    stream(local, wrong("a", customer), wrong("b", "cus_1"))
    told = resend(local, filter={}, replace={"event_name": "calls"}, dry_run=True)
    assert counts(told) == (3, 1, 1, 1)
    assert told["codes"] == {"meter_event_customer_not_found": 1}
    assert books(local)["acknowledged"] == 4


def test_a_large_resend_goes_chunk_by_chunk(
    local: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RESEND_CHUNK_EVENTS_MAX", 3)
    customer = local.customer()
    names = [f"event-{number % 7}" for number in range(20)]
    stream(local, *[wrong(name, customer) for name in names])
    meter = local.meter("cals")
    assert counts(resend(local, filter={})) == (7, 7, 0, 0)
    assert used(local, meter, customer) == 14


@pytest.mark.parametrize("sent", ["before", "after"])
def test_a_resend_goes_on_after_a_crash(
    local: LocalServer, monkeypatch: pytest.MonkeyPatch, sent: str
) -> None:
    """The process ends before the commit that sends the chunk, or just after it."""
    customer = local.customer()
    stream(local, wrong("a", customer), wrong("b", customer))
    meter = local.meter("cals")

    async def crash() -> str:
        def fails(connection: sa.Connection, *args: Any) -> bool:
            if sent == "before":
                raise asyncio.CancelledError
            return send(connection, *args)

        async def ends(*_: Any) -> None:
            raise asyncio.CancelledError

        send = resend_job._send
        with monkeypatch.context() as patched:
            patched.setattr(resend_job, "_send", fails)
            patched.setattr(Resender, "_settle", ends if sent == "after" else Resender._settle)
            patched.setattr(limits, "RESEND_ANSWER_SECONDS_MAX", 0.1)
            answer = await local.ask("POST", RESEND, json={"filter": {}})
            assert answer.json()["status"] == "running"
        await local.meterhouse.jobs.stop("resend")
        local.start_job("resend")
        begun: str = answer.json()["id"]
        await local.wait(lambda connection: resends.oldest_running(connection) is None)
        return begun

    begun = local.run(crash())
    told = done(local.request("GET", f"/meterhouse/v1/resends/{begun}"))
    assert counts(told) == (2, 2, 0, 0)
    assert used(local, meter, customer) == 4
    assert books(local)["acknowledged"] == 4


def test_an_idempotency_key_begins_one_resend(local: LocalServer) -> None:
    customer = local.customer()
    stream(local, wrong("a", customer))
    local.meter("cals")
    key = {"Idempotency-Key": "once"}
    first, second = (
        local.request("POST", RESEND, json={"filter": {}}, headers=key) for _ in range(2)
    )
    assert first.json() == second.json()
    assert second.headers["Idempotent-Replayed"] == "true"
    assert counts(second.json()) == (1, 1, 0, 0)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Specify which events to resend by either identifiers or filter."),
        (
            {"identifiers": ["a"], "filter": {}},
            "Specify which events to resend by either identifiers or filter.",
        ),
        ({"filter": {"outcome": "x"}}, "Received unknown field: filter.outcome."),
        ({"identifiers": []}, "identifiers must not be empty."),
        ({"filter": {"received": {"gte": "x"}}}, "filter.received.gte must be a number, not"),
    ],
)
def test_what_is_refused(local: LocalServer, body: dict[str, Any], message: str) -> None:
    assert error_of(local.request("POST", RESEND, json=body), 400)["message"].startswith(message)


def test_a_form_is_refused(local: LocalServer) -> None:
    refused = error_of(local.request("POST", RESEND, data={"dry_run": "true"}), 400)
    assert refused["message"] == "The request must have the content type application/json."


def test_books_are_apart(local: LocalServer) -> None:
    stream(local, wrong("a", "cus_1"))
    told = resend(local, filter={})
    path = f"/meterhouse/v1/resends/{told['id']}"
    assert done(local.request("GET", path)) == told
    refused = error_of(local.request("GET", path, key=LIVE_KEY), 404)
    assert refused["message"] == f"No such resend: '{told['id']}'"
    assert local.request("POST", RESEND, json={"filter": {}}, key=LIVE_KEY).json()["matched"] == 0


def test_resends_are_kept_for_a_while(local: LocalServer) -> None:
    stream(local, wrong("a", "cus_1"))
    resend(local, filter={})
    expire = local.meterhouse._stores.write
    assert local.run(expire(resends.expire, NOW * 1000, 10)) == 0
    assert local.run(expire(resends.expire, NOW * 1000 + 1, 10)) == 1
