"""The keys that sign, one for each use, derived from one secret.

That is the second half of HKDF (https://www.rfc-editor.org/rfc/rfc5869#section-2.3). Its first half
makes a good key of a poor one; the secret is 32 random bytes.
"""

import hmac
from typing import NamedTuple


class SigningKeys(NamedTuple):
    """A key for each use; from none of them can the secret, or another one, be told."""

    stream_sessions: bytes
    embed_tokens: bytes
    known_browsers: bytes
    listeners: bytes


def signing_keys(secret: bytes) -> SigningKeys:
    """Return the keys of a secret: the same ones whenever and wherever they are asked for."""
    return SigningKeys(
        *(derive_key(secret, b"meterhouse." + use.encode()) for use in SigningKeys._fields)
    )


def derive_key(secret: bytes, purpose: bytes) -> bytes:
    """Return the 32 bytes that HKDF-Expand makes of a secret for a purpose."""
    return hmac.digest(secret, purpose + b"\x01", "sha256")
