import base64
from typing import Any

import httpx
import pytest
import stripe

from meterhouse.limits import CREDENTIAL_CACHE_SECONDS
from tests.api.local import LocalServer
from tests.api.samples import connect, error_of, make_customer, make_meter, new_key, send
from tests.cli.samples import meterhouse
from tests.server import LIVE_KEY, TEST_KEY, Server

NO_KEY = (
    "You did not provide an API key. You need to provide your API key in the Authorization header, "
    "using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See "
    "https://stripe.com/docs/api#authentication for details, or we can help at "
    "https://support.stripe.com/."
)


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def ask(server: Server, **headers: str) -> httpx.Response:
    return httpx.get(
        f"{server.url}/v1/account",
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        trust_env=False,
    )


@pytest.mark.parametrize(
    "header",
    [
        f"Bearer {TEST_KEY}",
        f"bearer   {TEST_KEY}",
        basic(f"{TEST_KEY}:"),
        basic(TEST_KEY),
        f"Bearer {LIVE_KEY}",
    ],
)
def test_ways_to_show_a_key(server: Server, header: str) -> None:
    assert ask(server, authorization=header).status_code == 200


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, NO_KEY),
        ("", NO_KEY),
        ("Bearer", NO_KEY),
        ("Basic !!!", NO_KEY),
        (basic(":"), NO_KEY),
        (f"Digest {TEST_KEY}", NO_KEY),
        (TEST_KEY, NO_KEY),
        ("Bearer sk_test_abcdefghijklmnop", "Invalid API Key provided: sk_test_****mnop"),
        ("Bearer abc", "Invalid API Key provided: ****"),
        (f"Bearer {TEST_KEY.upper()}", "Invalid API Key provided: ****P7DC"),
        ("Bearer " + "x" * 300, "Invalid API Key provided: ****xxxx"),
        (basic(f"{TEST_KEY}:password"), "Invalid API Key provided: sk_test_****p7dc"),
        ("Bearer schlüssel-für-alles", "Invalid API Key provided: ****lles"),
    ],
)
def test_keys_that_open_nothing(server: Server, header: str | None, message: str) -> None:
    headers = {} if header is None else {b"authorization": header.encode()}
    answer = httpx.get(f"{server.url}/v1/account", headers=headers, trust_env=False)
    error = error_of(answer, 401)
    assert error == {"message": message, "type": "invalid_request_error"}
    if message == NO_KEY:
        assert answer.headers["www-authenticate"] == 'Basic realm="Stripe"'


def test_the_sdk_knows_what_a_wrong_key_means(server: Server) -> None:
    with pytest.raises(stripe.AuthenticationError):
        connect(server, "sk_test_abcdefghijklmnop").v1.customers.list()


def test_a_key_that_is_revoked_stops_working(server: Server) -> None:
    secret = new_key(server, "--name", "short-lived")
    client = connect(server, secret)
    client.v1.customers.list()
    listed = meterhouse("keys", "list", "--data-dir", server.data_dir).stdout
    (row,) = (line for line in listed.splitlines() if "short-lived" in line)
    key = next(word for word in row.split() if word.startswith("key_"))
    assert meterhouse("keys", "revoke", key, "--data-dir", server.data_dir).exit_code == 0
    for _ in range(10_000):  # what was found of it is remembered for a moment
        try:
            client.v1.customers.list()
        except stripe.AuthenticationError:
            break
    else:
        pytest.fail("the key still works")


def test_what_is_known_of_a_key_is_forgotten_in_time(local: LocalServer) -> None:
    """A clock that was set back must not keep a key alive either."""
    authentication = local.meterhouse.services.authentication
    local.request("GET", "/v1/account")
    known = dict(authentication._known)
    local.request("GET", "/v1/account")
    assert authentication._known == known
    for milliseconds in (CREDENTIAL_CACHE_SECONDS * 1000, -1):
        local.clock.advance(milliseconds)
        local.request("GET", "/v1/account")
        assert authentication._known != known
        known = dict(authentication._known)


# ---- Restricted keys ----


