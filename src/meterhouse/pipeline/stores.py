"""The way from the event loop to the two stores.

- The ledger has one writer thread: writes happen one after the other, each in a transaction that
  is on disk when the call returns.
- Ledger reads and usage-store calls have small pools of their own, so a slow query never delays
  an acknowledgement.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.ledger.engine import Ledger
from meterhouse.usage.store import UsageStore

P = ParamSpec("P")
T = TypeVar("T")


class Stores:
    """Both stores, as seen from the event loop."""

    def __init__(self, ledger: Ledger, usage: UsageStore) -> None:
        self._ledger = ledger
        self._usage = usage
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="ledger-writer")
        self._readers = ThreadPoolExecutor(limits.LEDGER_READERS, "ledger-reader")
        self._queries = ThreadPoolExecutor(limits.USAGE_READERS, "usage")

    async def write(
        self,
        work: Callable[Concatenate[sa.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `work(connection, …)` in a transaction of the ledger; it is durable on return."""

        def run() -> T:
            with self._ledger.write() as connection:
                return work(connection, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._writer, run)

    async def read(
        self,
        work: Callable[Concatenate[sa.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `work(connection, …)` on a consistent view of the ledger."""

        def run() -> T:
            with self._ledger.read() as connection:
                return work(connection, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._readers, run)

    async def usage(
        self,
        work: Callable[Concatenate[UsageStore, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `work(usage store, …)`, for example `stores.usage(UsageStore.summaries, query)`."""

        def run() -> T:
            return work(self._usage, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._queries, run)

    def close(self) -> None:
        """Finish what the threads have begun and close both stores."""
        for pool in (self._writer, self._readers, self._queries):
            pool.shutdown(wait=True)
        self._usage.close()
        self._ledger.close()
