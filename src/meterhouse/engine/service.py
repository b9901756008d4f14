"""The service of the engine process: the usage store and the judge, side by side.

What happens here takes whole batches and whole queries at a time and needs no event loop. So it
may stand in a process of its own (`engine.serve`), and then has an interpreter of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from multiprocessing.managers import BaseManager
from threading import Lock
from typing import Concatenate, ParamSpec, TypeVar

from meterhouse.judging.judge import Judge, UnderWay, Verdict
from meterhouse.ledger.engine import Ledger
from meterhouse.usage.store import UsageStore

P = ParamSpec("P")
T = TypeVar("T")

CALLS = ("usage", "judge", "conclude", "close")
OPEN = "open "  # what the process says once it serves, with the version of the rules of zones


class EngineService:
    """Its methods may be called from any thread; batches are judged one at a time."""

    def __init__(self, ledger: Ledger, usage: UsageStore, deduplication_days: int) -> None:
        self._usage = usage
        self._judge = Judge(ledger, usage, deduplication_days)
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
        self,
        partitions: Sequence[int],
        under_way: UnderWay | None = None,
        *,
        anew: bool = False,
    ) -> list[bytes] | None:
        """Begin a batch of partitions, as `Judge.judge` does."""
        with self._judging:
            return self._judge.judge(partitions, under_way, anew=anew)

    def conclude(self, taken: Mapping[bytes, int]) -> Verdict:
        """End it, as `Judge.conclude` does."""
        with self._judging:
            return self._judge.conclude(taken)

    def ended(self) -> bool:
        """Tell whether the next call has to start it anew: never, as long as this process lives."""
        return False

    def close(self) -> None:
        """Close the usage store."""
        self._usage.close()


class Manager(BaseManager):
    """The standard library's way to call an object in another process."""


Manager.register("service", exposed=CALLS)
