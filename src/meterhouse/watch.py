"""Whether those who go on for long still may: whose key is good, whose session holds.

However many go on, one question is asked once in a while, about all of them; nobody, none. Where it
is not answered they are sent away: they may come again.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from meterhouse.gone import Receive, first_of

log = logging.getLogger("meterhouse.watch")

Still = Callable[[Collection[str]], Awaitable[set[str]]]


class Watch:
    """Tells those who go on when what let them in has ended.

    `still` returns which of some ids hold; it is asked every `seconds`.
    """

    def __init__(self, still: Still, seconds: float) -> None:
        self._still = still
        self._seconds = seconds
        self._watched: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def over(self, id: str) -> AsyncIterator[asyncio.Event]:  # noqa: A002 - what it is
        """Yield what is set once what has this id holds no more."""
        event = asyncio.Event()
        self._watched[id].add(event)
        if self._task is None:
            self._task = asyncio.create_task(self._keep_looking())
        try:
            yield event
        finally:
            self._watched[id].remove(event)
            if not self._watched[id]:
                del self._watched[id]
            await self._rest()

    def bounded(
        self,
        id: str,  # noqa: A002 - what it is
        receive: Receive,
        refuse: Callable[[], Exception],
    ) -> Receive:
        """Return a `receive` that raises a refusal once what has this id holds no more."""

        async def receive_or_end() -> MutableMapping[str, Any]:
            async with self.over(id) as ended, first_of(receive(), ended.wait()) as (hearing, _):
                if hearing.done():
                    return hearing.result()
                raise refuse()

        return receive_or_end

    async def _rest(self) -> None:
        """Look no more when nobody goes on."""
        task = self._task
        if task is not None and not self._watched:
            self._task = None
            task.cancel()
            await asyncio.wait({task})

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            asked = list(self._watched)
            try:
                held = await self._still(asked)
            except Exception:
                log.exception("whether they may go on cannot be told, so they are sent away")
                held = set()
            for one in set(asked) - held:
                for event in self._watched.get(one, ()):
                    event.set()
