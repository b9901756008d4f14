"""Signed tokens: text that says something and proves that we have said it.

A token is a prefix and, in base64 for URLs, a signature (HMAC-SHA256) and what is signed. Each kind
of token has a prefix and a secret of its own, so that none can be taken for another. A text that is
spelled in any other way than `seal` spells it is no token.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from hashlib import sha256

_SIGNATURE_BYTES = sha256().digest_size


def seal(prefix: str, body: bytes, secret: bytes) -> str:
    """Return the token that says `body`."""
    signed = hmac.digest(secret, body, "sha256") + body
    return prefix + _spell(signed).decode()


def unseal(prefix: str, token: str, secret: bytes) -> bytes | None:
    """Return what a token says; None when it was not sealed with `secret`."""
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
    genuine = hmac.compare_digest(signature, hmac.digest(secret, body, "sha256"))
    return body if genuine else None


def _spell(signed: bytes) -> bytes:
    return urlsafe_b64encode(signed).rstrip(b"=")
