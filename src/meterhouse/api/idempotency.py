"""Idempotent requests (https://docs.stripe.com/api/idempotent_requests).

The answer to a POST with an `Idempotency-Key` is recorded in the transaction that has its effect.
A retry finds the record and hears the same answer; a retry that comes while the first request is
still at work hears 409.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

from meterhouse.wire import envelope

_FINGERPRINT_BYTES = 16


class KeysInUse:
    """The keys of the requests that this process is working on."""

    def __init__(self) -> None:
        self._keys: set[tuple[int, str]] = set()

    @contextmanager
    def hold(self, scope: int, key: str | None) -> Iterator[None]:
        """Hold `key` while its request is worked on; refuse with 409 if somebody holds it."""
        if key is None:
            yield
            return
        if (scope, key) in self._keys:
            raise envelope.idempotency_in_use(key)
        self._keys.add((scope, key))
        try:
            yield
        finally:
            self._keys.discard((scope, key))


def fingerprint(method: str, path: str, parameters: bytes) -> bytes:
    """Digest what a request asks for; the order of form parameters does not matter."""
    pairs = sorted(parameters.split(b"&"), key=lambda pair: pair.partition(b"=")[0])
    text = b"\0".join((method.encode(), path.encode(), *pairs))
    return blake2b(text, digest_size=_FINGERPRINT_BYTES).digest()
