"""What ends when the secret that signs is renewed beside the server, and what goes on."""

import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from msgspec import msgpack

from meterhouse import limits
from meterhouse.ledger import signing_secret, users
from meterhouse.ledger.tables import destinations
from meterhouse.wire import token
from tests.api.local import DAY, NOW, LocalServer
from tests.api.samples import error_of
from tests.api.v2.samples import HERE, SESSION, STREAM, event, post
from tests.cli.samples import meterhouse
from tests.server import TEST_KEY, serving

PREVIEW = {"Stripe-Version": "2026-10-28.preview"}
EVENT = {"events": [event("cus_none")]}


class Held:
    """What somebody holds who was given something of every kind."""

    def __init__(self, local: LocalServer) -> None:
        self.local = local
        self.customer, self.meter = local.customer(), local.meter()
        bound = {"customer": self.customer, "meters[]": self.meter}
        self.embed = local.create("/meterhouse/v1/embed_tokens", data=bound)["token"]
        made = post(local, "/v2/billing/meter_event_session").json()
        self.session = made["authentication_token"]
        stores, hashed = local.meterhouse.services.stores, users.hash_password("correct horse")
        local.run(stores.write(users.create_user, "ada", hashed, "viewer", NOW))
        self.browser = self.sign_in().cookies

    def sign_in(self) -> httpx.Response:
        said = {"name": "ada", "password": "correct horse"}
        own = {"Origin": "http://localhost"}
        return self.local.request("POST", "/dashboard/sign-in", data=said, headers=own)

    def answers(self) -> list[int]:
        """Return what the stream, a question, a framed chart and a page answer."""
        asked: dict[str, Any] = {
            "customer": self.customer,
            "meters[0][meter]": self.meter,
            "starts_at": NOW - DAY,
            "ends_at": NOW + DAY,
        }
        usage, embed = "/v1/billing/analytics/meter_usage", {"token": self.embed}
        cookie = {"Cookie": f"meterhouse_session={self.browser['meterhouse_session']}"}
        local, events = self.local, {"events": [event(self.customer)]}
        return [
            post(local, STREAM, events, key=self.session).status_code,
            local.request("GET", usage, key=self.embed, params=asked, headers=PREVIEW).status_code,
            local.request("GET", "/embed/usage", params=embed).status_code,
            local.request("GET", "/dashboard", headers=cookie).headers["location"].count("sign-in"),
        ]


def rotate(local: LocalServer) -> None:
    """Renew the secret as another process does, and let the server's next look come."""
    with local.meterhouse.ledger.write() as connection:
        signing_secret.rotate(connection)
    local.clock.advance(limits.SIGNING_LOOK_MILLISECONDS)


def test_all_that_was_signed_ends_and_may_be_had_anew(local: LocalServer) -> None:
    held = Held(local)
    assert held.answers() == [200, 200, 200, 0]
    rotate(local)
    assert held.answers() == [401, 401, 401, 1]
    assert held.sign_in().status_code == 303
    made = post(local, "/v2/billing/meter_event_session").json()
    held.session = made["authentication_token"]
    assert held.answers() == [200, 401, 401, 1]


def test_keys_signing_secrets_of_destinations_ids_and_pages_go_on(local: LocalServer) -> None:
    hook = {"url": "https://example.com/hook", "enabled_events[]": "*"}
    made = local.create("/v1/webhook_endpoints", data=hook)
    local.meter()
    names = [local.customer() for _ in range(3)]
    payload = {"payload[stripe_customer_id]": names[0], "payload[value]": "1"}
    local.create("/v1/billing/meter_events", data={"event_name": "calls"} | payload)
    events = local.request("GET", "/meterhouse/v1/meter_events").json()
    assert len(events["data"]) == 1
    page = local.request("GET", "/v2/core/events", params={"limit": 1}, headers=HERE).json()
    rotate(local)
    after = {"limit": 2, "starting_after": names[2]}
    more = local.request("GET", "/v1/customers", params=after).json()
    assert [one["id"] for one in more["data"]] == [names[1], names[0]]
    assert local.request("GET", "/meterhouse/v1/meter_events").json() == events
    assert local.request("GET", "/v2/core/events", params={"limit": 1}, headers=HERE).json() == page
    with local.meterhouse.ledger.read() as connection:
        kept = connection.execute(sa.select(destinations.c.secrets)).scalar_one()
    assert kept == [[made["secret"], None]]


def test_the_command_renews_it_beside_a_server_and_without_one(tmp_path: Path) -> None:
    """The server is a real process, which notices by itself."""
    with serving(tmp_path) as server:
        sender = httpx.Client(base_url=server.url, headers=HERE, auth=(TEST_KEY, ""))
        with sender:
            made = sender.post(SESSION, json={}).json()
            held = (made["authentication_token"], "")
            taken = sender.post(STREAM, json=EVENT, auth=held)
            assert taken.status_code == 200, taken.text
            told = meterhouse("secrets", "rotate", "--data-dir", tmp_path)
            assert told.exit_code == 0, told.output
            assert "All tokens of the meter event stream ended" in told.stdout
            assert "API keys" in told.stderr
            noted = meterhouse("audit", "list", "--data-dir", tmp_path).stdout
            assert noted.count("signing_secret.renewed") == 1
            ends_at = time.monotonic() + 60
            while sender.post(STREAM, json=EVENT, auth=held).status_code != 401:
                assert time.monotonic() < ends_at
            token = sender.post(SESSION, json={}).json()["authentication_token"]
            assert sender.post(STREAM, json=EVENT, auth=(token, "")).status_code == 200
    assert meterhouse("secrets", "rotate", "--data-dir", tmp_path).exit_code == 0
    empty = meterhouse("secrets", "rotate", "--data-dir", tmp_path / "none")
    assert empty.exit_code == 1
    assert "There is no ledger" in empty.stderr


BODIES = [b"", b"\xff", msgpack.encode("mes_1"), msgpack.encode(["mes_1", 1]), msgpack.encode({})]


@pytest.mark.parametrize("body", BODIES)
def test_a_token_that_is_genuine_and_says_nothing_is_refused(
    local: LocalServer, body: bytes
) -> None:
    keys = local.run(local.meterhouse.dashboard._signing.keys())
    session = token.seal("token_", body, keys.stream_sessions)
    embed = token.seal("embed_", body, keys.embed_tokens)
    refused = post(local, STREAM, {"events": [event("cus_1")]}, key=session)
    assert error_of(refused, 401)["message"] == f"Invalid API Key provided: ****{session[-4:]}"
    asked = local.request("GET", "/v1/billing/analytics/meter_usage", key=embed, headers=PREVIEW)
    assert error_of(asked, 401)["message"] == f"Invalid API Key provided: ****{embed[-4:]}"
    assert local.request("GET", "/embed/usage", params={"token": embed}).status_code == 401
