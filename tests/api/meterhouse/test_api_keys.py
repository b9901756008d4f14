from typing import Any

import pytest

from meterhouse.ledger import accounts
from meterhouse.limits import CREDENTIAL_CACHE_SECONDS
from tests.api.local import NOW, LocalServer
from tests.api.samples import error_of
from tests.api.v2.samples import STREAM, done, event, post
from tests.server import LIVE_KEY, TEST_KEY

KEYS = "/meterhouse/v1/api_keys"
ACCOUNTS = "/meterhouse/v1/accounts"


def ask(local: LocalServer, method: str, path: str, **details: Any) -> Any:
    return done(
        local.request(method, path, key=local.meterhouse.services.operator_token, **details)
    )


def make(local: LocalServer, **data: str) -> dict[str, Any]:
    made: dict[str, Any] = ask(local, "POST", KEYS, data=data)
    return made


def connected(local: LocalServer) -> str:
    with local.meterhouse.ledger.write() as connection:
        return accounts.create_account(connection, "Shop", NOW * 1000).id


def test_a_key_as_it_is_shown(local: LocalServer) -> None:
    made = make(local, name="laptop")
    secret = made.pop("secret")
    assert made == {
        "id": made["id"],
        "object": "meterhouse.api_key",
        "created": NOW,
        "expires_at": None,
        "hint": f"sk_test_****{secret[-4:]}",
        "last_used_at": None,
        "livemode": False,
        "name": "laptop",
        "permissions": None,
        "revoked_at": None,
        "type": "secret",
    }
    assert local.request("GET", "/v1/customers", key=secret).status_code == 200
    page = ask(local, "GET", KEYS)
    assert (page["object"], page["url"], page["has_more"]) == ("list", KEYS, False)
    assert page["data"][0] == made
    assert [key["hint"] for key in page["data"][1:]] == [f"sk_test_****{TEST_KEY[-4:]}"]


def test_a_restricted_key(local: LocalServer) -> None:
    made = make(local, **{"permissions[customers]": "read"})
    assert (made["type"], made["permissions"]) == ("restricted", {"customers": "read"})
    assert made["secret"].startswith("rk_test_")
    assert local.request("GET", "/v1/customers", key=made["secret"]).status_code == 200
    error_of(local.request("POST", "/v1/customers", key=made["secret"]), 403)


def test_keys_are_those_of_an_account_and_a_mode(local: LocalServer) -> None:
    live = {"Meterhouse-Livemode": "true"}
    shop = {"Stripe-Account": connected(local)}
    made = ask(local, "POST", KEYS, headers=live | shop)
    assert made["secret"].startswith("sk_live_")
    assert [key["id"] for key in ask(local, "GET", KEYS, headers=live | shop)["data"]] == [
        made["id"]
    ]
    assert ask(local, "GET", KEYS, headers=shop)["data"] == []
    token = local.meterhouse.services.operator_token
    refused = local.request("POST", f"{KEYS}/{made['id']}/revoke", headers=shop, key=token)
    assert error_of(refused, 404)["message"] == f"No such API key: '{made['id']}'"
    assert local.request("GET", "/v1/customers", key=made["secret"]).status_code == 200


def test_a_revoked_key_opens_nothing_and_stays_listed(local: LocalServer) -> None:
    made = make(local)
    local.clock.advance(1_000)
    for _ in range(2):
        assert ask(local, "POST", f"{KEYS}/{made['id']}/revoke")["revoked_at"] == NOW + 1
    local.clock.advance(CREDENTIAL_CACHE_SECONDS * 1000)
    error_of(local.request("GET", "/v1/customers", key=made["secret"]), 401)
    assert ask(local, "GET", KEYS)["data"][0]["revoked_at"] == NOW + 1


def test_a_key_expires_when_it_is_told_to(local: LocalServer) -> None:
    made = make(local, expires_at=str(NOW + 1))
    assert made["expires_at"] == NOW + 1
    assert ask(local, "GET", KEYS)["data"][0]["expires_at"] == NOW + 1
    local.clock.advance(1_000)
    error = error_of(local.request("GET", "/v1/customers", key=made["secret"]), 401)
    assert error["code"] == "api_key_expired"


