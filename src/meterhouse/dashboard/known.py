"""A browser that has signed in before: a cookie of its own, which outlives the session.

It says with which name, so that this browser may try again although others have tried that name
too often (`dashboard.attempts`). It signs nobody in. There is one for each name; what it has of the
name is a digest.
"""

import secrets
from collections.abc import Mapping
from hashlib import blake2b

import msgspec

from meterhouse import limits, masking
from meterhouse.clock import Clock
from meterhouse.signing import Signing
from meterhouse.wire import token

_COOKIE = "meterhouse_known_"
_DAY = 86_400_000
_APART = limits.CLOCK_APART_MINUTES_MAX * 60_000


class Acquaintance(msgspec.Struct, frozen=True, array_like=True):
    """What such a cookie holds: the digest of a name, when it was made, and the browser's name."""

    who: str
    at: int
    browser: str


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Acquaintance)


class Browsers:
    """Makes and reads these cookies."""

    def __init__(self, clock: Clock, signing: Signing) -> None:
        self._clock = clock
        self._signing = signing

    async def remember(self, name: str) -> tuple[str, str]:
        """Return name and value of the cookie of a browser that has just signed in."""
        who = _digest(name)
        made = Acquaintance(who, self._clock.now(), secrets.token_hex(16))
        key = (await self._signing.keys()).known_browsers
        return _cookie(who), token.seal(masking.KNOWN_BROWSER, _ENCODER.encode(made), key)

    async def recognize(self, cookies: Mapping[str, str], name: str) -> str | None:
        """Return the name of a browser that has signed in as `name`; None where it has not."""
        who = _digest(name)
        cookie = cookies.get(_cookie(who), "")
        key = (await self._signing.keys()).known_browsers
        found = token.read(_DECODER, masking.KNOWN_BROWSER, cookie, key)
        if found is None:
            return None
        age = self._clock.now() - found.at
        fresh = -_APART <= age <= limits.SIGN_IN_KNOWN_DAYS * _DAY
        return found.browser if fresh and found.who == who else None


def _digest(name: str) -> str:
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _cookie(who: str) -> str:
    return _COOKIE + who[:8]
