"""The header `Stripe-Signature`, by which a receiver knows that an event is ours.

Each valid secret of the destination signs, so that a receiver may know any one of them while they
are rolled (https://docs.stripe.com/webhooks/signatures).
"""

import hmac
from collections.abc import Iterable


def sign(secrets: Iterable[str], body: bytes, now_ms: int) -> str:
    """Return the header of a `body` that is sent now: `t=1700000000,v1=5257…,v1=9f86…`.

    A secret signs as it is shown, `whsec_` included.
    """
    seconds = now_ms // 1000
    signed = b"%d.%s" % (seconds, body)
    schemes = (f"v1={hmac.digest(secret.encode(), signed, 'sha256').hex()}" for secret in secrets)
    return ",".join((f"t={seconds}", *schemes))
