"""Signals between the processes that share a ledger: that something is to be looked at now.

A signal has a name and says nothing else. It may be lost, so whoever waits for one looks by itself
once in a while, too. Where a process has the ledger to itself, a signal is a call.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread
from typing import Literal

import sqlalchemy as sa

from meterhouse import limits
from meterhouse.errors import StoreError
from meterhouse.ledger.engine import Ledger

log = logging.getLogger("meterhouse.signals")

# A reader waits; the outbox has something; a lease was given back; processing shall pause; a job
# of the name has something to do; somebody reads the log of requests.
Signal = Literal[
    "asked", "outbox", "leases", "pause", "erase", "invoice", "rebuild", "resend", "logs"
]

_CHANNEL = "meterhouse"
_notify = sa.text(f"SELECT pg_notify('{_CHANNEL}', :name)")


def notify(connection: sa.Connection, name: Signal) -> None:
    """Send a signal with the commit of a transaction.

    Commits that do so go one after the other, so this is for those that are few.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_notify, {"name": name})


class Signals:
    """What this process hears from `start()` to `stop()`, on the event loop, and what it sends."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._listening: defaultdict[str, list[Callable[[], None]]] = defaultdict(list)
        self._waiting: set[Signal] = set()
        self._sending: asyncio.Task[None] | None = None
        self._sender = ThreadPoolExecutor(1, "signals-sender")
        self._stopping = Event()
        self._thread: Thread | None = None

    def on(self, name: Signal, told: Callable[[], None]) -> None:
        """Call `told` whenever this or another process sends a signal."""
        self._listening[name].append(told)

    def send(self, name: Signal) -> None:
        """Send a signal to all processes, this one among them."""
        if not self._ledger.shared:
            self._tell(name)
            return
        self._waiting.add(name)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())

    def start(self) -> None:
        """Hear from now on."""
        if self._ledger.shared:
            loop = asyncio.get_running_loop()
            self._thread = Thread(target=self._hear, args=(loop,), name="signals", daemon=True)
            self._thread.start()

    async def stop(self) -> None:
        """Send what waits, and hear nothing more."""
        if self._sending is not None:
            await self._sending
        self._stopping.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        self._sender.shutdown()

    async def _send(self) -> None:
        """Send what waits, each signal once however often it was given."""
        try:
            while self._waiting:
                names, self._waiting = self._waiting, set()
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._sender, self._send_all, names)
                await asyncio.sleep(limits.SIGNAL_MILLISECONDS / 1000)
        except StoreError as error:
            log.debug("other processes look by themselves: %s", error)
        finally:
            self._sending = None

    def _send_all(self, names: set[Signal]) -> None:
        with self._ledger.tend() as connection:
            for name in names:
                notify(connection, name)

    def _hear(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stopping.is_set():
            try:
                self._hear_until_lost(loop)
            except StoreError as error:
                log.debug("signals are not heard for a moment: %s", error)
                self._stopping.wait(limits.SIGNAL_RETRY_SECONDS)

    def _hear_until_lost(self, loop: asyncio.AbstractEventLoop) -> None:
        seconds = limits.SIGNAL_LOOK_MILLISECONDS / 1000
        for name in self._ledger.hear(_CHANNEL, seconds):
            if self._stopping.is_set():
                return
            if name:
                loop.call_soon_threadsafe(self._tell, name)

    def _tell(self, name: str) -> None:
        for told in self._listening[name]:
            told()
