import httpx
import pytest

from tests.api.local import LocalServer
from tests.api.v2.samples import EVENTS, HERE, SESSION, done, event, post, refused
from tests.server import TEST_KEY


def test_the_version_is_required(local: LocalServer) -> None:
    error = refused(local.request("POST", SESSION, json={}), 400)
    assert error["code"] == "invalid_fields"
    assert "Stripe-Version" in error["message"]
    answer = post(local, SESSION, Stripe_Version="2024-09-30.acacia")
    assert done(answer)["object"] == "v2.billing.meter_event_session"
    assert answer.headers["stripe-version"] == "2024-09-30.acacia"
    refused(post(local, SESSION, Stripe_Version="tomorrow"), 400)


def test_errors_have_the_shape_of_v2(local: LocalServer) -> None:
    missing = refused(local.request("GET", "/v2/nowhere", headers=HERE), 404)
    assert missing["code"] == "not_found"
    assert refused(local.request("GET", SESSION, headers=HERE), 404)["code"] == "not_found"
    unknown = refused(post(local, SESSION, key="sk_test_unknown_key"), 401)
    assert unknown["type"] == "invalid_request_error"
    assert unknown["message"] == "Invalid API Key provided: sk_test_****_key"
    large = refused(post(local, EVENTS, {"event_name": "x" * 3_000_000}), 413)
    assert (large["code"], large["type"]) == ("request_too_large", "invalid_request_error")


def test_a_missing_key_names_the_scheme(local: LocalServer) -> None:
    transport = httpx.ASGITransport(local.meterhouse.asgi)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.post(SESSION, json={}, headers=HERE)

    answer = local.run(ask())
    assert refused(answer, 401)["type"] == "invalid_request_error"
    assert answer.headers["www-authenticate"] == 'Basic realm="Stripe"'


def test_only_json_comes_in(local: LocalServer) -> None:
    error = refused(local.request("POST", EVENTS, data={"event_name": "a"}, headers=HERE), 400)
    assert error["message"] == "The request must have the content type application/json."
    body = b'{"event_name": "calls", "payload": {"stripe_customer_id": "c", "value": "1"}}'
    local.meter()
    for content_type in ("application/json", "application/json; charset=utf-8"):
        headers = HERE | {"Content-Type": content_type}
        done(local.request("POST", EVENTS, content=body, headers=headers))
    done(local.request("POST", EVENTS, content=body, headers=HERE))


@pytest.mark.parametrize("query", ["include[]=x", "include[0]=x", "expand[]=x", "limit=1"])
def test_a_query_asks_for_nothing(local: LocalServer, query: str) -> None:
    refused(local.request("POST", f"{SESSION}?{query}", json={}, headers=HERE), 400)


def test_an_empty_query_is_none(local: LocalServer) -> None:
    done(local.request("POST", f"{SESSION}?", json={}, headers=HERE))


def test_an_account_that_is_not_connected(local: LocalServer) -> None:
    answer = post(local, EVENTS, event("cus_1"), key=TEST_KEY, Stripe_Context="acct_unknown")
    error = refused(answer, 403)
    assert error["code"] == "account_invalid"
