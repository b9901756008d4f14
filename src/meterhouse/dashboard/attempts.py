"""How fast somebody may guess passwords.

What a reader may rely on:

- The first attempts are made at once. Each further one waits, twice as long as the one before, up
  to a longest wait. Counted are those of a name from an address, of a name from anywhere, and of an
  address with whatever names; of version 6 a /64 counts as one address.
- An attempt that would have to wait for long is refused, told when to come again, and not counted.
- A browser that is known by `dashboard.known` is counted by itself: what others have tried does not
  hold it up.
- Counts take the same memory whoever tries. What is counted is a place, which a digest chooses by a
  key that nobody knows. So no attempt makes an earlier one forgotten; two that happen to share a
  place share their waits.
- Passwords are checked one after the other, because a check takes much memory. Known browsers have
  a line of their own, and each line has an end.
"""

import asyncio
import secrets
from array import array
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from hashlib import blake2b
from typing import NamedTuple

from meterhouse import limits
from meterhouse.clock import Clock
from meterhouse.proxies import home_of

_WINDOW = limits.SIGN_IN_WINDOW_MINUTES * 60_000
_DOUBLINGS_MAX = 16


class TooManyError(Exception):
    """An attempt is not made; it may be after so many `seconds`."""

    def __init__(self, milliseconds: int) -> None:
        super().__init__()
        self.seconds = max(1, -(-milliseconds // 1000))


class Counts:
    """Attempts of one kind: `free` ones at once, then with waits of up to `seconds`."""

    def __init__(self, free: int, seconds: int) -> None:
        self._free = free
        self._longest = seconds * 1000
        self._counts = array("H", bytes(2 * limits.SIGN_IN_PLACES))
        self._next = array("q", bytes(8 * limits.SIGN_IN_PLACES))

    def due(self, place: int, now: int) -> int:
        """Return when the next attempt of a place may be made."""
        due = self._next[place]
        # Nothing is due so late but by a clock that was ahead and has been set back.
        furthest = now + self._longest + limits.SIGN_IN_HELD_SECONDS_MAX * 1000
        if not due <= furthest or now >= due + _WINDOW:
            self._counts[place] = self._next[place] = due = 0
        return max(now, due)

    def take(self, place: int, now: int) -> None:
        """Count an attempt of a place, which is made when it is due, as far as this place tells."""
        due = self.due(place, now)
        count = self._counts[place] = min(self._counts[place] + 1, self._free + _DOUBLINGS_MAX)
        further = count - self._free
        wait = limits.SIGN_IN_FIRST_WAIT_MILLISECONDS << further if further >= 0 else 0
        self._next[place] = due + min(wait, self._longest)

    def give_back(self, place: int) -> None:
        """Count one attempt less."""
        self._counts[place] = max(0, self._counts[place] - 1)

    def clear(self, place: int) -> None:
        """Forget the attempts of a place."""
        self._counts[place] = self._next[place] = 0


class Attempt(NamedTuple):
    """An attempt that has been counted and may be made in `wait` milliseconds."""

    wait: int
    line: "Line"
    own: tuple[Counts, int]
    shared: tuple[tuple[Counts, int], ...]

    def forgive(self) -> None:
        """Take it back, for it was right, and forget those before it of whoever made it."""
        counts, place = self.own
        counts.clear(place)
        for counts, place in self.shared:
            counts.give_back(place)


class Line:
    """Attempts that are under way, so many at a time."""

    def __init__(self) -> None:
        self._count = 0
        self._checking = asyncio.Lock()

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Stand in the line; raises `TooManyError` where it is too long."""
        if self._count >= limits.SIGN_IN_WAITING_MAX:
            raise TooManyError(limits.SIGN_IN_HELD_SECONDS_MAX * 1000)
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    def turn(self) -> asyncio.Lock:
        """Return what is held while a password is checked."""
        return self._checking


class Attempts:
    """Counts attempts and lets them wait."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._here = Counts(limits.SIGN_IN_HERE_ATTEMPTS, limits.SIGN_IN_HERE_SECONDS_MAX)
        self._named = Counts(limits.SIGN_IN_NAME_ATTEMPTS, limits.SIGN_IN_NAME_SECONDS_MAX)
        self._from = Counts(limits.SIGN_IN_ADDRESS_ATTEMPTS, limits.SIGN_IN_ADDRESS_SECONDS_MAX)
        self._known = Counts(limits.SIGN_IN_HERE_ATTEMPTS, limits.SIGN_IN_HERE_SECONDS_MAX)
        self._strangers, self._acquainted = Line(), Line()
        self._ended = asyncio.Event()

    def end(self) -> None:
        """Let nobody wait any more: the server stops."""
        self._ended.set()

    @asynccontextmanager
    async def turn(self, name: str, client: str, known: str | None) -> AsyncIterator[Attempt]:
        """Wait until a password may be checked, which is done within; raises `TooManyError`.

        `known` names the browser, where it is one that has signed in with this name.
        """
        attempt = self.count(name, client, known)
        with attempt.line.joined():
            if not await self._pause(attempt.wait):
                raise TooManyError(0)
            async with attempt.line.turn():
                yield attempt

    def count(self, name: str, client: str, known: str | None) -> Attempt:
        """Count an attempt; raises `TooManyError` where it would have to wait too long."""
        home, line = home_of(client), self._strangers
        own: tuple[Counts, int] = (self._here, self._place(name, home))
        shared: tuple[tuple[Counts, int], ...] = (
            (self._named, self._place(name)),
            (self._from, self._place(home)),
        )
        if known is not None:
            own, shared, line = (self._known, self._place(known)), (), self._acquainted
        now = self._clock.now()
        at = max(counts.due(place, now) for counts, place in (own, *shared))
        if at - now > limits.SIGN_IN_HELD_SECONDS_MAX * 1000:
            raise TooManyError(at - now)
        for counts, place in (own, *shared):
            counts.take(place, now)
        return Attempt(at - now, line, own, shared)

    def _place(self, *parts: str) -> int:
        joined = "\0".join(f"{len(part)}:{part}" for part in parts)
        digest = blake2b(joined.encode("utf-8", "surrogatepass"), key=self._key, digest_size=8)
        return int.from_bytes(digest.digest()) % limits.SIGN_IN_PLACES

    async def _pause(self, milliseconds: int) -> bool:
        """Wait; return whether the server goes on."""
        with suppress(TimeoutError):
            async with asyncio.timeout(milliseconds / 1000):
                await self._ended.wait()
        return not self._ended.is_set()