def test_when_a_key_was_used_last_is_shown(local: LocalServer) -> None:
    """All that opens something with it counts, its tokens too; no request writes it."""
    used, unused = make(local), make(local)
    key_uses = local.meterhouse._key_uses

    def shown() -> list[int | None]:
        local.run(key_uses.write())
        found = {key["id"]: key["last_used_at"] for key in ask(local, "GET", KEYS)["data"]}
        return [found[key["id"]] for key in (used, unused)]

    for _ in range(3):
        local.request("GET", "/v1/customers", key=used["secret"])
        local.clock.advance(1_000)
    assert len(key_uses._used) == 1
    assert shown() == [NOW + 2, None]
    session = "/v2/billing/meter_event_session"
    token = done(post(local, session, key=used["secret"]))["authentication_token"]
    local.clock.advance(5_000)
    post(local, STREAM, {"events": [event("cus_1")]}, key=token)
    assert shown() == [NOW + 8, None]
    local.clock.advance(-6_000)  # as the clock of another node may be behind
    local.request("GET", "/v1/customers", key=used["secret"])
    assert shown() == [NOW + 8, None]


def test_a_secret_is_told_once_whatever_the_idempotency_key(local: LocalServer) -> None:
    headers = {"Idempotency-Key": "once"}
    first, second = (ask(local, "POST", KEYS, headers=headers) for _ in range(2))
    assert first["id"] != second["id"]


def test_pages(local: LocalServer) -> None:
    ids = [make(local)["id"] for _ in range(3)][::-1]
    page = ask(local, "GET", KEYS, params={"limit": 1, "starting_after": ids[0]})
    assert ([key["id"] for key in page["data"]], page["has_more"]) == ([ids[1]], True)
    token = local.meterhouse.services.operator_token
    for path in (KEYS, ACCOUNTS):
        refused = local.request("GET", path, params={"starting_after": "x"}, key=token)
        assert error_of(refused, 400)["param"] == "starting_after"


def test_accounts_are_listed(local: LocalServer) -> None:
    shop = connected(local)
    page = ask(local, "GET", ACCOUNTS)
    newest, default = page["data"]
    assert (page["object"], page["url"], page["has_more"]) == ("list", ACCOUNTS, False)
    assert newest == {
        "id": shop,
        "object": "meterhouse.account",
        "created": NOW,
        "name": "Shop",
        "platform": default["id"],
    }
    assert default["platform"] is None
    for one in page["data"]:
        assert ask(local, "GET", f"{ACCOUNTS}/{one['id']}") == one
    token = local.meterhouse.services.operator_token
    error_of(local.request("GET", f"{ACCOUNTS}/acct_none", key=token), 404)
    assert ask(local, "GET", ACCOUNTS, params={"limit": 1})["has_more"] is True


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", KEYS),
        ("POST", KEYS),
        ("POST", f"{KEYS}/key_1/revoke"),
        ("GET", ACCOUNTS),
        ("GET", f"{ACCOUNTS}/acct_1"),
    ],
)
def test_no_api_key_may_ask(local: LocalServer, method: str, path: str) -> None:
    for key in (TEST_KEY, LIVE_KEY):
        refused = error_of(local.request(method, path, key=key), 403)
        assert refused["message"].startswith("No API key may do this: only the operator")
    error_of(local.request(method, path, key="sk_test_unknown_secret"), 401)
    assert len(ask(local, "GET", KEYS)["data"]) == 1


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ({"expires_at": str(NOW)}, "expires_at"),
        ({"expires_at": str(NOW + 3_650 * 86_400 + 1)}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"name": "environment"}, "name"),
        ({"name": "x" * 251}, "name"),
        ({"permissions[meters]": "read"}, "permissions"),
        ({"permissions[customers]": "own"}, "permissions"),
        ({"permissions": "customers"}, "permissions"),
        ({"permissions": ""}, "permissions"),
    ],
)
def test_what_cannot_be_made_is_refused(
    local: LocalServer, data: dict[str, str], param: str
) -> None:
    token = local.meterhouse.services.operator_token
    assert error_of(local.request("POST", KEYS, data=data, key=token), 400)["param"] == param
    assert len(ask(local, "GET", KEYS)["data"]) == 1
