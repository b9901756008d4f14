import asyncio
from typing import Any

import sqlalchemy as sa
import stripe

from meterhouse import limits
from meterhouse.ledger.tables import destinations
from tests.api.samples import error_of
from tests.api.services import HOUR, NOW, Services
from tests.receiver import Heard, receiving

URL = "https://example.com/hook"


def endpoint(services: Services, url: str = URL) -> tuple[str, str]:
    """Make an endpoint; return the path that rolls its secret, and the secret."""
    made = services.create("/v1/webhook_endpoints", data={"url": url, "enabled_events[]": "*"})
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


def test_a_new_secret(services: Services) -> None:
    path, old = endpoint(services)
    rolled = services.create(path)
    assert rolled.pop("secret") not in ("", old)
    assert rolled == {
        "object": "meterhouse.signing_secret",
        "destination": path.split("/")[4],
        "livemode": False,
        "previous_expires_at": NOW + 24 * HOUR,
    }


def test_both_sign_until_the_old_one_expires(services: Services) -> None:
    with receiving() as receiver:
        path, old = endpoint(services, receiver.url)
        new = services.create(path, data={"expires_in": 60})["secret"]
        heard: list[Heard] = []
        for milliseconds in (59_999, 1):
            services.clock.advance(milliseconds)
            services.customer()
            count = len(heard) + 1
            heard = services.run(asyncio.to_thread(receiver.wait, count))
    assert signers(heard[0], old, new) == [True, True]
    assert signers(heard[1], old, new) == [False, True]


def test_an_old_secret_can_end_at_once_and_never_lives_longer(services: Services) -> None:
    path, _ = endpoint(services)
    services.create(path, data={"expires_in": 60})
    services.create(path)
    secrets = _secrets(services)
    assert [at for _, at in secrets] == [None, (NOW + 24 * HOUR) * 1000, (NOW + 60) * 1000]
    services.create(path, data={"expires_in": 0})
    assert [at for _, at in _secrets(services)] == [None, NOW * 1000, NOW * 1000, NOW * 1000]
    services.create(path)
    assert len(_secrets(services)) == 2


def test_only_so_many_count_at_once(services: Services) -> None:
    path, _ = endpoint(services)
    for _ in range(limits.DESTINATION_SECRETS_MAX + 2):
        services.create(path)
    assert len(_secrets(services)) == limits.DESTINATION_SECRETS_MAX


def test_refusals(services: Services) -> None:
    path, _ = endpoint(services)
    for text in ("-1", "86401", "soon"):
        error = error_of(services.request("POST", path, data={"expires_in": text}), 400)
        assert error["param"] == "expires_in"
    unknown = services.request("POST", "/meterhouse/v1/destinations/we_none/roll_secret")
    assert error_of(unknown, 404)["message"] == "No such destination: 'we_none'"


def _secrets(services: Services) -> list[Any]:
    with services.meterhouse.ledger.read() as connection:
        found: list[Any] = connection.execute(sa.select(destinations.c.secrets)).scalar_one()
    return found
