"""The service of the engine process: the usage store and the judge, side by side.

What happens here takes whole batches and whole queries at a time and needs no event loop. So it
may stand in a process of its own (`engine.serve`), and then has an interpreter of its own.
"""

from collections.abc import Callable, Mapping
from multiprocessing.managers import BaseManager
from threading import Lock
from typing import Concatenate, ParamSpec, TypeVar

from meterhouse.errors import StoreError
from meterhouse.judging.judge import Judge, UnderWay, Verdict
from meterhouse.judging.known_customers import KnownCustomers
from meterhouse.ledger.engine import Ledger
from meterhouse.usage.store import UsageStore

P = ParamSpec("P")
T = TypeVar("T")

CALLS = ("usage", "judge", "conclude", "forget", "close")
OPEN = "open "  # what the process says once it serves, with the version of the rules of zones


class EngineService:
    """Its methods may be called from any thread; batches are judged one at a time."""

    def __init__(self, ledger: Ledger, usage: UsageStore, deduplication_days: int) -> None:
        self._ledger = ledger
        self._usage = usage
        self._days = deduplication_days
        self._customers = KnownCustomers()
        self._judges: dict[int, Judge] = {}
        self._judging = Lock()

    def usage(
        self,
        work: Callable[Concatenate[UsageStore, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `work(usage store, …)`."""
        return work(self._usage, *args, **kwargs)

    def judge(
        self, partition: int, under_way: UnderWay | None = None, *, anew: bool = False
    ) -> list[bytes] | None:
        """Begin a batch of a partition, as `Judge.judge` does."""
        with self._judging:
            judge = self._judges.get(partition)
            if judge is None:
                judge = self._judges[partition] = Judge(
                    self._ledger, self._usage, self._days, partition, self._customers
                )
            return judge.judge(under_way, anew=anew)

    def conclude(self, partition: int, taken: Mapping[bytes, int]) -> Verdict:
        """End it, as `Judge.conclude` does."""
        with self._judging:
            judge = self._judges.get(partition)
            if judge is None:
                raise StoreError("The batch that was begun is gone; it must be judged anew.")
            return judge.conclude(taken)

    def forget(self, partition: int) -> None:
        """Forget all about a partition that is not processed here any more."""
        with self._judging:
            self._judges.pop(partition, None)

    def ended(self) -> bool:
        """Tell whether the next call has to start it anew: never, as long as this process lives."""
        return False

    def close(self) -> None:
        """Close the usage store."""
        self._usage.close()


class Manager(BaseManager):
    """The standard library's way to call an object in another process."""


Manager.register("service", exposed=CALLS)
