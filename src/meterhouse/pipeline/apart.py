"""The workshop in a process of its own, with an interpreter and an interpreter lock of its own.

What a reader may rely on:

- Whoever calls `Apart` hears what `Workshop` answers, or the error that it raised. Arguments and
  results are copied, so work is a function of a module, found by its name.
- The process ends with the server (`pipeline.second`). It ends by itself when the engine of the
  usage store did not write all that it took: the next process checks what there is.
- If it dies, callers hear a `StoreError`, and the next call starts another. What it had in memory
  can be read again from the stores; a batch that it had begun is judged anew.
"""

import gc
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.managers import BaseManager
from threading import Event, Lock, Thread
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from meterhouse import limits, logs, zones
from meterhouse.errors import StoreError, UnwrittenError
from meterhouse.ledger.engine import open_ledger
from meterhouse.pipeline.judge import Verdict
from meterhouse.pipeline.pair import open_pair
from meterhouse.pipeline.second import Order, Second
from meterhouse.pipeline.workshop import Workshop
from meterhouse.usage.store import UsageStore

log = logging.getLogger("meterhouse.workshop")

P = ParamSpec("P")
T = TypeVar("T")

_CALLS = ("usage", "judge", "conclude", "close")
_OPEN = "open "  # and the version of the rules of zones
_UNWRITTEN = 1
_STANDARD_OUTPUT = 1
_ENDED_AT_ITS_START = "The process of the usage store ended at its start."


class _Running(NamedTuple):
    second: Second
    workshop: Any  # a proxy, whose methods are those in `_CALLS`


class Apart:
    """A `Workshop` elsewhere; its methods may be called from any thread."""

    def __init__(self, second: Second) -> None:
        """Wait until the process is ready; raises the `StoreError` of a store that cannot open.

        The ledger has an owner by now.
        """
        self._order = second.order
        self._lock = second.lock
        self._starting = Lock()
        self._running: _Running | None = _reach(second)
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

    def judge(self, after: int = 0, *, anew: bool = False) -> list[bytes] | None:
        """Begin a batch there, as `Judge.judge` does."""
        digests: list[bytes] | None = self._call("judge", after, anew=anew)
        return digests

    def conclude(self, taken: Mapping[bytes, int]) -> Verdict:
        """End it, as `Judge.conclude` does."""
        verdict: Verdict = self._call("conclude", taken)
        return verdict

    def ended(self) -> bool:
        """Tell whether the process has ended, so that the next call has to start another."""
        running = self._running
        return running is None or running.second.process.poll() is not None

    def close(self) -> None:
        """Close the usage store and end the process."""
        with self._starting:
            self._closed = True
            running, self._running = self._running, None
        if running is not None:
            with suppress(EOFError, OSError):
                running.workshop.close()
            running.second.end()

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        running = self._alive()
        try:
            return getattr(running.workshop, name)(*args, **kwargs)
        except (EOFError, ConnectionError) as error:
            self._forget(running)
            raise StoreError(
                "The process of the usage store has ended; the next call starts another."
            ) from error

    def _alive(self) -> _Running:
        running = self._running
        if running is not None and running.second.process.poll() is not None:
            self._forget(running)
        with self._starting:
            if self._closed:
                raise StoreError("The usage store is closed.")
            if self._running is None:
                self._running = _reach(Second(self._order, self._lock))
            return self._running

    def _forget(self, running: _Running) -> None:
        """Let a process go that does not answer any more, unless somebody else did."""
        with self._starting:
            if self._running is running:
                running.second.end()
                self._running = None


class _Manager(BaseManager):
    """The standard library's way to call an object in another process."""


_Manager.register("workshop", exposed=_CALLS)


def _reach(second: Second) -> _Running:
    """Wait until a process serves its workshop; where it does not, end it and tell why."""
    second.proceed()
    told = second.told().rstrip("\n")
    if not told.startswith(_OPEN):
        second.end()
        raise StoreError(told or _ENDED_AT_ITS_START)
    _check_zone_rules(told.removeprefix(_OPEN))
    manager = _Manager(second.address, second.key)
    try:
        manager.connect()
        workshop = manager.workshop()  # type: ignore[attr-defined]
    except (EOFError, ConnectionError) as error:
        second.end()
        raise StoreError(_ENDED_AT_ITS_START) from error
    return _Running(second, workshop)


def _check_zone_rules(version: str) -> None:
    """Warn where the process has read other rules of zones, which were installed meanwhile."""
    if version != zones.rules().version:
        log.warning(
            "The process of the usage store began with rules %s of time zones, and the server with "
            "%s: restart the server, so that both cut days alike.",
            version,
            zones.rules().version,
        )


def work(address: str, key: bytes, order: Order, may_proceed: Event) -> None:
    """Open the stores and serve one workshop, as long as the process lives."""
    logs.configure(order.log_format, order.log_level)
    with os.fdopen(os.dup(_STANDARD_OUTPUT), "w") as tell:
        try:
            may_proceed.wait()
            ledger = open_ledger(order.database_url)
            usage = open_pair(ledger, order.clickhouse_url, order.mismatched_stores)
        except StoreError as error:
            tell.write(f"{error}\n")
            return
        Thread(target=_end_when_unwritten, args=(usage,), daemon=True).start()
        workshop = Workshop(ledger, usage, order.deduplication_days)
        _Manager.register("workshop", lambda: workshop, exposed=_CALLS)
        server = _Manager(address, key).get_server()
        tell.write(f"{_OPEN}{zones.rules().version}\n")
    # A batch is tens of thousands of objects without a cycle, which a collection looks through in
    # vain; what has been built so far stays.
    gc.freeze()
    gc.set_threshold(limits.WORKSHOP_UNCOLLECTED_OBJECTS)
    gc.enable()
    server.serve_forever()


def _end_when_unwritten(usage: UsageStore) -> None:
    """Wait until the engine did not write all that it took, and end before it removes anything."""
    while True:
        usage.unwritten.wait(limits.USAGE_CONFIRM_SECONDS)
        try:
            usage.confirm()
        except UnwrittenError as error:
            log.error("%s The process of the usage store starts anew.", error)  # noqa: TRY400
            os._exit(_UNWRITTEN)
        except StoreError:
            if usage.closed:
                return
            log.exception("nobody knows whether the usage store wrote all that it took")
