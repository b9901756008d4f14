"""Whether those who look at something for long are still signed in.

However many look, the ledger is asked once every `DASHBOARD_SESSION_LOOK_SECONDS`; nobody, never.
Where it does not answer they are sent away: they may come again.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager

from meterhouse import limits

log = logging.getLogger("meterhouse.dashboard")

StillHeld = Callable[[Collection[str]], Awaitable[set[str]]]


class Watch:
    """Tells those who look on when their session has ended."""

    def __init__(self, still_held: StillHeld) -> None:
        self._still_held = still_held
        self._watched: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def over(self, session: str) -> AsyncIterator[asyncio.Event]:
        """Yield what is set once the session with this id has ended."""
        event = asyncio.Event()
        self._watched[session].add(event)
        if self._task is None:
            self._task = asyncio.create_task(self._keep_looking())
        try:
            yield event
        finally:
            self._watched[session].remove(event)
            if not self._watched[session]:
                del self._watched[session]
            await self._rest()

    async def _rest(self) -> None:
        """Look no more when nobody looks on."""
        task = self._task
        if task is not None and not self._watched:
            self._task = None
            task.cancel()
            await asyncio.wait({task})

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(limits.DASHBOARD_SESSION_LOOK_SECONDS)
            asked = list(self._watched)
            try:
                held = await self._still_held(asked)
            except Exception:
                log.exception("who is signed in cannot be told")
                held = set()
            for session in set(asked) - held:
                for event in self._watched.get(session, ()):
                    event.set()
