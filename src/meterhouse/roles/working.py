"""What works: the partitions of the journal and the jobs that this process has.

A process that has its ledger to itself has all of them (`Alone`). Where several share one, each has
its fair share, and goes by leases (`Sharing`).
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

from meterhouse import limits
from meterhouse.background import Background
from meterhouse.delivery.attempt import Sender
from meterhouse.delivery.deliver import Deliverer
from meterhouse.identifiers.load import Loader
from meterhouse.ingest.accept import Acceptor
from meterhouse.invoicing.turn import Terms
from meterhouse.jobs.alert import Alerter
from meterhouse.jobs.erase import Eraser
from meterhouse.jobs.invoice import Invoicer
from meterhouse.jobs.owned import NAMES, WOKEN, JobName, Jobs, LeasedJobs
from meterhouse.jobs.rebuild import Rebuilder
from meterhouse.jobs.report import Reporter
from meterhouse.jobs.resend import Resender
from meterhouse.jobs.retain import Retention
from meterhouse.processing.keeper import Keeper
from meterhouse.processing.partitions import Partitions
from meterhouse.processing.process import Backlog
from meterhouse.processing.progress import SharedProgress
from meterhouse.processing.publish import Publisher
from meterhouse.processing.stillness import Pauses, Settle, Still, Stillness, alone
from meterhouse.roles.common import Common
from meterhouse.stores import Stores

log = logging.getLogger("meterhouse.working")


class Working(ABC):
    """Partitions and jobs, from `start()` to `stop()`.

    `settle` waits until what was acknowledged can be read, `still` keeps both stores as they are;
    `writing_months` is held while a rebuild writes.
    """

    settle: Settle
    still: Still

    def __init__(self, common: Common, backlog: Backlog | None) -> None:
        self._common = common
        self._loader = Loader(common.stores, common.identifiers, common.timekeeper, common.metrics)
        self._pauses = Pauses(common.stores)
        self.partitions = Partitions(
            common.stores,
            common.opened.engine,
            common.identifiers,
            self._loader,
            common.metrics,
            self._pauses,
            backlog,
        )
        self.writing_months = asyncio.Lock()
        self.jobs = Jobs(self._makers())
        common.signals.on("outbox", partial(self.jobs.wake, "deliver"))
        for name in WOKEN:
            common.signals.on(name, partial(self.jobs.wake, name))

    @abstractmethod
    def _sent(self, events: int) -> None:
        """Hear that a job has put events into the journal."""

    @abstractmethod
    async def start(self) -> None:
        """Finish what a crash left behind, and work from now on."""

    @abstractmethod
    async def stop(self) -> None:
        """End with nothing half-way."""

    def _makers(self) -> dict[JobName, Callable[[Stores], Background]]:
        """Tell how each job is built that writes by some stores."""
        common, config, clock = self._common, self._common.config, self._common.clock
        timekeeper, receiving = common.timekeeper, common.under_way.receiving
        sender = Sender(config, clock)
        return {
            "alert": lambda stores: Alerter(stores, timekeeper, Terms.of(config)),
            "deliver": lambda stores: Deliverer(stores, clock, timekeeper, common.metrics, sender),
            "report": lambda stores: Reporter(stores, clock, self.settle),
            "retain": lambda stores: Retention(
                stores, common.identifiers, timekeeper, config.audit_days
            ),
            "resend": lambda stores: Resender(
                stores,
                common.identifiers,
                self.settle,
                receiving,
                self._sent,
                clock,
                timekeeper,
                common.metrics,
            ),
            "rebuild": lambda stores: Rebuilder(
                stores, self.settle, self.still, clock, self.writing_months
            ),
            "invoice": lambda stores: Invoicer(
                stores, self.settle, clock, timekeeper, Terms.of(config)
            ),
            "erase": lambda stores: Eraser(
                stores, self.settle, self.still, common.sends("rebuild"), timekeeper
            ),
        }


class Alone(Working):
    """All partitions and jobs, of a process that answers, too."""

    def __init__(self, common: Common, acceptor: Acceptor) -> None:
        super().__init__(common, acceptor)
        self._acceptor = acceptor
        self.settle = self.partitions.settle
        self.still = alone(self.partitions.still)
        common.stores.listen(partial(self.jobs.wake, "deliver"))

    def _sent(self, events: int) -> None:
        self._acceptor.journal_events += events
        self.partitions.wake()

    async def start(self) -> None:
        """Finish what a crash left behind, and work from now on."""
        await self.partitions.start()
        self._loader.start()
        for name in NAMES:
            self.jobs.start(name, self._common.stores)

    async def stop(self) -> None:
        """Process what is pending, as far as there is time, and end."""
        await self._loader.stop()
        await self.jobs.stop_all()
        await self.partitions.stop(limits.STOP_DRAIN_SECONDS_MAX)


class Sharing(Working):
    """The partitions and jobs whose leases this process has."""

    def __init__(self, common: Common, progress: SharedProgress, stillness: Stillness) -> None:
        super().__init__(common, None)
        self.settle = progress.settle
        self.still = stillness.still
        self._publisher = Publisher(common.stores, self.partitions)
        self._keeper = Keeper(
            common.stores,
            common.heartbeat.node,
            partitions=self.partitions,
            jobs=LeasedJobs(self.jobs, common.writing),
            metrics=common.metrics,
            tell=common.sends("leases"),
        )
        common.signals.on("asked", self._publisher.ask)
        common.signals.on("leases", self._keeper.wake)
        common.signals.on("pause", self._pauses.tell)

    def _sent(self, events: int) -> None:
        """Leave it to the owners of the partitions, who look by themselves."""

    async def start(self) -> None:
        """Take what nobody has, from now on."""
        for one in (self._loader, self._pauses, self._publisher, self._keeper):
            one.start()

    async def stop(self) -> None:
        """Give everything back; who answers, too, and may be the only one, stores all before."""
        if self._common.config.role == "all":
            await self.settle(limits.STOP_DRAIN_SECONDS_MAX)
        try:
            async with asyncio.timeout(limits.STOP_DRAIN_SECONDS_MAX):
                await self._keeper.stop()
        except TimeoutError:
            log.warning("stopped with something half-way; whoever takes it over finishes it")
        for one in (self._publisher, self._pauses, self._loader):
            await one.stop()
