"""Sessions of the meter event stream: tokens that need no look-up.

A token holds the session, signed (`wire.token`) with a key that follows from the ledger's secret,
so any node that opens the ledger can check it. To clients it is opaque
(https://docs.stripe.com/api/v2/billing/meter-event-session).
"""

import msgspec

from meterhouse import masking
from meterhouse.wire import token

_PREFIX = masking.STREAM_SESSION


class Session(msgspec.Struct, frozen=True, array_like=True):
    """A session: the scope whose events it lets in, and until when (milliseconds).

    `scope` is the number that the ledger gave to this account and mode. `key` is the id of the key
    that made it, None for the operator.
    """

    id: str
    scope: int
    account: str
    livemode: bool
    expires_at: int
    key: str | None = None


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Session)


def is_token(credential: str) -> bool:
    """Return whether what a sender authenticates with looks like a session's token."""
    return credential.startswith(_PREFIX)


def seal(session: Session, key: bytes) -> str:
    """Return the token of a session."""
    return token.seal(_PREFIX, _ENCODER.encode(session), key)


def unseal(text: str, key: bytes) -> Session | None:
    """Return the session of a token, expired or not; None when it was not sealed with `key`."""
    return token.read(_DECODER, _PREFIX, text, key)
