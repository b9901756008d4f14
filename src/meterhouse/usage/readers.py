"""The clients that ask the usage store, some for each lane.

What a reader may rely on:

- A client runs one statement at a time, and is opened when it is needed first, and anew when
  another server is to be asked. What it runs can be ended from any thread.
- A question that a server gave no answer to is asked once more where there is another server.
- A client of which a statement has failed runs no other. The engine inside this process keeps what
  the statement had written of its answer, and puts it before the answer to the next one.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import LifoQueue
from threading import Lock
from typing import Any, TypeVar

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error as DriverError

from meterhouse import lanes
from meterhouse.lanes import Interrupt, LaneName
from meterhouse.usage.connect import Address
from meterhouse.usage.servers import unanswered

T = TypeVar("T")

_END = "KILL QUERY WHERE Settings['log_comment'] = {name:String} ASYNC"


class Connection:
    """A client that is opened, and opened anew, as it is needed.

    One that is `lasting` stays open whatever fails.
    """

    def __init__(
        self, address: Address, settings: dict[str, Any], *, lasting: bool = False
    ) -> None:
        self._address = address
        self._settings = settings
        self._lasting = lasting
        self._client: Client | None = None
        self._epoch = 0

    @contextmanager
    def opened(self) -> Iterator[Client]:
        """Return the client for one statement."""
        if self._client is not None and self._address.moved(self._epoch):
            self.close()
        if self._client is None:
            self._client, self._epoch = self._address.connect(self._settings)
        try:
            yield self._client
        except BaseException as error:
            self._address.leave(self._epoch, error)
            if not self._lasting:
                self.close()
            raise

    def close(self) -> None:
        """Close the client, if there is one."""
        client, self._client = self._client, None
        if client is not None:
            client.close()


class _Reader(Connection):
    """A connection whose statements a server, or the engine, knows by a `name`."""

    def __init__(self, address: Address, settings: dict[str, Any], seconds_max: float) -> None:
        self.name = f"meterhouse {secrets.token_hex(8)}"
        named = {"max_execution_time": seconds_max, "log_comment": self.name}
        super().__init__(address, settings | named)


class Readers:
    """Hands out clients of an address."""

    def __init__(self, address: Address, settings: dict[str, Any]) -> None:
        self._tries = 2 if address.several else 1
        self._every: list[_Reader] = []
        self._idle: dict[LaneName, LifoQueue[_Reader]] = {}
        for name, lane in lanes.USAGE.items():
            readers = [_Reader(address, settings, lane.seconds_max) for _ in range(lane.readers)]
            self._every += readers
            self._idle[name] = LifoQueue()
            for reader in readers:
                self._idle[name].put(reader)
        self._ending = Lock()
        self._ender = _Reader(address, settings, lanes.USAGE["work"].seconds_max)

    def ask(self, lane: LaneName, interrupt: Interrupt, work: Callable[[Client], T]) -> T:
        """Wait for a client of a lane that is idle, and run `work` on it, which may be ended.

        It asks one statement, or some that change nothing when they are asked twice.
        """
        for left in reversed(range(self._tries)):
            try:
                with self.one(lane, interrupt) as client:
                    return work(client)
            except (DriverError, OSError) as error:
                if not left or not unanswered(error):
                    raise
        raise AssertionError("There is no try.")

    @contextmanager
    def one(self, lane: LaneName, interrupt: Interrupt) -> Iterator[Client]:
        """Wait for a client of a lane that is idle, and keep it for one statement."""
        idle = self._idle[lane]
        reader = idle.get()
        try:
            with reader.opened() as client, interrupt.stops(lambda: self._end(reader.name)):
                yield client
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
