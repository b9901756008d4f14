"""Parts of a page that are always up to date, by server-sent events.

However many look at a part, it is made once every `DASHBOARD_LIVE_SECONDS`, and sent where it is
another than before. When nobody looks any more nothing is made. Whoever's session has ended is told
so, and sent away.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import AbstractAsyncContextManager, suppress

from meterhouse import limits
from meterhouse.errors import MeterhouseError

log = logging.getLogger("meterhouse.dashboard")

Make = Callable[[], Awaitable[str]]
SIGNED_OUT = "event: signed_out\ndata: -\n\n"


class Part:
    """One part that somebody looks at."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self.html = ""
        self.version = 0
        self.lookers = 0

    def begin(self) -> None:
        """Somebody looks."""
        self.lookers += 1
        if self._task is None:
            self._task = asyncio.create_task(self._keep_making())

    async def end(self) -> None:
        """Somebody looks no more."""
        self.lookers -= 1
        if not self.lookers and self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def after(self, version: int) -> None:
        """Wait for another version, but no longer than a connection may be silent."""
        async with self._changed:
            with suppress(TimeoutError):
                async with asyncio.timeout(limits.DASHBOARD_LIVE_SILENCE_SECONDS):
                    await self._changed.wait_for(lambda: self.version != version)

    async def _keep_making(self) -> None:
        while True:
            try:
                html = await self._make()
            except MeterhouseError:
                pass  # a store that does not answer may do so later
            except Exception:
                log.exception("a live part of a page was not made and will be tried again")
            else:
                await self._show(html)
            await asyncio.sleep(limits.DASHBOARD_LIVE_SECONDS)

    async def _show(self, html: str) -> None:
        if html != self.html:
            async with self._changed:
                self.html, self.version = html, self.version + 1
                self._changed.notify_all()


class Live:
    """All parts that somebody looks at."""

    def __init__(self) -> None:
        self._parts: dict[Hashable, Part] = {}
        self._ended = asyncio.Event()

    def end(self) -> None:
        """Send all lookers away: the server stops."""
        self._ended.set()

    def full(self) -> bool:
        """Tell whether no further looker is let in."""
        lookers = sum(part.lookers for part in self._parts.values())
        return lookers >= limits.DASHBOARD_LIVE_LISTENERS_MAX

    async def stream(
        self, key: Hashable, make: Make, watched: AbstractAsyncContextManager[asyncio.Event]
    ) -> AsyncIterator[str]:
        """Yield the part that `key` names whenever it changes, until the session is over.

        `watched` yields what is set then (`meterhouse.watch`).
        """
        part = self._parts.setdefault(key, Part(make))
        part.begin()
        try:
            async with watched as over:
                version = 0
                while not self._ended.is_set() and not over.is_set():
                    if part.version != version:
                        version = part.version
                        yield f"data: {json.dumps(part.html)}\n\n"
                    else:
                        yield ": still here\n\n"
                    await self._next(part, version, over)
                if over.is_set():
                    yield SIGNED_OUT
        finally:
            if part.lookers == 1:  # nobody may join a part that is about to end
                del self._parts[key]
            await part.end()

    async def _next(self, part: Part, version: int, over: asyncio.Event) -> None:
        waits = {
            asyncio.create_task(part.after(version)),
            asyncio.create_task(self._ended.wait()),
            asyncio.create_task(over.wait()),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.wait(waits)
