"""What is kept of answers that tell a secret, and what a retry hears."""

from typing import Any

import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.ledger import signing_secret
from meterhouse.ledger.tables import metadata
from tests.api.local import LocalServer
from tests.api.v2.samples import SESSION, STREAM, event, post
from tests.server import TEST_KEY

HOOK = {"url": "https://example.com/hook", "enabled_events[]": "*"}
DESTINATION = {
    "name": "Hook",
    "type": "webhook_endpoint",
    "event_payload": "thin",
    "enabled_events": ["*"],
    "webhook_endpoint": {"url": "https://example.com/hook"},
    "include": ["webhook_endpoint.signing_secret"],
    "metadata": {"\N{SNOWMAN}": '"\\\n'},
}


def ask(local: LocalServer, kind: str, key: str = "k") -> tuple[bytes, str]:
    """Make something that has a secret; return the answer's body, and the secret."""
    named = {"Idempotency-Key": key}
    if kind == "endpoint":
        answer = local.request("POST", "/v1/webhook_endpoints", data=HOOK, headers=named)
        return answer.content, answer.json()["secret"]
    if kind == "destination":
        answer = post(local, "/v2/core/event_destinations", DESTINATION, **named)
        return answer.content, answer.json()["webhook_endpoint"]["signing_secret"]
    if kind == "session":
        answer = post(local, SESSION, **named)
        return answer.content, answer.json()["authentication_token"]
    path = f"/meterhouse/v1/destinations/{endpoint(local)}/roll_secret"
    answer = local.request("POST", path, headers=named)
    return answer.content, answer.json()["secret"]


def endpoint(local: LocalServer) -> str:
    """Return the id of the only endpoint, which is made where there is none."""
    there = local.request("GET", "/v1/webhook_endpoints").json()["data"]
    made: str = (there or [local.create("/v1/webhook_endpoints", data=HOOK)])[0]["id"]
    return made


KINDS = ("endpoint", "destination", "rolled", "session")


@pytest.mark.parametrize("kind", KINDS)
def test_a_retry_hears_the_same_answer_though_the_secret_is_not_kept(
    local: LocalServer, kind: str
) -> None:
    body, secret = ask(local, kind)
    assert secret.startswith(("whsec_", "token_"))
    local.clock.advance(1_000)
    assert ask(local, kind) == (body, secret)
    assert ask(local, kind, "another")[1] != secret


def where(local: LocalServer, secret: str) -> set[str]:
    """Return the columns of the ledger in which a text stands."""
    found: set[str] = set()
    with local.meterhouse.ledger.read() as connection:
        for table in metadata.sorted_tables:
            for row in connection.execute(sa.select(table)).mappings():
                found |= {
                    f"{table.name}.{name}" for name, value in row.items() if has(value, secret)
                }
    return found


def has(value: Any, secret: str) -> bool:
    return secret.encode() in value if isinstance(value, bytes) else secret in str(value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_secret_is_nowhere_but_where_it_is_needed(local: LocalServer, kind: str) -> None:
    _, secret = ask(local, kind)
    assert where(local, secret) == (set() if kind == "session" else {"destinations.secrets"})


def test_nothing_else_that_is_told_once_is_kept(local: LocalServer) -> None:
    named = {"Idempotency-Key": "k"}
    bound = {"customer": local.customer(), "meters[]": local.meter()}
    cli = {"device_name": "laptop", "websocket_features[]": "webhooks"}
    operator = local.meterhouse.services.operator_token
    listening = local.create("/v1/stripecli/sessions", data=cli, headers=named)
    told = [
        operator,
        local.create("/meterhouse/v1/api_keys", key=operator, headers=named)["secret"],
        local.create("/meterhouse/v1/embed_tokens", data=bound, headers=named)["token"],
        listening["secret"],
        TEST_KEY,
    ]
    assert [where(local, one) for one in told] == [set()] * len(told)
    assert where(local, listening["websocket_id"]) == {"listeners.id"}


def test_a_secret_that_is_no_more_is_null_in_a_retry(local: LocalServer) -> None:
    _, first = ask(local, "endpoint", "made")
    _, second = ask(local, "rolled", "rolled")
    assert ask(local, "endpoint", "made")[1] == first  # it counts for a while
    local.clock.advance(limits.DESTINATION_SECRET_HOURS_MAX * 3_600_000 - 1_000)
    assert ask(local, "rolled", "rolled")[1] == second
    local.clock.advance(1_000)
    assert ask(local, "endpoint", "made")[1] is None
    assert ask(local, "rolled", "rolled")[1] == second


def test_a_retry_after_the_destination_was_deleted(local: LocalServer) -> None:
    body, _ = ask(local, "endpoint")
    local.request("DELETE", f"/v1/webhook_endpoints/{endpoint(local)}")
    again, secret = ask(local, "endpoint")
    assert secret is None
    assert len(again) < len(body)


def test_a_destination_whose_secret_nobody_asked_for_tells_none(local: LocalServer) -> None:
    quiet = DESTINATION | {"include": ["webhook_endpoint.url"]}
    for _ in range(2):
        made = post(local, "/v2/core/event_destinations", quiet, Idempotency_Key="k").json()
        assert made["webhook_endpoint"]["signing_secret"] is None


def test_what_was_refused_is_replayed(local: LocalServer) -> None:
    for _ in range(limits.DESTINATIONS_MAX):
        local.request("POST", "/v1/webhook_endpoints", data=HOOK)
    full = [
        local.request("POST", "/v1/webhook_endpoints", data=HOOK, headers={"Idempotency-Key": "f"})
        for _ in range(2)
    ]
    assert [one.status_code for one in full] == [400, 400]
    assert full[0].content == full[1].content


def test_a_session_that_is_replayed_after_a_rotation_has_a_token_that_counts(
    local: LocalServer,
) -> None:
    _, first = ask(local, "session")
    with local.meterhouse.ledger.write() as connection:
        signing_secret.rotate(connection)
    local.clock.advance(limits.SIGNING_LOOK_MILLISECONDS)
    _, second = ask(local, "session")
    assert first != second
    events = {"events": [event(local.customer())]}
    codes = [post(local, STREAM, events, key=one).status_code for one in (first, second)]
    assert codes == [401, 200]
