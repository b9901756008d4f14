"""Signed tokens: text that says something and proves that we have said it.

A token is a prefix and, in base64 for URLs, a signature (HMAC-SHA256) and what is signed. Each kind
of token has a prefix, which is signed as well, and a key of its own (`wire.signing`), so that none
can be taken for another. A text that is spelled in any other way than `seal` spells it is no token,
and neither is one that says what nobody can read any more.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from hashlib import sha256
from typing import TypeVar

import msgspec

T = TypeVar("T")

_SIGNATURE_BYTES = sha256().digest_size


def seal(prefix: str, body: bytes, key: bytes) -> str:
    """Return the token that says `body`."""
    signed = _signature(prefix, body, key) + body
    return prefix + _spell(signed).decode()


def unseal(prefix: str, token: str, key: bytes) -> bytes | None:
    """Return what a token says; None when it was not sealed with `key`."""
    if not token.startswith(prefix):
        return None
    text = token.removeprefix(prefix).encode("utf-8", "surrogatepass")
    try:
        signed = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except Error:
        return None
    if _spell(signed) != text:  # decoding passes over what is no letter of base64
        return None
    signature, body = signed[:_SIGNATURE_BYTES], signed[_SIGNATURE_BYTES:]
    genuine = hmac.compare_digest(signature, _signature(prefix, body, key))
    return body if genuine else None


def read(decoder: msgspec.msgpack.Decoder[T], prefix: str, token: str, key: bytes) -> T | None:
    """Return what a token says as `decoder` reads it; None when it says no such thing, or is none.

    What is genuine may have been sealed by another version of the program.
    """
    body = unseal(prefix, token, key)
    try:
        return None if body is None else decoder.decode(body)
    except ValueError:
        return None


def _signature(prefix: str, body: bytes, key: bytes) -> bytes:
    return hmac.digest(key, prefix.encode() + body, "sha256")


def _spell(signed: bytes) -> bytes:
    return urlsafe_b64encode(signed).rstrip(b"=")
