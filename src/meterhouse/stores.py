"""The way from the event loop to the two stores.

- The ledger has one writer thread: writes happen one after the other, each in a transaction that
  is on disk when the call returns.
- Ledger reads and usage-store calls have small pools of their own, so a slow query never delays
  an acknowledgement; one for each of the `lanes`, so that it delays nobody in another one.
- A question whose asker is cancelled ends before the cancellation goes on.
- `trouble` tells why the ledger takes nothing at the moment.
- Whoever listens to the outbox is called after every `write` that put something there.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from copy import copy
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar

import sqlalchemy as sa

from meterhouse import lanes, limits
from meterhouse.errors import OvertakenError, StoreError
from meterhouse.lanes import Interrupt, LaneName
from meterhouse.ledger import outbox
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.snapshot import LedgerSnapshot
from meterhouse.usage.store import UsageStore

log = logging.getLogger("meterhouse.stores")

P = ParamSpec("P")
T = TypeVar("T")


class Fence(Protocol):
    """What lets writes through as long as the writer is who it was, such as a lease."""

    def check(self, connection: sa.Connection) -> None:
        """Raise `OvertakenError` unless the transaction may go on; it holds until that ends."""


class _Health:
    """Why the last write failed, None since one is known to be on disk."""

    trouble: str | None = None


class Stores:
    """Both stores, as seen from the event loop."""

    def __init__(self, ledger: Ledger, usage: Callable[..., Any]) -> None:
        """Open the way to the ledger, and to the usage store by way of `usage(work, …)`."""
        self._ledger = ledger
        self._usage = usage
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="ledger-writer")
        self._tender = ThreadPoolExecutor(1, thread_name_prefix="ledger-tender")
        self._readers = {
            name: ThreadPoolExecutor(lane.readers, f"ledger-{name}")
            for name, lane in lanes.LEDGER.items()
        }
        self._queries = {
            name: ThreadPoolExecutor(lane.readers, f"usage-{name}")
            for name, lane in lanes.USAGE.items()
        }
        self._listeners: list[Callable[[], None]] = []
        self._health = _Health()
        self._fence: Fence | None = None

    def fenced(self, fence: Fence) -> Self:
        """Return the same stores for somebody whose every write has to pass a fence first."""
        fenced = copy(self)
        fenced._fence = fence  # noqa: SLF001 - it is one of us
        return fenced

    @property
    def shared(self) -> bool:
        """Whether other processes may work on the ledger at the same time."""
        return self._ledger.shared

    def trouble(self) -> str | None:
        """Return why the last write of the ledger failed; None since one is known to be on disk."""
        return self._health.trouble

    def mended(self) -> None:
        """Tell that a write has put rows on disk: one that changes nothing may succeed anyhow."""
        self._health.trouble = None

    def listen(self, told: Callable[[], None]) -> None:
        """Call `told` on the event loop whenever the outbox has something new on disk."""
        self._listeners.append(told)

    async def write(
        self,
        work: Callable[Concatenate[sa.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `work(connection, …)` in a transaction of the ledger; it is durable on return."""
        loop = asyncio.get_running_loop()

        def run() -> T:
            with self._writing() as connection:
                result = work(connection, *args, **kwargs)
                stirred = outbox.stirred(connection)
            if stirred:
                loop.call_soon_threadsafe(self._tell)
            return result

        return await loop.run_in_executor(self._writer, run)

    async def tend(
        self,
        work: Callable[Concatenate[sa.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `work(connection, …)`, which shows that this process lives, beside the writes.

        It passes no fence. It waits for no other write, but for one on SQLite.
        """

        def run() -> T:
            with self._ledger.tend() as connection:
                return work(connection, *args, **kwargs)

        tender = self._tender if self._ledger.shared else self._writer
        return await asyncio.get_running_loop().run_in_executor(tender, run)

    async def write_then(
        self,
        then: Callable[[T], None],
        work: Callable[Concatenate[sa.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Write, and call `then` with the result once it is on disk, before anybody else writes."""

        def run() -> T:
            with self._writing() as connection:
                result = work(connection, *args, **kwargs)
            then(result)
            return result

        return await asyncio.get_running_loop().run_in_executor(self._writer, run)

    async def read(
        self,
        work: Callable[Concatenate[sa.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `work(connection, …)` on a consistent view of the ledger."""
        return await self.ask_ledger("work", work, *args, **kwargs)

    async def ask_ledger(
        self,
        lane: LaneName,
        work: Callable[Concatenate[sa.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Do what `read` does by another lane; raises `SlowError` when it takes longer there."""
        interrupt = Interrupt()

        def run() -> T:
            with self._ledger.read(lane, interrupt) as connection:
                return work(connection, *args, **kwargs)

        return await _ending(self._readers[lane].submit(run), interrupt.come)

    async def rewrite_ledger(self) -> bool:
        """Write the ledger's file anew, as `Ledger.rewrite` does, between two writes."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writer, self._ledger.rewrite)

    async def snapshot(self) -> LedgerSnapshot:
        """Hold the ledger as it is now, to be copied."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers["work"], self._ledger.snapshot)

    async def usage(
        self,
        work: Callable[Concatenate[UsageStore, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `work(usage store, …)`, for example `stores.usage(UsageStore.summaries, query)`.

        The store may be in another process: `work` is found by its name there, and arguments and
        results are copied.
        """

        def run() -> T:
            result: T = self._usage(work, *args, **kwargs)
            return result

        return await asyncio.get_running_loop().run_in_executor(self._queries["work"], run)

    async def ask_usage(
        self,
        lane: LaneName,
        work: Callable[Concatenate[UsageStore, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Do what `usage` does by another lane; raises `SlowError` when it takes longer there."""
        question = secrets.token_hex(8)

        def run() -> T:
            result: T = self._usage(UsageStore.ask, question, lane, work, *args, **kwargs)
            return result

        def end() -> None:
            self._usage(UsageStore.end, question)

        return await _ending(self._queries[lane].submit(run), end)

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        try:
            with self._ledger.write() as connection:
                if self._fence is not None:
                    self._fence.check(connection)
                yield connection
        except OvertakenError:
            raise  # nothing is wrong with the ledger
        except StoreError as error:
            self._health.trouble = str(error)
            raise

    def _tell(self) -> None:
        for told in self._listeners:
            told()

    def close(self) -> None:
        """Finish what the threads have begun."""
        for pool in (self._writer, self._tender, *self._readers.values(), *self._queries.values()):
            pool.shutdown(wait=True)


async def _ending(running: Future[T], end: Callable[[], None]) -> T:
    """Wait for a question; if whoever waits is cancelled, call `end` until it has ended."""
    try:
        return await asyncio.wrap_future(running)
    except asyncio.CancelledError:
        if not running.done():
            await asyncio.to_thread(_end, running, end)
        raise


def _end(running: Future[T], end: Callable[[], None]) -> None:
    """Once may not be enough: the question may not have begun, or be between two statements."""
    while not running.done():
        try:
            end()
        except StoreError as error:
            log.warning("a question that nobody waits for goes on: %s", error)
        wait((running,), limits.INTERRUPT_MILLISECONDS / 1_000)
