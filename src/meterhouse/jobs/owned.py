"""The jobs of which each has one owner, and that run as long as they are this process's.

What a reader may rely on:

- A job is made anew each time that it starts. So nothing that it knew when it was another
  process's last is still believed.
- It writes by the stores that it was started with. Those of a lease let nothing through once
  somebody else has it, so a job that has not noticed yet does no harm.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Literal, get_args

from meterhouse.background import Background, Worker
from meterhouse.processing.lease import Lease
from meterhouse.stores import Stores

JobName = Literal["alert", "deliver", "erase", "invoice", "rebuild", "report", "resend", "retain"]

NAMES: tuple[JobName, ...] = get_args(JobName)
# Those that a signal of their name wakes.
WOKEN: tuple[Literal["erase", "invoice", "rebuild", "resend"], ...] = (
    "erase",
    "invoice",
    "rebuild",
    "resend",
)


class Jobs:
    """Those that this process does; `make` tells how each of them is built."""

    def __init__(self, make: Mapping[JobName, Callable[[Stores], Background]]) -> None:
        self._make = make
        self._running: dict[JobName, Background] = {}

    def start(self, name: JobName, stores: Stores) -> None:
        """Begin a job, which writes by `stores`; first what was left behind."""
        job = self._running[name] = self._make[name](stores)
        job.start()

    async def stop(self, name: JobName) -> None:
        """End a job, if it runs."""
        job = self._running.pop(name, None)
        if job is not None:
            await job.stop()

    async def stop_all(self) -> None:
        """End every job that runs."""
        await asyncio.gather(*map(self.stop, tuple(self._running)))

    def wake(self, name: JobName) -> None:
        """Tell a job that there is something new to do, if it runs and waits to be told."""
        job = self._running.get(name)
        if isinstance(job, Worker):
            job.wake()


class LeasedJobs:
    """The jobs where several processes could do each of them: each runs as long as its lease.

    It is one of the holders of `processing.keeper`.
    """

    def __init__(self, jobs: Jobs, stores: Stores) -> None:
        self._jobs = jobs
        self._stores = stores
        self._names: dict[Lease, JobName] = {Lease(name): name for name in NAMES}
        self.leases = [*self._names]

    def gained(self, lease: Lease) -> None:
        """Begin a job."""
        self._jobs.start(self._names[lease], self._stores.fenced(lease.fence()))

    async def lost(self, lease: Lease) -> None:
        """End it where it is, as a kill would."""
        await self._jobs.stop(self._names[lease])

    async def drained(self, lease: Lease) -> None:
        """End it where it is: what is half-way is safe there."""
        await self._jobs.stop(self._names[lease])
