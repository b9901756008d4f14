from typing import Any

import httpx
import pytest
import stripe

from tests.api.local import LocalServer
from tests.api.samples import connect, error_of, new_account, new_key
from tests.cli.samples import meterhouse
from tests.server import LIVE_KEY, TEST_KEY, Server


def denied(key: str, account: str) -> str:
    return (
        f"The provided key '{key}' does not have access to account '{account}' (or that account "
        "does not exist). Application access may have been revoked."
    )


def test_the_account_of_a_key(server: Server) -> None:
    test = connect(server).v1.accounts.retrieve_current()
    live = connect(server, LIVE_KEY).v1.accounts.retrieve_current()
    assert test.object == "account"
    assert test.id == live.id
    assert test.id.startswith("acct_")
    assert connect(server).v1.accounts.retrieve(test.id).to_dict() == test.to_dict()


def test_a_connected_account(server: Server, client: stripe.StripeClient, account: str) -> None:
    own = client.v1.accounts.retrieve_current()
    assert own.id == account
    platform = connect(server)
    assert platform.v1.accounts.retrieve(account).to_dict() == own.to_dict()
    assert client.v1.accounts.retrieve(account).to_dict() == own.to_dict()
    assert client.v1.accounts.list().data == []


def test_accounts_of_others_are_not_shown(server: Server, http: httpx.Client) -> None:
    platform = connect(server).v1.accounts.retrieve_current().id
    for account in ("acct_none", new_account(server), platform):
        error = error_of(http.get(f"/v1/accounts/{account}"), 403)
        assert error["message"] == denied(f"sk_test_****{TEST_KEY[-4:]}", account)
        assert error["code"] == "account_invalid"
        cursor = http.get("/v1/accounts", params={"starting_after": account})
        assert error_of(cursor, 400)["message"] == f"No such account: '{account}'"


def test_no_account_is_connected_at_first(local: LocalServer) -> None:
    assert local.request("GET", "/v1/accounts").json() == {
        "object": "list",
        "url": "/v1/accounts",
        "has_more": False,
        "data": [],
    }


def test_connected_accounts_are_listed_in_pages(server: Server) -> None:
    ids = [new_account(server) for _ in range(3)][::-1]
    accounts = connect(server).v1.accounts
    page = accounts.list({"limit": 2})
    assert ([one.id for one in page.data], page.has_more) == (ids[:2], True)
    walked = accounts.list({"limit": 1}).auto_paging_iter()
    assert [next(walked).id for _ in range(3)] == ids
    before = accounts.list({"ending_before": ids[2]})
    assert [one.id for one in before.data][-2:] == ids[:2]
    assert accounts.list({"created": {"lt": 1}}).data == []
    assert accounts.list({"created": {"gte": 1}}).data[0].id == ids[0]
    assert page.data[0].to_dict() == accounts.retrieve(ids[0]).to_dict()


def test_the_name_of_an_account_is_shown(server: Server) -> None:
    made = meterhouse("accounts", "create", "--data-dir", server.data_dir, "--name", "Shop")
    shown: Any = connect(server).v1.accounts.retrieve(made.stdout.strip()).to_dict()
    assert shown["settings"]["dashboard"]["display_name"] == "Shop"


@pytest.mark.parametrize("path", ["/v1/account", "/v1/accounts", "/v1/accounts/acct_1"])
def test_what_is_refused(server: Server, http: httpx.Client, path: str) -> None:
    error = error_of(http.get(path, params={"foo": "1"}), 400)
    assert error["message"] == "Received unknown parameter: foo"
    secret = new_key(server, "--permissions", "customers:read")
    answer = http.get(path, auth=(secret, ""), headers={"Stripe-Account": ""})
    assert "Having the 'account:read' permission" in error_of(answer, 403)["message"]
