"""The official SDKs on the stream: Python's of today and of old, Node's of today and of old.

The old ones run in processes of their own, where `make test` has put them.
"""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from meterhouse.ledger.engine import open_ledger
from meterhouse.ledger.signing_secret import read_secret
from meterhouse.metering.model import Scope
from meterhouse.wire.session import Session, seal
from meterhouse.wire.signing import signing_keys
from tests.api.local import LocalServer, local_server
from tests.api.samples import make_customer, make_meter, total
from tests.server import TEST_KEY, Server

CLIENTS = Path(__file__).parents[3] / ".cache" / "clients"


def speak(key: str, url: str, **options: Any) -> stripe.StripeClient:
    """Return the SDK; it sends everything to `url`."""
    bases: Any = {"api": url, "meter_events": url}
    return stripe.StripeClient(key, base_addresses=bases, **options)


def events(customer: str, count: int = 3, **more: Any) -> list[Any]:
    """Return events of the meter `calls`, each of 2.5."""
    payload = {"stripe_customer_id": customer, "value": "2.5"}
    return [{"event_name": "calls", "payload": payload, **more} for _ in range(count)]


def expired_token(server: Server) -> str:
    """Return a token that the server made, as it were, long ago."""
    scope = Scope(1, "acct_gone", False)
    with open_ledger(f"sqlite:///{server.data_dir}/ledger.db") as ledger, ledger.read() as reading:
        key = signing_keys(read_secret(reading)).stream_sessions
    return seal(Session("mes_test_1", scope.id, scope.account, scope.livemode, 1), key)


def test_python(server: Server, client: stripe.StripeClient, account: str) -> None:
    meter, customer = make_meter(client), make_customer(client)
    key = speak(TEST_KEY, server.url, stripe_account=account)
    session = key.v2.billing.meter_event_session.create()
    assert session.object == "v2.billing.meter_event_session"
    assert not session.livemode
    stream = speak(session.authentication_token, server.url).v2.billing.meter_event_stream
    stream.create({"events": events(customer)})
    stream.create({"events": events(customer, timestamp=datetime.now(UTC))})
    stream.create({"events": events(customer, 100)})
    assert total(client, meter, customer) == 265
    with pytest.raises(stripe.InvalidRequestError, match="events must have at most 100 items"):
        stream.create({"events": events(customer, 101)})
    with pytest.raises(stripe.AuthenticationError):
        speak("token_x", server.url).v2.billing.meter_event_stream.create({"events": []})
    with pytest.raises(stripe.TemporarySessionExpiredError):
        speak(expired_token(server), server.url).v2.billing.meter_event_stream.create(
            {"events": events(customer)}
        )


def test_single_events_and_adjustments(
    server: Server, client: stripe.StripeClient, account: str
) -> None:
    meter, customer = make_meter(client), make_customer(client)
    billing = speak(TEST_KEY, server.url, stripe_account=account).v2.billing
    one = events(customer, identifier="a")[0]
    sent = billing.meter_events.create(one)
    assert (sent.object, sent.identifier) == ("v2.billing.meter_event", "a")
    with pytest.raises(stripe.InvalidRequestError) as caught:
        billing.meter_events.create(one)
    assert caught.value.code == "duplicate_meter_event"
    assert total(client, meter, customer) == 2.5
    adjustment = billing.meter_event_adjustments.create(
        {"event_name": "calls", "type": "cancel", "cancel": {"identifier": "a"}}
    )
    assert adjustment.id.startswith("mea_test_")
    assert total(client, meter, customer) == 0


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the SDK's use of httpx
def test_asynchronous_python(server: Server, client: stripe.StripeClient, account: str) -> None:
    meter, customer = make_meter(client), make_customer(client)

    async def run() -> None:
        http = stripe.HTTPXClient()
        try:
            key = speak(TEST_KEY, server.url, stripe_account=account, http_client=http)
            session = await key.v2.billing.meter_event_session.create_async()
            stream = speak(session.authentication_token, server.url, http_client=http)
            sent: Any = {"events": events(customer, 10)}
            await asyncio.gather(
                *(stream.v2.billing.meter_event_stream.create_async(sent) for _ in range(8))
            )
        finally:
            await http.close_async()  # type: ignore[no-untyped-call]

    asyncio.run(run())
    assert total(client, meter, customer) == 200


class InProcess(stripe.HTTPClient):
    """Brings the SDK's requests to a server within this process."""

    name = "in-process"

    def __init__(self, local: LocalServer) -> None:
        super().__init__()
        self._local = local

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[str, int, Mapping[str, str]]:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._local.meterhouse.asgi)
            async with httpx.AsyncClient(transport=transport) as client:
                return await client.request(method, url, headers=headers, content=post_data)

        answer = self._local.run(ask())
        return answer.text, answer.status_code, answer.headers


