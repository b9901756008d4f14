"""The engine in a process of its own, with an interpreter and an interpreter lock of its own.

What a reader may rely on:

- Whoever calls `EngineClient` hears what `EngineService` answers, or the error that it raised.
  Arguments and results are copied, so work is a function of a module, found by its name.
- The process ends with the server (`engine.start`), or by itself (`engine.serve`).
- If it dies, callers hear a `StoreError`, and the next call starts another. What it had in memory
  can be read again from the stores; a batch that it had begun is judged anew.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from threading import Lock
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from meterhouse import zones
from meterhouse.engine.service import OPEN, Manager
from meterhouse.engine.start import EngineProcess
from meterhouse.errors import StoreError
from meterhouse.judging.judge import UnderWay, Verdict
from meterhouse.usage.store import UsageStore

log = logging.getLogger("meterhouse.engine")

P = ParamSpec("P")
T = TypeVar("T")

_ENDED_AT_ITS_START = "The process of the usage store ended at its start."


class _Running(NamedTuple):
    process: EngineProcess
    service: Any  # a proxy, whose methods are those in `CALLS`


class EngineClient:
    """A `EngineService` elsewhere; its methods may be called from any thread."""

    def __init__(self, process: EngineProcess) -> None:
        """Wait until the process is ready; raises the `StoreError` of a store that cannot open.

        The ledger has an owner by now.
        """
        self._config = process.config
        self._lock = process.lock
        self._starting = Lock()
        self._running: _Running | None = _reach(process)
        self._closed = False

    def usage(
        self,
        work: Callable[Concatenate[UsageStore, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `work(usage store, …)` there."""
        result: T = self._call("usage", work, *args, **kwargs)
        return result

    def judge(
        self,
        partitions: Sequence[int],
        under_way: UnderWay | None = None,
        *,
        anew: bool = False,
    ) -> list[bytes] | None:
        """Begin a batch of partitions there, as `Judge.judge` does."""
        digests: list[bytes] | None = self._call("judge", partitions, under_way, anew=anew)
        return digests

    def conclude(self, taken: Mapping[bytes, int]) -> Verdict:
        """End it, as `Judge.conclude` does."""
        verdict: Verdict = self._call("conclude", taken)
        return verdict

    def ended(self) -> bool:
        """Tell whether the process has ended, so that the next call has to start another."""
        running = self._running
        return running is None or running.process.popen.poll() is not None

    def close(self) -> None:
        """Close the usage store and end the process."""
        with self._starting:
            self._closed = True
            running, self._running = self._running, None
        if running is not None:
            with suppress(EOFError, OSError):
                running.service.close()
            running.process.end()

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        running = self._alive()
        try:
            return getattr(running.service, name)(*args, **kwargs)
        except (EOFError, ConnectionError) as error:
            self._forget(running)
            raise StoreError(
                "The process of the usage store has ended; the next call starts another."
            ) from error

    def _alive(self) -> _Running:
        running = self._running
        if running is not None and running.process.popen.poll() is not None:
            self._forget(running)
        with self._starting:
            if self._closed:
                raise StoreError("The usage store is closed.")
            if self._running is None:
                self._running = _reach(EngineProcess(self._config, self._lock))
            return self._running

    def _forget(self, running: _Running) -> None:
        """Let a process go that does not answer any more, unless somebody else did."""
        with self._starting:
            if self._running is running:
                running.process.end()
                self._running = None


def _reach(process: EngineProcess) -> _Running:
    """Wait until a process serves its `EngineService`; where it does not, end it and tell why."""
    process.proceed()
    told = process.answer().rstrip("\n")
    if not told.startswith(OPEN):
        process.end()
        raise StoreError(told or _ENDED_AT_ITS_START)
    _check_zone_rules(told.removeprefix(OPEN))
    manager = Manager(process.address, process.key)
    try:
        manager.connect()
        service = manager.service()  # type: ignore[attr-defined]
    except (EOFError, ConnectionError) as error:
        process.end()
        raise StoreError(_ENDED_AT_ITS_START) from error
    return _Running(process, service)


def _check_zone_rules(version: str) -> None:
    """Warn where the process has read other rules of zones, which were installed meanwhile."""
    if version != zones.rules().version:
        log.warning(
            "The process of the usage store began with rules %s of time zones, and the server with "
            "%s: restart the server, so that both cut days alike.",
            version,
            zones.rules().version,
        )
