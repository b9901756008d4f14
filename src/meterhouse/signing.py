"""What signs, as the ledger has it now.

The ledger is asked for its secret again after `SIGNING_LOOK_MILLISECONDS`: one that was renewed,
by whichever process, signs at every node within that time, and what the one before has signed is
worth nothing then.
"""

import asyncio

from meterhouse import limits
from meterhouse.clock import Clock
from meterhouse.ledger.signing_secret import read_secret
from meterhouse.stores import Stores
from meterhouse.wire.signing import SigningKeys, signing_keys


class Signing:
    """Knows the keys that sign."""

    def __init__(self, stores: Stores, clock: Clock) -> None:
        self._stores = stores
        self._clock = clock
        self._secret = b""
        self._keys: SigningKeys | None = None
        self._asked_at = 0
        self._asking = asyncio.Lock()

    async def keys(self) -> SigningKeys:
        """Return the keys: the very same value as long as the secret is the same."""
        fresh = self._fresh()
        if fresh is not None:
            return fresh
        async with self._asking:  # whoever has waited here finds them fresh
            return self._fresh() or await self._ask()

    def _fresh(self) -> SigningKeys | None:
        now = self._clock.now()
        fresh = self._asked_at <= now < self._asked_at + limits.SIGNING_LOOK_MILLISECONDS
        return self._keys if fresh else None

    async def _ask(self) -> SigningKeys:
        now = self._clock.now()
        secret = await self._stores.ask_ledger("look_up", read_secret)
        if self._keys is None or secret != self._secret:
            self._secret, self._keys = secret, signing_keys(secret)
        self._asked_at = now
        return self._keys
