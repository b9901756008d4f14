"""Idempotent requests (https://docs.stripe.com/api/idempotent_requests).

The answer to a request with an `Idempotency-Key` is recorded in the transaction that has its
effect. A retry finds the record and hears the same answer; a retry that comes while the first
request is still at work hears 409. One that comes to another process waits until the effect of the
first is on disk, and hears the same answer; where one of the two sends events, it may be 409.

API v1 takes a key with POST and keeps every answer for a day. API v2 takes one with POST and DELETE
and keeps what succeeded for 30 days; what failed is executed again.
"""

from hashlib import blake2b

from meterhouse import limits
from meterhouse.metering.window import MILLISECONDS
from meterhouse.wire import envelope
from meterhouse.wire.version import Api

METHODS: dict[Api, tuple[str, ...]] = {"v1": ("POST",), "v2": ("POST", "DELETE")}
KEPT_MILLISECONDS: dict[Api, int] = {
    "v1": limits.IDEMPOTENCY_V1_HOURS * MILLISECONDS["hour"],
    "v2": limits.IDEMPOTENCY_V2_DAYS * MILLISECONDS["day"],
}

_FINGERPRINT_BYTES = 16


class KeysInUse:
    """The keys of the requests that this process is working on."""

    def __init__(self) -> None:
        self._keys: set[tuple[int, Api, str]] = set()

    def hold(self, scope: int, api: Api, key: str) -> None:
        """Hold `key` until its request is answered; refuse with 409 if somebody holds it."""
        if (scope, api, key) in self._keys:
            raise envelope.idempotency_in_use(key)
        self._keys.add((scope, api, key))

    def release(self, scope: int, api: Api, key: str) -> None:
        """Let go of a key that was held."""
        self._keys.discard((scope, api, key))


def fingerprint(api: Api, method: str, path: str, parameters: bytes) -> bytes:
    """Digest what a request asks for; the order of form parameters does not matter."""
    parts = [parameters]
    if api == "v1":
        parts = sorted(parameters.split(b"&"), key=lambda pair: pair.partition(b"=")[0])
    text = b"\0".join((method.encode(), path.encode(), *parts))
    return blake2b(text, digest_size=_FINGERPRINT_BYTES).digest()
