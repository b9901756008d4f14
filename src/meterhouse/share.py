"""Shares: who may have how much of what many want, and who is next when nothing is left.

What a reader may rely on:

- Nobody has more than a share of the places at a time, whatever is free.
- Whoever waits is served in turn with all others who do, however many places each waits for.
- Nobody waits for more places than may be waited for: one more is a `CrowdedError`.
"""

import asyncio
from collections import deque

from meterhouse.errors import CrowdedError


class Share:
    """`places` for all, `each` of them for one; up to `waiting` more are waited for by one."""

    def __init__(self, places: int, each: int, waiting: int) -> None:
        self._free = places
        self._each = each
        self._waiting_max = waiting
        self._held: dict[int, int] = {}
        self._waiting: dict[int, deque[asyncio.Future[None]]] = {}  # who is next stands first

    def take(self, who: int) -> bool:
        """Take a place if there is one; False if it has to be waited for."""
        held = self._held.get(who, 0)
        if not self._free or held >= self._each or who in self._waiting:
            return False
        self._free -= 1
        self._held[who] = held + 1
        return True

    async def wait(self, who: int) -> None:
        """Wait for a place, and take it."""
        turns = self._waiting.setdefault(who, deque())
        if len(turns) >= self._waiting_max:
            raise CrowdedError("Too many questions of one sender wait for an answer.")
        turn = asyncio.get_running_loop().create_future()
        turns.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(who, turn)
            else:
                self.give(who)  # it came in the same moment
            raise

    def give(self, who: int) -> None:
        """Give a place back; whoever is next has it."""
        self._free += 1
        self._held[who] -= 1
        if not self._held[who]:
            del self._held[who]
        if self._waiting:
            self._serve()

    def _serve(self) -> None:
        for who in list(self._waiting):
            if not self._free:
                return
            held = self._held.get(who, 0)
            if held >= self._each:
                continue
            turn = self._next(who)
            if turn is not None:
                self._free -= 1
                self._held[who] = held + 1
                turn.set_result(None)

    def _next(self, who: int) -> asyncio.Future[None] | None:
        """Return the turn that is next, of those that are still waited for."""
        # One that was cancelled is there until whoever waited for it goes on.
        turns = deque(turn for turn in self._waiting.pop(who) if not turn.cancelled())
        turn = turns.popleft() if turns else None
        if turns:  # it waits for more: the others come first
            self._waiting[who] = turns
        return turn

    def _forget(self, who: int, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(who, deque())
        if turn in turns:
            turns.remove(turn)
            if not turns:
                del self._waiting[who]
