"""The ways in which the tests of this room talk to a server."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import stripe

from tests.api.local import LocalServer, kept_store, passing_server
from tests.api.samples import connect, new_account
from tests.server import TEST_KEY, Server


@pytest.fixture(scope="package", autouse=True)
def _kept_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the servers within this process share a usage store."""
    with kept_store(tmp_path_factory.mktemp("usage")):
        yield


@pytest.fixture
def account(server: Server) -> str:
    """Return the id of a new account: what a test makes in it is all that is there."""
    return new_account(server)


@pytest.fixture
def client(server: Server, account: str) -> stripe.StripeClient:
    """Return the official SDK, at work for the new account in test mode."""
    return connect(server, account=account)


@pytest.fixture
def http(server: Server, account: str) -> Iterator[httpx.Client]:
    """Return a plain HTTP client, at work for the new account in test mode."""
    with httpx.Client(
        base_url=server.url,
        auth=(TEST_KEY, ""),
        headers={"Stripe-Account": account},
        trust_env=False,
    ) as plain:
        yield plain


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalServer]:
    """Return a server within this process, whose clock stands still."""
    with passing_server(tmp_path) as opened:
        yield opened
