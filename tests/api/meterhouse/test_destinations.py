import asyncio
from typing import Any

import sqlalchemy as sa
import stripe

from meterhouse import limits
from meterhouse.ledger.tables import destinations
from tests.api.local import HOUR, NOW, LocalServer
from tests.api.samples import error_of
from tests.receiver import Heard, receiving

URL = "https://example.com/hook"


def endpoint(local: LocalServer, url: str = URL) -> tuple[str, str]:
    """Make an endpoint; return the path that rolls its secret, and the secret."""
    made = local.create("/v1/webhook_endpoints", data={"url": url, "enabled_events[]": "*"})
    return f"/meterhouse/v1/destinations/{made['id']}/roll_secret", made["secret"]


def signers(heard: Heard, *secrets: str) -> list[bool]:
    """Return for each of the secrets whether it has signed."""

    def signed(secret: str) -> bool:
        try:
            stripe.WebhookSignature.verify_header(
                heard.body.decode(), heard.headers["Stripe-Signature"], secret
            )
        except stripe.SignatureVerificationError:
            return False
        return True

    return [signed(secret) for secret in secrets]


def test_a_new_secret(local: LocalServer) -> None:
    path, old = endpoint(local)
    rolled = local.create(path)
    assert rolled.pop("secret") not in ("", old)
    assert rolled == {
        "object": "meterhouse.signing_secret",
        "destination": path.split("/")[4],
        "livemode": False,
        "previous_expires_at": NOW + 24 * HOUR,
    }


def test_both_sign_until_the_old_one_expires(local: LocalServer) -> None:
    with receiving() as receiver:
        path, old = endpoint(local, receiver.url)
        new = local.create(path, data={"expires_in": 60})["secret"]
        heard: list[Heard] = []
        for milliseconds in (59_999, 1):
            local.clock.advance(milliseconds)
            local.customer()
            count = len(heard) + 1
            heard = local.run(asyncio.to_thread(receiver.wait, count))
    assert signers(heard[0], old, new) == [True, True]
    assert signers(heard[1], old, new) == [False, True]


def test_an_old_secret_can_end_at_once_and_never_lives_longer(local: LocalServer) -> None:
    path, _ = endpoint(local)
    local.create(path, data={"expires_in": 60})
    local.create(path)
    secrets = _secrets(local)
    assert [at for _, at in secrets] == [None, (NOW + 24 * HOUR) * 1000, (NOW + 60) * 1000]
    local.create(path, data={"expires_in": 0})
    assert [at for _, at in _secrets(local)] == [None, NOW * 1000, NOW * 1000, NOW * 1000]
    local.create(path)
    assert len(_secrets(local)) == 2


def test_only_so_many_count_at_once(local: LocalServer) -> None:
    path, _ = endpoint(local)
    for _ in range(limits.DESTINATION_SECRETS_MAX + 2):
        local.create(path)
    assert len(_secrets(local)) == limits.DESTINATION_SECRETS_MAX


def test_refusals(local: LocalServer) -> None:
    path, _ = endpoint(local)
    for text in ("-1", "86401", "soon"):
        error = error_of(local.request("POST", path, data={"expires_in": text}), 400)
        assert error["param"] == "expires_in"
    unknown = local.request("POST", "/meterhouse/v1/destinations/we_none/roll_secret")
    assert error_of(unknown, 404)["message"] == "No such destination: 'we_none'"


def _secrets(local: LocalServer) -> list[Any]:
    with local.meterhouse.ledger.read() as connection:
        found: list[Any] = connection.execute(sa.select(destinations.c.secrets)).scalar_one()
    return found
