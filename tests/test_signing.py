"""What signs, in front of a ledger that a test holds in its hands."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from meterhouse import limits
from meterhouse.clock import ManualClock
from meterhouse.errors import StoreError
from meterhouse.signing import Signing
from meterhouse.stores import Stores
from meterhouse.wire.signing import signing_keys

NOW = 1_700_000_000_000
LOOK = limits.SIGNING_LOOK_MILLISECONDS


class Asked:
    """A ledger with a secret, and how often it was asked."""

    def __init__(self) -> None:
        self.secret = b"s" * 32
        self.times = 0
        self.broken = False
        self.clock = ManualClock(NOW)
        self.signing = Signing(cast("Stores", self), self.clock)

    async def ask_ledger(self, lane: str, work: Callable[..., Any]) -> bytes:
        """Answer as `Stores` would."""
        assert (lane, work.__name__) == ("look_up", "read_secret")
        self.times += 1
        await asyncio.sleep(0)
        if self.broken:
            raise StoreError("The ledger is away.")
        return self.secret


def test_the_keys_are_the_same_value_until_the_secret_is_another() -> None:
    async def work() -> None:
        asked = Asked()
        keys = await asked.signing.keys()
        assert keys == signing_keys(b"s" * 32)
        asked.clock.advance(LOOK)
        assert await asked.signing.keys() is keys
        asked.secret = b"t" * 32
        asked.clock.advance(LOOK - 1)
        assert await asked.signing.keys() is keys
        asked.clock.advance(1)
        assert await asked.signing.keys() == signing_keys(b"t" * 32)
        assert asked.times == 3

    asyncio.run(work())


def test_many_who_wait_ask_once() -> None:
    async def work() -> None:
        asked = Asked()
        await asyncio.gather(*(asked.signing.keys() for _ in range(50)))
        assert asked.times == 1

    asyncio.run(work())


def test_a_clock_that_is_set_back_asks_again() -> None:
    async def work() -> None:
        asked = Asked()
        await asked.signing.keys()
        asked.clock.advance(-1)
        await asked.signing.keys()
        assert asked.times == 2

    asyncio.run(work())


def test_nothing_is_signed_with_a_secret_that_may_be_over() -> None:
    async def work() -> None:
        asked = Asked()
        await asked.signing.keys()
        asked.broken = True
        asked.clock.advance(LOOK)
        with pytest.raises(StoreError):
            await asked.signing.keys()
        asked.broken = False
        assert await asked.signing.keys() == signing_keys(b"s" * 32)

    asyncio.run(work())
