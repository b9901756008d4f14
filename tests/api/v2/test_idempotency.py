import asyncio

import httpx
import pytest

from meterhouse.api.idempotency import fingerprint
from tests.api.local import DAY, LocalServer
from tests.api.v2.samples import (
    ADJUSTMENTS,
    EVENTS,
    HERE,
    SESSION,
    books,
    done,
    event,
    post,
    refused,
    used,
)


def test_a_success_is_not_executed_again(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    first = post(local, EVENTS, event(customer), Idempotency_Key="k")
    again = post(local, EVENTS, event(customer), Idempotency_Key="k")
    assert done(again) == done(first)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["original-request"] == first.headers["request-id"]
    assert again.headers["idempotency-key"] == "k"
    assert used(local, meter, customer) == 1


def test_a_failure_is_executed_again(local: LocalServer) -> None:
    """Given a refused event, when the reason is gone, then the same request succeeds."""
    error = refused(post(local, EVENTS, event("cus_1"), Idempotency_Key="k"), 400)
    assert error["code"] == "no_meter"
    local.meter()
    done(post(local, EVENTS, event("cus_1"), Idempotency_Key="k"))
    wanted = {"event_name": "calls", "type": "cancel", "cancel": {"identifier": "later"}}
    refused(post(local, ADJUSTMENTS, wanted, Idempotency_Key="c"), 400)
    customer = local.customer()
    done(post(local, EVENTS, event(customer, identifier="later")))
    first = done(post(local, ADJUSTMENTS, wanted, Idempotency_Key="c"))
    again = post(local, ADJUSTMENTS, wanted, Idempotency_Key="c")
    assert done(again) == first
    assert again.headers["idempotent-replayed"] == "true"


def test_a_success_is_replayed_whatever_has_changed_since(local: LocalServer) -> None:
    meter = local.meter()
    first = done(post(local, EVENTS, event("cus_1"), Idempotency_Key="k"))
    local.create(f"/v1/billing/meters/{meter}/deactivate")
    local.later(29 * DAY * 1000)
    assert done(post(local, EVENTS, event("cus_1"), Idempotency_Key="k")) == first


def test_a_key_with_another_request(local: LocalServer) -> None:
    local.meter()
    done(post(local, EVENTS, event("cus_1"), Idempotency_Key="k"))
    for path, sent in [(EVENTS, event("cus_2")), (SESSION, None)]:
        error = refused(post(local, path, sent, Idempotency_Key="k"), 400)
        assert error["type"] == "idempotency_error"
        assert error["code"] == "idempotency_error"
        assert error["message"] == (
            "An idempotent retry occurred with different request parameters."
        )


def test_v1_and_v2_have_keys_of_their_own(local: LocalServer) -> None:
    local.meter()
    done(post(local, EVENTS, event("cus_1"), Idempotency_Key="k"))
    made = local.request("POST", "/v1/customers", headers={"Idempotency-Key": "k"})
    assert made.status_code == 200
    assert "idempotent-replayed" not in made.headers


def test_keys_are_kept_for_30_days(local: LocalServer) -> None:
    first = done(post(local, SESSION, Idempotency_Key="k"))
    local.later(30 * DAY * 1000 - 1)
    local.run(local.job("retain").sweep())
    assert done(post(local, SESSION, Idempotency_Key="k")) == first
    local.later(1)
    assert done(post(local, SESSION, Idempotency_Key="k")) != first


@pytest.mark.parametrize("path", [EVENTS, SESSION])
def test_a_retry_while_the_first_is_at_work(local: LocalServer, path: str) -> None:
    local.meter()
    headers = HERE | {"Idempotency-Key": "k"}
    sent = event("cus_1") if path == EVENTS else {}

    async def both() -> list[httpx.Response]:
        asked = (local.ask("POST", path, json=sent, headers=headers) for _ in range(2))
        return await asyncio.gather(*asked)

    answers = sorted(local.run(both()), key=lambda answer: answer.status_code)
    done(answers[0])
    error = refused(answers[1], 409)
    assert (error["type"], error["code"]) == ("idempotency_error", "idempotency_key_in_use")
    if path == EVENTS:
        assert books(local)["acknowledged"] == 1


def test_the_fingerprint_of_a_body() -> None:
    def of(body: bytes, path: str = "/a", method: str = "POST") -> bytes:
        return fingerprint("v2", method, path, body)

    asked = [of(b"1"), of(b"1&2"), of(b"2&1"), of(b"1", "/b"), of(b"1", method="DELETE")]
    assert len({*asked}) == len(asked)
