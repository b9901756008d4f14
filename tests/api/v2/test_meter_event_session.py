import pytest

from tests.api.local import LocalServer
from tests.api.samples import new_account, new_key
from tests.api.v2.samples import HERE, SESSION, STREAM, at, done, event, post, refused, token
from tests.server import LIVE_KEY, TEST_KEY, Server

MINUTE = 60_000


@pytest.mark.parametrize(("key", "livemode"), [(TEST_KEY, False), (LIVE_KEY, True)])
def test_a_session(local: LocalServer, key: str, livemode: bool) -> None:
    session = done(post(local, SESSION, key=key))
    assert session.pop("id").startswith("mes_61" if livemode else "mes_test_61")
    assert session.pop("authentication_token").startswith("token_")
    assert session == {
        "object": "v2.billing.meter_event_session",
        "created": at(0),
        "expires_at": at(15 * 60),
        "livemode": livemode,
    }


@pytest.mark.parametrize("body", [b"", b"{}", b' {"include": []} '])
def test_a_session_takes_no_parameters(local: LocalServer, body: bytes) -> None:
    headers = HERE | {"Content-Type": "application/json"}
    done(local.request("POST", SESSION, content=body, headers=headers))
    error = refused(post(local, SESSION, {"customer": "cus_1"}), 400)
    assert error["code"] == "invalid_fields"
    assert error["message"] == "Received unknown field: customer."


def test_several_sessions_live_at_once(local: LocalServer) -> None:
    first, second = token(local), token(local)
    assert first != second
    for one in (first, second, first):
        assert done(post(local, STREAM, {"events": [event("cus_1")]}, key=one)) == {}


def test_a_session_lasts_15_minutes(local: LocalServer) -> None:
    """Given an expired session, when its owner makes a new one, then the stream goes on."""
    sent = {"events": [event("cus_1")]}
    early, unused = token(local), token(local)
    local.clock.advance(15 * MINUTE - 1)
    done(post(local, STREAM, sent, key=early))
    local.clock.advance(1)
    for old in (early, unused):
        error = refused(post(local, STREAM, sent, key=old), 400)
        assert error["type"] == "temporary_session_expired"
        assert error["code"] == "billing_meter_event_session_expired"
        assert error.keys() == {"type", "code", "message", "doc_url"}
    done(post(local, STREAM, sent, key=token(local)))


def test_a_changed_token_opens_nothing(local: LocalServer) -> None:
    good = token(local)
    for bad in (good[:-6] + "AAAAAA", good[:40], "token_", good + "A" * 200):
        error = refused(post(local, STREAM, {"events": [event("cus_1")]}, key=bad), 401)
        assert error["type"] == "invalid_request_error"
        assert good[10:30] not in error["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/billing/meter_event_session"),
        ("POST", "/v2/billing/meter_events"),
        ("GET", "/v1/billing/meters"),
        ("POST", "/v1/billing/meter_events"),
    ],
)
def test_a_token_opens_nothing_but_the_stream(local: LocalServer, method: str, path: str) -> None:
    answer = local.request(method, path, key=token(local), headers=HERE)
    assert answer.status_code == 401


def test_a_session_is_of_one_account_and_mode(local: LocalServer) -> None:
    local.meter()
    live = token(local, LIVE_KEY)
    done(post(local, STREAM, {"events": [event("cus_1")]}, key=live))
    other = refused(
        post(local, STREAM, {"events": [event("cus_1")]}, key=live, Stripe_Account="acct_other"),
        403,
    )
    assert "acct_other" in other["message"]
    own = local.request("GET", "/v1/account", key=LIVE_KEY).json()["id"]
    named = post(local, STREAM, {"events": [event("cus_1")]}, key=live, Stripe_Account=own)
    assert done(named) == {}
    assert [one.livemode for one in local.noted if one.path == STREAM] == [True, None, True]


def test_restricted_keys_need_the_permission(server: Server) -> None:
    import httpx  # noqa: PLC0415

    account = new_account(server)
    allowed = new_key(server, "--account", account, "--permissions", "billing_meter_events:write")
    denied = new_key(server, "--account", account, "--permissions", "billing_meters:write")
    with httpx.Client(base_url=server.url, headers=HERE, trust_env=False) as http:
        made = http.post(SESSION, json={}, auth=(allowed, ""))
        assert done(made)["livemode"] is False
        sent = {"events": [event("cus_1")]}
        for key in (allowed, made.json()["authentication_token"]):
            assert done(http.post(STREAM, json=sent, auth=(key, ""))) == {}
        for path in (SESSION, STREAM):
            error = refused(http.post(path, json=sent, auth=(denied, "")), 403)
            assert "billing_meter_events:write" in error["message"]
