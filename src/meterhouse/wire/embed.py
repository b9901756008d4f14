"""Embed tokens: what a browser may be given, so that it can show one customer's usage.

A token is bound to an account and mode, one customer, some meters and some of their dimensions, and
it is over soon. It needs no look-up, like the token of a session; its secret is made of the same
one.
"""

import hmac

import msgspec

from meterhouse.wire import token

_PREFIX = "embed_"


class Embed(msgspec.Struct, frozen=True, array_like=True):
    """What a token permits, and until when (milliseconds).

    `scope` is the number that the ledger gave to this account and mode. `dimensions` are the keys
    by which usage may be told apart and filtered. `key` is the id of the key that made it, None for
    the operator.
    """

    scope: int
    account: str
    livemode: bool
    customer: str
    meters: tuple[str, ...]
    dimensions: tuple[str, ...]
    expires_at: int
    key: str | None = None


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Embed)


def is_embed_token(credential: str) -> bool:
    """Return whether what a sender authenticates with looks like an embed token."""
    return credential.startswith(_PREFIX)


def secret_of(session_secret: bytes) -> bytes:
    """Return the secret of embed tokens; no token of a session is signed with it."""
    return hmac.digest(session_secret, b"embed tokens", "sha256")


def seal(embed: Embed, secret: bytes) -> str:
    """Return the token that permits this."""
    return token.seal(_PREFIX, _ENCODER.encode(embed), secret)


def unseal(text: str, secret: bytes) -> Embed | None:
    """Return what a token permits, over or not; None when it was not sealed with `secret`."""
    body = token.unseal(_PREFIX, text, secret)
    # What is signed is what `seal` has encoded, so it decodes.
    return None if body is None else _DECODER.decode(body)
