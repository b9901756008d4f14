"""Sessions of the meter event stream: tokens that need no look-up.

A token holds the session and a signature (HMAC-SHA256) under a secret that the ledger keeps, so any
node that knows the secret can check it. To clients it is opaque
(https://docs.stripe.com/api/v2/billing/meter-event-session).
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from hashlib import sha256

import msgspec

_PREFIX = "token_"
_SIGNATURE_BYTES = sha256().digest_size


class Session(msgspec.Struct, frozen=True, array_like=True):
    """A session: the scope whose events it lets in, and until when (milliseconds).

    `scope` is the number that the ledger gave to this account and mode.
    """

    id: str
    scope: int
    account: str
    livemode: bool
    expires_at: int


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Session)


def is_token(credential: str) -> bool:
    """Return whether what a sender authenticates with looks like a session's token."""
    return credential.startswith(_PREFIX)


def seal(session: Session, secret: bytes) -> str:
    """Return the token of a session."""
    body = _ENCODER.encode(session)
    signed = hmac.digest(secret, body, "sha256") + body
    return _PREFIX + urlsafe_b64encode(signed).rstrip(b"=").decode()


def unseal(token: str, secret: bytes) -> Session | None:
    """Return the session of a token, expired or not; None when it was not sealed with `secret`."""
    text = token.removeprefix(_PREFIX).encode("utf-8", "surrogatepass")
    try:
        signed = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except Error:
        return None
    signature, body = signed[:_SIGNATURE_BYTES], signed[_SIGNATURE_BYTES:]
    # What is signed is what `seal` has encoded, so it decodes.
    genuine = hmac.compare_digest(signature, hmac.digest(secret, body, "sha256"))
    return _DECODER.decode(body) if genuine else None
