"""How often somebody may try to sign in.

A name and an address each have so many attempts in a quarter of an hour. Signing in gives those of
the name back. Passwords are checked one after the other, because a check takes much memory.
"""

import asyncio
from collections import OrderedDict

from meterhouse import limits
from meterhouse.clock import Clock

_WINDOW = limits.SIGN_IN_WINDOW_MINUTES * 60_000


class Attempts:
    """Counts attempts; as many names and addresses as are remembered are bounded."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self.checking = asyncio.Lock()

    def admit(self, name: str, ip: str) -> bool:
        """Count an attempt; tell whether it may be made."""
        by_name = self._count(f"name {name}", limits.SIGN_IN_ATTEMPTS_MAX)
        by_address = self._count(f"address {ip}", limits.SIGN_IN_ADDRESS_ATTEMPTS_MAX)
        return by_name and by_address

    def forgive(self, name: str) -> None:
        """Forget the attempts of a name that has signed in."""
        self._counts.pop(f"name {name}", None)

    def _count(self, who: str, most: int) -> bool:
        now = self._clock.now()
        began, count = self._counts.pop(who, (now, 0))
        if not began <= now < began + _WINDOW:  # before it, where the clock has been set back
            began, count = now, 0
        self._counts[who] = (began, count + 1)
        if len(self._counts) > limits.SIGN_IN_KEYS_MAX:
            self._counts.popitem(last=False)
        return count < most