PERMITTED = (
    "billing_meters:read,billing_meter_events:write,customers:write,"
    "billing_meter_event_summaries:read"
)


def test_a_restricted_key_may_do_what_it_is_permitted(server: Server, account: str) -> None:
    owner = connect(server, account=account)
    secret = new_key(server, "--account", account, "--permissions", PERMITTED)
    assert secret.startswith("rk_test_")
    client = connect(server, secret)
    meter = make_meter(owner)
    assert client.v1.billing.meters.retrieve(meter).id == meter
    customer = make_customer(client)
    assert client.v1.customers.retrieve(customer).id == customer
    send(client, customer, "1")
    client.v1.billing.meters.event_summaries.list(
        meter, {"customer": customer, "start_time": 0, "end_time": 60}
    )
    refused: Any = [
        (lambda: make_meter(client, "b"), "billing_meters:write"),
        (lambda: client.v1.billing.meters.deactivate(meter), "billing_meters:write"),
        (client.v1.accounts.retrieve_current, "account:read"),
        (
            lambda: client.v1.billing.meter_event_adjustments.create(
                {"event_name": "calls", "type": "cancel", "cancel": {"identifier": "x"}}
            ),
            "billing_meter_event_adjustments:write",
        ),
    ]
    for attempt, permission in refused:
        with pytest.raises(stripe.PermissionError) as caught:
            attempt()
        assert caught.value.http_status == 403
        assert caught.value.user_message == (
            f"The provided key 'rk_test_****{secret[-4:]}' does not have the required permissions "
            f"for this endpoint on account '{account}'. Having the '{permission}' permission would "
            "allow this request to continue."
        )


def test_a_restricted_key_for_live_mode(server: Server) -> None:
    secret = new_key(server, "--live", "--permissions", "customers:read")
    assert secret.startswith("rk_live_")
    customer = connect(server, secret).v1.customers.list({"limit": 1}).data
    assert all(one.livemode for one in customer)


# ---- Accounts ----


def test_connected_accounts_are_apart(server: Server, account: str) -> None:
    platform, connected = connect(server), connect(server, account=account)
    meter = make_meter(connected)
    customer = make_customer(connected)
    for look in (
        lambda: platform.v1.billing.meters.retrieve(meter),
        lambda: platform.v1.customers.retrieve(customer),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            look()
        assert caught.value.http_status == 404


def test_ways_to_name_an_account(server: Server, account: str) -> None:
    key = f"Bearer {TEST_KEY}"
    own = ask(server, authorization=key).json()["id"]
    for headers, answered in (
        ({"stripe_account": account}, account),
        ({"stripe_account": own}, own),
        ({"stripe_context": account}, account),
        ({"stripe_context": f"{own}/{account}"}, account),
        ({"stripe_context": account, "stripe_account": own}, account),
    ):
        answer = ask(server, authorization=key, **headers)
        assert answer.json()["id"] == answered
        assert answer.headers.get("stripe-account") == headers.get("stripe_account")


def test_a_context_that_names_no_account_is_not_the_own_account(
    server: Server, account: str
) -> None:
    for context in (f"{account}/", "/"):
        answer = ask(server, authorization=f"Bearer {TEST_KEY}", stripe_context=context)
        assert f"access to account '{context}'" in error_of(answer, 403)["message"]


def test_a_key_of_the_connected_account_itself(server: Server, account: str) -> None:
    client = connect(server, new_key(server, "--account", account))
    assert client.v1.accounts.retrieve_current().id == account


def test_accounts_that_are_not_ours(server: Server, account: str) -> None:
    with pytest.raises(stripe.PermissionError) as caught:
        connect(server, account="acct_no").v1.customers.list()
    assert "account_invalid" in str(caught.value.http_body)
    assert caught.value.user_message == (
        "The provided key 'sk_test_****p7dc' does not have access to account 'acct_no' (or that "
        "account does not exist). Application access may have been revoked."
    )
    secret = new_key(server, "--account", account)
    platform = connect(server).v1.accounts.retrieve_current().id
    with pytest.raises(stripe.PermissionError):
        connect(server, secret, account=platform).v1.customers.list()
