import asyncio

import httpx
import pytest

from meterhouse.api.idempotency import fingerprint
from tests.api.services import DAY, Services
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


def test_a_success_is_not_executed_again(services: Services) -> None:
    meter, customer = services.meter(), services.customer()
    first = post(services, EVENTS, event(customer), Idempotency_Key="k")
    again = post(services, EVENTS, event(customer), Idempotency_Key="k")
    assert done(again) == done(first)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["original-request"] == first.headers["request-id"]
    assert again.headers["idempotency-key"] == "k"
    assert used(services, meter, customer) == 1


def test_a_failure_is_executed_again(services: Services) -> None:
    """Given a refused event, when the reason is gone, then the same request succeeds."""
    error = refused(post(services, EVENTS, event("cus_1"), Idempotency_Key="k"), 400)
    assert error["code"] == "no_meter"
    services.meter()
    done(post(services, EVENTS, event("cus_1"), Idempotency_Key="k"))
    wanted = {"event_name": "calls", "type": "cancel", "cancel": {"identifier": "later"}}
    refused(post(services, ADJUSTMENTS, wanted, Idempotency_Key="c"), 400)
    customer = services.customer()
    done(post(services, EVENTS, event(customer, identifier="later")))
    first = done(post(services, ADJUSTMENTS, wanted, Idempotency_Key="c"))
    again = post(services, ADJUSTMENTS, wanted, Idempotency_Key="c")
    assert done(again) == first
    assert again.headers["idempotent-replayed"] == "true"


def test_a_success_is_replayed_whatever_has_changed_since(services: Services) -> None:
    meter = services.meter()
    first = done(post(services, EVENTS, event("cus_1"), Idempotency_Key="k"))
    services.create(f"/v1/billing/meters/{meter}/deactivate")
    services.later(29 * DAY * 1000)
    assert done(post(services, EVENTS, event("cus_1"), Idempotency_Key="k")) == first


def test_a_key_with_another_request(services: Services) -> None:
    services.meter()
    done(post(services, EVENTS, event("cus_1"), Idempotency_Key="k"))
    for path, sent in [(EVENTS, event("cus_2")), (SESSION, None)]:
        error = refused(post(services, path, sent, Idempotency_Key="k"), 400)
        assert error["type"] == "idempotency_error"
        assert error["code"] == "idempotency_error"
        assert error["message"] == (
            "An idempotent retry occurred with different request parameters."
        )


def test_v1_and_v2_have_keys_of_their_own(services: Services) -> None:
    services.meter()
    done(post(services, EVENTS, event("cus_1"), Idempotency_Key="k"))
    made = services.request("POST", "/v1/customers", headers={"Idempotency-Key": "k"})
    assert made.status_code == 200
    assert "idempotent-replayed" not in made.headers


def test_keys_are_kept_for_30_days(services: Services) -> None:
    first = done(post(services, SESSION, Idempotency_Key="k"))
    services.later(30 * DAY * 1000 - 1)
    services.run(services.meterhouse._retention.sweep())
    assert done(post(services, SESSION, Idempotency_Key="k")) == first
    services.later(1)
    assert done(post(services, SESSION, Idempotency_Key="k")) != first


@pytest.mark.parametrize("path", [EVENTS, SESSION])
def test_a_retry_while_the_first_is_at_work(services: Services, path: str) -> None:
    services.meter()
    headers = HERE | {"Idempotency-Key": "k"}
    sent = event("cus_1") if path == EVENTS else {}

    async def both() -> list[httpx.Response]:
        asked = (services.ask("POST", path, json=sent, headers=headers) for _ in range(2))
        return await asyncio.gather(*asked)

    answers = sorted(services.run(both()), key=lambda answer: answer.status_code)
    done(answers[0])
    error = refused(answers[1], 409)
    assert (error["type"], error["code"]) == ("idempotency_error", "idempotency_key_in_use")
    if path == EVENTS:
        assert books(services)["acknowledged"] == 1


def test_the_fingerprint_of_a_body() -> None:
    def of(body: bytes, path: str = "/a", method: str = "POST") -> bytes:
        return fingerprint("v2", method, path, body)

    asked = [of(b"1"), of(b"1&2"), of(b"2&1"), of(b"1", "/b"), of(b"1", method="DELETE")]
    assert len({*asked}) == len(asked)
