"""The clients that ask the usage store, some for each lane.

What a reader may rely on:

- A client runs one statement at a time, and is opened when it is needed first. What it runs can be
  ended from any thread.
- A client of which a statement has failed runs no other. The engine inside this process keeps what
  the statement had written of its answer, and puts it before the answer to the next one.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import LifoQueue
from threading import Lock
from typing import Any

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error as DriverError

from meterhouse import lanes
from meterhouse.lanes import LaneName

_END = "KILL QUERY WHERE Settings['log_comment'] = {name:String} ASYNC"

Connect = Callable[[dict[str, Any]], Client]


class _Reader:
    """A client that is opened, and opened anew, as it is needed.

    `name` is what a server, or the engine, knows its statements by.
    """

    def __init__(self, connect: Connect, seconds_max: float) -> None:
        self.name = f"meterhouse {secrets.token_hex(8)}"
        self._connect = connect
        self._settings = {"max_execution_time": seconds_max, "log_comment": self.name}
        self._client: Client | None = None

    @contextmanager
    def opened(self) -> Iterator[Client]:
        """Return the client for one statement."""
        if self._client is None:
            self._client = self._connect(self._settings)
        try:
            yield self._client
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the client, if there is one."""
        client, self._client = self._client, None
        if client is not None:
            client.close()


class Readers:
    """Hands out clients; `connect(settings)` opens one."""

    def __init__(self, connect: Connect) -> None:
        self._every: list[_Reader] = []
        self._idle: dict[LaneName, LifoQueue[_Reader]] = {}
        for name, lane in lanes.USAGE.items():
            readers = [_Reader(connect, lane.seconds_max) for _ in range(lane.readers)]
            self._every += readers
            self._idle[name] = LifoQueue()
            for reader in readers:
                self._idle[name].put(reader)
        self._ending = Lock()
        self._ender = _Reader(connect, lanes.USAGE["work"].seconds_max)

    @contextmanager
    def one(self, lane: LaneName) -> Iterator[tuple[Client, Callable[[], None]]]:
        """Wait for a client of a lane that is idle, and keep it for one statement.

        It comes with what ends the statement.
        """
        idle = self._idle[lane]
        reader = idle.get()
        try:
            with reader.opened() as client:
                yield client, lambda: self._end(reader.name)
        finally:
            idle.put(reader)

    def close(self) -> None:
        """Close what was opened."""
        for reader in (*self._every, self._ender):
            reader.close()

    def _end(self, name: str) -> None:
        """End what a client runs; where that is not permitted, its time limit ends it."""
        with self._ending, suppress(DriverError, OSError), self._ender.opened() as ender:
            ender.raw_query(_END, parameters={"name": name})
