import httpx
import stripe

from tests.api.samples import connect, error_of
from tests.server import LIVE_KEY, Server


def test_the_account_of_a_key(server: Server) -> None:
    test = connect(server).v1.accounts.retrieve_current()
    live = connect(server, LIVE_KEY).v1.accounts.retrieve_current()
    assert test.object == "account"
    assert test.id == live.id
    assert test.id.startswith("acct_")


def test_a_connected_account(client: stripe.StripeClient, account: str) -> None:
    assert client.v1.accounts.retrieve_current().id == account


def test_parameters_are_refused(http: httpx.Client) -> None:
    error = error_of(http.get("/v1/account", params={"foo": "1"}), 400)
    assert error["message"] == "Received unknown parameter: foo"
