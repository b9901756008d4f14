"""A trap: it counts the calls of one piece of work, and kills at the chosen one.

It kills `before` the work begins, `within` (the work is done, and nobody knows; a transaction is
still open), or `after` (it is on disk, nobody was told). Work on the usage store is done in a
process of its own; there, `within` kills the server first and then that process.
"""

import os
import random
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from meterhouse.api import once
from meterhouse.engine.client import EngineClient
from meterhouse.lanes import LaneName
from meterhouse.stores import Stores
from meterhouse.usage.store import UsageStore

Work = Callable[..., Any]
Run = Callable[..., Awaitable[Any]]


def name_of(work: Work, args: tuple[Any, ...] = ()) -> str:
    """Name a piece of work as the points of the crash test do: `commit.commit`.

    An insert is named with its table: `store.UsageStore.insert events`. What is done once for each
    idempotency key is named as what it is.
    """
    if work is once._alone:
        return name_of(args[1])
    if isinstance(work, partial):
        return name_of(work.func)
    name = f"{work.__module__.rpartition('.')[2]}.{work.__qualname__}"
    return f"{name} {args[0]}" if work in (UsageStore.insert, UsageStore.insert_again) else name


class Trap:
    """Kills its process at the chosen moment of the chosen call."""

    def __init__(self, call: str, moment: str, number: int) -> None:
        self._call = call
        self._moment = moment
        self._left = number

    def set(self) -> None:
        """Wrap every way to the stores, and both rounds of the judge."""
        for method in ("read", "write"):
            setattr(Stores, method, self._wrap(getattr(Stores, method), last))
        setattr(Stores, "usage", self._wrap(Stores.usage, last_in_engine))  # noqa: B010 - as above
        setattr(Stores, "ask_usage", self._wrap_lane(Stores.ask_usage))  # noqa: B010
        setattr(Stores, "write_then", self._wrap_then(Stores.write_then))  # noqa: B010
        for method in ("judge", "conclude"):
            setattr(EngineClient, method, self._wrap_round(getattr(EngineClient, method)))

    def _springs(self, name: str) -> bool:
        self._left -= name == self._call
        return name == self._call and self._left == 0

    def _wrap(self, run: Run, kill: Work) -> Run:
        async def trapped(stores: Stores, work: Work, *args: Any, **kwargs: Any) -> Any:
            sprung = self._springs(name_of(work, args))
            if sprung and self._moment == "before":
                die()
            chosen = partial(kill, work) if sprung and self._moment == "within" else work
            result = await run(stores, chosen, *args, **kwargs)
            if sprung:
                die()
            return result

        return trapped

    def _wrap_lane(self, run: Run) -> Run:
        async def trapped(
            stores: Stores, lane: LaneName, work: Work, *args: Any, **kwargs: Any
        ) -> Any:
            async def ask(_: Stores, chosen: Work, *args: Any, **kwargs: Any) -> Any:
                return await run(stores, lane, chosen, *args, **kwargs)

            return await self._wrap(ask, last_in_engine)(stores, work, *args, **kwargs)

        return trapped

    def _wrap_then(self, run: Run) -> Run:
        async def trapped(stores: Stores, then: Work, work: Work, *args: Any) -> Any:
            async def write(_: Stores, chosen: Work, *args: Any) -> Any:
                return await run(stores, then, chosen, *args)

            return await self._wrap(write, last)(stores, work, *args)

        return trapped

    def _wrap_round(self, run: Work) -> Work:
        """Return a round of the judge; one that finds the journal empty is not counted."""

        def trapped(engine: EngineClient, *args: Any, **kwargs: Any) -> Any:
            result = run(engine, *args, **kwargs)
            if result is not None and self._springs(name_of(run)):
                die()
            if run.__name__ == "conclude":
                random.shuffle(result.blocks)  # their order is nobody's business
            return result

        return trapped


def last(work: Work, *args: Any, **kwargs: Any) -> None:
    """Work, then kill the process."""
    work(*args, **kwargs)
    die()


def last_in_engine(work: Work, *args: Any, **kwargs: Any) -> None:
    """Work in the process of the usage store, then kill the server and that process."""
    work(*args, **kwargs)
    os.kill(os.getppid(), signal.SIGKILL)
    die()


def die() -> None:
    """End as `kill -9` does: no handler runs, nothing is flushed."""
    os.kill(os.getpid(), signal.SIGKILL)
