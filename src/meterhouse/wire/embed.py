"""Embed tokens: what a browser may be given, so that it can show one customer's usage.

A token is bound to an account and mode, one customer, some meters and some of their dimensions, and
it is over soon. It needs no look-up, like the token of a session.
"""

from typing import Annotated

import msgspec

from meterhouse import masking
from meterhouse.wire import token

_PREFIX = masking.EMBED_TOKEN


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
    meters: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    dimensions: tuple[str, ...]
    expires_at: int
    key: str | None = None


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Embed)


def is_embed_token(credential: str) -> bool:
    """Return whether what a sender authenticates with looks like an embed token."""
    return credential.startswith(_PREFIX)


def seal(embed: Embed, key: bytes) -> str:
    """Return the token that permits this."""
    return token.seal(_PREFIX, _ENCODER.encode(embed), key)


def unseal(text: str, key: bytes) -> Embed | None:
    """Return what a token permits, over or not; None when it was not sealed with `key`."""
    return token.read(_DECODER, _PREFIX, text, key)
