"""What is kept of answers that tell a secret, and what a retry hears."""

from typing import Any

import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.ledger import signing_secret
from meterhouse.ledger.tables import metadata
from tests.api.services import Services
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


def ask(services: Services, kind: str, key: str = "k") -> tuple[bytes, str]:
    """Make something that has a secret; return the answer's body, and the secret."""
    named = {"Idempotency-Key": key}
    if kind == "endpoint":
        answer = services.request("POST", "/v1/webhook_endpoints", data=HOOK, headers=named)
        return answer.content, answer.json()["secret"]
    if kind == "destination":
        answer = post(services, "/v2/core/event_destinations", DESTINATION, **named)
        return answer.content, answer.json()["webhook_endpoint"]["signing_secret"]
    if kind == "session":
        answer = post(services, SESSION, **named)
        return answer.content, answer.json()["authentication_token"]
    path = f"/meterhouse/v1/destinations/{endpoint(services)}/roll_secret"
    answer = services.request("POST", path, headers=named)
    return answer.content, answer.json()["secret"]


def endpoint(services: Services) -> str:
    """Return the id of the only endpoint, which is made where there is none."""
    there = services.request("GET", "/v1/webhook_endpoints").json()["data"]
    made: str = (there or [services.create("/v1/webhook_endpoints", data=HOOK)])[0]["id"]
    return made


KINDS = ("endpoint", "destination", "rolled", "session")


@pytest.mark.parametrize("kind", KINDS)
def test_a_retry_hears_the_same_answer_though_the_secret_is_not_kept(
    services: Services, kind: str
) -> None:
    body, secret = ask(services, kind)
    assert secret.startswith(("whsec_", "token_"))
    services.clock.advance(1_000)
    assert ask(services, kind) == (body, secret)
    assert ask(services, kind, "another")[1] != secret


def where(services: Services, secret: str) -> set[str]:
    """Return the columns of the ledger in which a text stands."""
    found: set[str] = set()
    with services.meterhouse.ledger.read() as connection:
        for table in metadata.sorted_tables:
            for row in connection.execute(sa.select(table)).mappings():
                found |= {
                    f"{table.name}.{name}" for name, value in row.items() if has(value, secret)
                }
    return found


def has(value: Any, secret: str) -> bool:
    return secret.encode() in value if isinstance(value, bytes) else secret in str(value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_secret_is_nowhere_but_where_it_is_needed(services: Services, kind: str) -> None:
    _, secret = ask(services, kind)
    assert where(services, secret) == (set() if kind == "session" else {"destinations.secrets"})


def test_nothing_else_that_is_told_once_is_kept(services: Services) -> None:
    named = {"Idempotency-Key": "k"}
    bound = {"customer": services.customer(), "meters[]": services.meter()}
    cli = {"device_name": "laptop", "websocket_features[]": "webhooks"}
    operator = services.meterhouse.services.operator_token
    listening = services.create("/v1/stripecli/sessions", data=cli, headers=named)
    told = [
        operator,
        services.create("/meterhouse/v1/api_keys", key=operator, headers=named)["secret"],
        services.create("/meterhouse/v1/embed_tokens", data=bound, headers=named)["token"],
        listening["secret"],
        TEST_KEY,
    ]
    assert [where(services, one) for one in told] == [set()] * len(told)
    assert where(services, listening["websocket_id"]) == {"listeners.id"}


def test_a_secret_that_is_no_more_is_null_in_a_retry(services: Services) -> None:
    _, first = ask(services, "endpoint", "made")
    _, second = ask(services, "rolled", "rolled")
    assert ask(services, "endpoint", "made")[1] == first  # it counts for a while
    services.clock.advance(limits.DESTINATION_SECRET_HOURS_MAX * 3_600_000 - 1_000)
    assert ask(services, "rolled", "rolled")[1] == second
    services.clock.advance(1_000)
    assert ask(services, "endpoint", "made")[1] is None
    assert ask(services, "rolled", "rolled")[1] == second


def test_a_retry_after_the_destination_was_deleted(services: Services) -> None:
    body, _ = ask(services, "endpoint")
    services.request("DELETE", f"/v1/webhook_endpoints/{endpoint(services)}")
    again, secret = ask(services, "endpoint")
    assert secret is None
    assert len(again) < len(body)


def test_a_destination_whose_secret_nobody_asked_for_tells_none(services: Services) -> None:
    quiet = DESTINATION | {"include": ["webhook_endpoint.url"]}
    for _ in range(2):
        made = post(services, "/v2/core/event_destinations", quiet, Idempotency_Key="k").json()
        assert made["webhook_endpoint"]["signing_secret"] is None


def test_what_was_refused_is_replayed(services: Services) -> None:
    for _ in range(limits.DESTINATIONS_MAX):
        services.request("POST", "/v1/webhook_endpoints", data=HOOK)
    full = [
        services.request(
            "POST", "/v1/webhook_endpoints", data=HOOK, headers={"Idempotency-Key": "f"}
        )
        for _ in range(2)
    ]
    assert [one.status_code for one in full] == [400, 400]
    assert full[0].content == full[1].content


def test_a_session_that_is_replayed_after_a_rotation_has_a_token_that_counts(
    services: Services,
) -> None:
    _, first = ask(services, "session")
    with services.meterhouse.ledger.write() as connection:
        signing_secret.rotate(connection)
    services.clock.advance(limits.SIGNING_LOOK_MILLISECONDS)
    _, second = ask(services, "session")
    assert first != second
    events = {"events": [event(services.customer())]}
    codes = [post(services, STREAM, events, key=one).status_code for one in (first, second)]
    assert codes == [401, 200]
