"""What senders ask the stores, each within a share of the readers.

What a reader may rely on:

- A question that takes long is begun anew as a slow one, so that it holds up only other slow ones,
  and of these its sender has few at a time. What is quick stays quick beside them.
- A sender with too many of them hears 429, one whose question takes longer than any may 503.
- When the client goes away, what it asked slowly is ended.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.errors import SlowError
from meterhouse.gone import Receive, until_gone
from meterhouse.share import Share
from meterhouse.stores import Stores
from meterhouse.usage.store import UsageStore

P = ParamSpec("P")
T = TypeVar("T")


class _Lanes:
    """The lanes to one store, and everybody's share of them."""

    def __init__(self, ask: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        self._ask = ask
        self._quick = Share(
            limits.QUICK_READERS, limits.QUICK_SENDER_READERS_MAX, limits.QUICK_SENDER_WAITING_MAX
        )
        self._slow = Share(
            limits.SLOW_READERS, limits.SLOW_SENDER_READERS_MAX, limits.SLOW_SENDER_WAITING_MAX
        )

    async def ask(
        self, sender: int, receive: Receive | None, work: Any, *args: Any, **kwargs: Any
    ) -> Any:
        quick = self._quick
        if not quick.take(sender):
            await quick.wait(sender)
        try:
            return await self._ask("quick", work, *args, **kwargs)
        except SlowError:
            pass
        finally:
            quick.give(sender)
        return await until_gone(receive, self._ask_slowly(sender, work, *args, **kwargs))

    async def _ask_slowly(self, sender: int, work: Any, *args: Any, **kwargs: Any) -> Any:
        slow = self._slow
        if not slow.take(sender):
            await slow.wait(sender)
        try:
            return await self._ask("slow", work, *args, **kwargs)
        finally:
            slow.give(sender)


class Questions:
    """Asks both stores; `sender` is who has the share, and `receive` tells that it went away."""

    def __init__(self, stores: Stores) -> None:
        self._ledger = _Lanes(stores.ask_ledger)
        self._usage = _Lanes(stores.ask_usage)

    async def read(
        self,
        sender: int,
        receive: Receive | None,
        work: Callable[Concatenate[sa.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `work(connection, …)` on a consistent view of the ledger; it may run twice."""
        result: T = await self._ledger.ask(sender, receive, work, *args, **kwargs)
        return result

    async def usage(
        self,
        sender: int,
        receive: Receive | None,
        work: Callable[Concatenate[UsageStore, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `work(usage store, …)`; it may run twice."""
        result: T = await self._usage.ask(sender, receive, work, *args, **kwargs)
        return result