def test_an_expired_session_is_renewed(local: LocalServer) -> None:
    """Given a sender as Stripe's guide has it, when its session ends, then no event is lost."""
    meter, customer = local.meter(), local.customer()
    http = InProcess(local)

    def renewed() -> stripe.StripeClient:
        key = speak(TEST_KEY, "http://meterhouse", http_client=http)
        session = key.v2.billing.meter_event_session.create()
        return speak(session.authentication_token, "http://meterhouse", http_client=http)

    stream, sessions, told = renewed(), 1, set()
    for _ in range(10):
        local.clock.advance(4 * 60_000)
        try:
            stream.v2.billing.meter_event_stream.create({"events": events(customer)})
        except stripe.TemporarySessionExpiredError as error:
            told.add((error.http_status, error.code))
            stream, sessions = renewed(), sessions + 1
            stream.v2.billing.meter_event_stream.create({"events": events(customer)})
    assert sessions == 3
    assert told == {(400, "billing_meter_event_session_expired")}
    (point,) = local.summaries(meter, customer).json()["data"]
    assert point["aggregated_value"] == 75


OLD_PYTHON = """
import datetime, json, sys
import stripe

url, key, account, expired, customer = sys.argv[1:]
bases = {"api": url, "meter_events": url}

def stream(token):
    return stripe.StripeClient(token, base_addresses=bases).v2.billing.meter_event_stream

client = stripe.StripeClient(key, base_addresses=bases, stripe_account=account)
session = client.v2.billing.meter_event_session.create()
payload = {"stripe_customer_id": customer, "value": "2"}
now = datetime.datetime.now(datetime.timezone.utc)
spellings = [{}, {"timestamp": now.isoformat()}, {"timestamp": now}]
events = [{"event_name": "calls", "payload": payload, **more} for more in spellings]
nothing = stream(session.authentication_token).create({"events": events})
single = client.v2.billing.meter_events.create({**events[0], "identifier": "a"})
try:
    stream(expired).create({"events": events})
except stripe.TemporarySessionExpiredError as error:
    told = [error.code, error.http_status]
print(json.dumps([stripe.VERSION.split(".")[0], session.object, single.identifier, told]))
"""

NODE = """
const http = require("http");
const [url, key, account, expired, customer] = process.argv.slice(1);
const {hostname, port} = new URL(url);
const lookup = (_, options, done) =>
  options.all ? done(null, [{address: hostname, family: 4}]) : done(null, hostname, 4);
const options = {
  host: hostname, port, protocol: "http", telemetry: false, httpAgent: new http.Agent({lookup}),
};
const Stripe = require("stripe");
const stream = (token) => new Stripe(token, options).v2.billing.meterEventStream;
(async () => {
  const {billing} = new Stripe(key, {...options, stripeAccount: account}).v2;
  const session = await billing.meterEventSession.create();
  const payload = {stripe_customer_id: customer, value: "2"};
  const now = new Date();
  const events = [{}, {timestamp: now.toISOString()}, {timestamp: now}].map(
    (more) => ({event_name: "calls", payload, ...more}),
  );
  await stream(session.authentication_token).create({events});
  const single = await billing.meterEvents.create({...events[0], identifier: "a"});
  const told = await stream(expired).create({events}).catch(
    (error) => [error.type, error.code, error.statusCode],
  );
  console.log(JSON.stringify([
    Stripe.PACKAGE_VERSION.split(".")[0], session.object, single.identifier, told,
  ]));
})();
"""


def run(command: list[str], environment: dict[str, str]) -> Any:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("version", ["11", "12.5"])
def test_old_python(
    server: Server, client: stripe.StripeClient, account: str, version: str
) -> None:
    folder = CLIENTS / f"stripe-{version}"
    if not folder.is_dir():
        pytest.skip(f"stripe {version} is not in {folder}; `make test` puts it there")
    meter, customer = make_meter(client), make_customer(client)
    arguments = [server.url, TEST_KEY, account, expired_token(server), customer]
    told = run(
        [sys.executable, "-W", "ignore", "-c", OLD_PYTHON, *arguments],
        {"PYTHONPATH": str(folder), "XDG_CONFIG_HOME": str(server.data_dir), "NO_PROXY": "*"},
    )
    assert told == [
        version.partition(".")[0],
        "v2.billing.meter_event_session",
        "a",
        ["billing_meter_event_session_expired", 400],
    ]
    assert total(client, meter, customer) == 8


@pytest.mark.parametrize("version", ["20", "23"])
def test_node(server: Server, client: stripe.StripeClient, account: str, version: str) -> None:
    """Version 20 sends the stream to a host of its own, so the agent looks every name up alike."""
    node, folder = shutil.which("node"), CLIENTS / f"node-{version}"
    if node is None or not folder.is_dir():
        pytest.skip(f"there is no Node, or no stripe {version} in {folder} (see `make test`)")
    meter, customer = make_meter(client), make_customer(client)
    arguments = [server.url, TEST_KEY, account, expired_token(server), customer]
    told = run(
        [node, "-e", NODE, *arguments],
        {"NODE_PATH": str(folder / "node_modules"), "NO_PROXY": "*"},
    )
    assert told == [
        version,
        "v2.billing.meter_event_session",
        "a",
        ["TemporarySessionExpiredError", "billing_meter_event_session_expired", 400],
    ]
    assert total(client, meter, customer) == 8


def test_a_sender_who_is_over_the_limit(tmp_path: Path) -> None:
    with local_server(tmp_path, limits="stripe", rate_limits="basic.test=1") as local:
        key = speak(TEST_KEY, "http://meterhouse", http_client=InProcess(local))
        key.v2.billing.meter_event_session.create()
        with pytest.raises(stripe.RateLimitError):
            key.v2.billing.meter_event_session.create()
