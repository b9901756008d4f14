"""What a process has whatever its role: its stores, its clock, and its place among others."""

from collections.abc import Callable

from meterhouse.background import Background
from meterhouse.clock import Clock
from meterhouse.config import Config
from meterhouse.identifiers.index import Identifiers
from meterhouse.ledger.signals import Signal, Signals
from meterhouse.metrics import Metrics
from meterhouse.processing.heartbeat import Heartbeat
from meterhouse.processing.timekeeper import Timekeeper
from meterhouse.processing.under_way import UnderWay
from meterhouse.roles.opening import Opened
from meterhouse.stores import Stores


class Common:
    """The parts that every role has.

    `writing` are the stores of what answers: where the ledger is shared, nothing is written by them
    as long as the others do not know this process.
    """

    def __init__(self, config: Config, clock: Clock, opened: Opened) -> None:
        self.config = config
        self.clock = clock
        self.opened = opened
        self.stores = Stores(opened.ledger, opened.engine.usage)
        self.metrics = Metrics()
        self.timekeeper = Timekeeper(self.stores, clock)
        self.identifiers = Identifiers(config.deduplication_days, opened.partitions)
        self.under_way = UnderWay(clock)
        self.signals = Signals(opened.ledger)
        self.heartbeat = Heartbeat(self.stores, config.role, self.under_way)
        self.beside: list[Background] = []  # what goes on, too, from `start` to `stop`
        self.writing = self.stores.fenced(self.heartbeat) if self.shared else self.stores

    @property
    def shared(self) -> bool:
        """Whether other processes may work on the ledger at the same time."""
        return self.stores.shared

    def sends(self, name: Signal) -> Callable[[], None]:
        """Return what sends a signal to all processes."""
        return lambda: self.signals.send(name)

    async def start(self) -> None:
        """Look at the clock, and be one of those who share the ledger."""
        await self.timekeeper.open()
        self.timekeeper.start()
        if self.shared:
            await self.heartbeat.enter()
            self.heartbeat.start()
            self.signals.start()
        for one in self.beside:
            one.start()

    async def stop(self) -> None:
        """Be none of them any more, and close both stores."""
        for one in (*self.beside, self.timekeeper):
            await one.stop()
        if self.shared:
            await self.heartbeat.stop()
        await self.signals.stop()
        self.stores.close()
        self.opened.close()
