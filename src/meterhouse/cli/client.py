"""A running server as the command line talks to it: over HTTP, with an API key or as its operator.

Without a key the token counts that the server wrote into its data folder; whoever can read it may
act for every account. It is shown to that server alone, at the URL that stands beside it, and never
to another URL.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NamedTuple

import httpx
import msgspec
import typer

from meterhouse.cli.server_file import find_server
from meterhouse.config import Config, shown
from meterhouse.errors import ConfigError, MeterhouseError, StoreError
from meterhouse.limits import CONSISTENCY_WAIT_SECONDS_MAX

Url = Annotated[
    str | None, typer.Option(help="Where the server is. Default: that of the data folder.")
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        envvar="METERHOUSE_API_KEY", help="An API key. Default: the operator of the data folder."
    ),
]
AccountId = Annotated[
    str | None,
    typer.Option(metavar="ACCT", help="Act for this account instead of the default one."),
]
Live = Annotated[bool, typer.Option("--live", help="Live mode; a key has its own mode.")]

_SECONDS_MAX = 6 * CONSISTENCY_WAIT_SECONDS_MAX  # for an answer


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Which server to talk to, and as whom."""

    data_dir: str | None
    url: str | None
    api_key: str | None
    account: str | None
    live: bool


class Address(NamedTuple):
    """Where a server is, by `base_url` or by the path of its Unix socket, and what it is shown."""

    base_url: str
    uds: str | None
    headers: dict[str, str]


class Client:
    """Asks a server and reads its answers."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def get(self, path: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the document at `path`."""
        return self._ask("GET", path, params=params)

    def post(self, path: str, document: dict[str, Any]) -> dict[str, Any]:
        """Send a document and return what the server answers."""
        return self._ask("POST", path, json=document)

    def post_form(self, path: str, form: dict[str, Any]) -> dict[str, Any]:
        """Send a form and return what the server answers."""
        return self._ask("POST", path, data=form)

    def _ask(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **content)
            document = answer.json()
        except UnicodeEncodeError:
            raise  # `output.TellsErrors` knows what it means
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise StoreError(f"The server gave no answer that can be read: {error}") from error
        match document:
            case {"error": {"message": str(message)}} if answer.is_error:
                raise MeterhouseError(message)
            case dict() if not answer.is_error:
                return document
        raise StoreError(f"What answers there, with {answer.status_code}, is not Meterhouse.")


@contextmanager
def connected(target: Target) -> Iterator[Client]:
    """Connect to a server; raises `StoreError` when none is known."""
    address = find(target)
    with httpx.Client(
        base_url=address.base_url,
        transport=httpx.HTTPTransport(uds=address.uds),
        headers=address.headers,
        timeout=_SECONDS_MAX,
    ) as http:
        yield Client(http)


def find(target: Target) -> Address:
    """Find out where a server is and what to show it; raises `StoreError` when none is known."""
    server = None
    if target.url is None or target.api_key is None:
        config = Config.read({"data_dir": target.data_dir})
        server = find_server(config)
        if server is None:
            raise StoreError(
                f"No server runs on {shown(config.data_dir)}. Start `meterhouse serve`, point "
                "--data-dir at its folder, or say --url and --api-key."
            )
        if target.api_key is None and target.url not in (None, server.url):
            raise ConfigError(
                f"--url needs --api-key: without a key only {server.url}, the server of the data "
                "folder, is asked, as its operator."
            )
    url = target.url or (server.url if server else "")
    secret = target.api_key or (server.token if server else "")
    path = url.removeprefix("unix://")
    unix = path != url
    headers = {
        "Authorization": f"Bearer {secret}",
        "Meterhouse-Livemode": "true" if target.live else "false",
    }
    if target.account is not None:
        headers["Stripe-Account"] = target.account
    try:
        httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ConfigError(f"--url is '{url}', which is no URL: {error}.") from error
    if not "".join(headers.values()).isascii():
        raise ConfigError("No API key and no account has characters outside of ASCII.")
    return Address("http://meterhouse" if unix else url, path if unix else None, headers)
