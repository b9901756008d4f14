"""Lanes: who waits for whom at the two stores, and how long a statement may take there.

What a reader may rely on:

- A lane has readers of its own: threads here, connections there. Whatever goes by one lane never
  waits for what goes by another.
- No statement takes longer than its lane lets it. It is ended there, with a `SlowError`.
- A question that nobody waits for any more is ended by an `Interrupt`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Literal, NamedTuple, TypeAlias

from meterhouse import limits
from meterhouse.errors import StoreError

# `work` is what the server does by itself, `look_up` whose key a request has. `quick` is what
# senders ask, `slow` what took too long there or is known to, `export` what becomes a file.
LaneName: TypeAlias = Literal["work", "look_up", "quick", "slow", "export"]


class Lane(NamedTuple):
    """How many readers a lane has, and how long one statement of theirs may take."""

    readers: int
    seconds_max: float


LEDGER: dict[LaneName, Lane] = {
    "work": Lane(limits.LEDGER_READERS, limits.WORK_STATEMENT_SECONDS_MAX),
    "look_up": Lane(limits.LOOK_UP_READERS, limits.SLOW_STATEMENT_SECONDS_MAX),
    "quick": Lane(limits.QUICK_READERS, limits.QUICK_STATEMENT_MILLISECONDS_MAX / 1_000),
    "slow": Lane(limits.SLOW_READERS, limits.SLOW_STATEMENT_SECONDS_MAX),
}
USAGE: dict[LaneName, Lane] = {
    "work": Lane(limits.USAGE_READERS, limits.WORK_STATEMENT_SECONDS_MAX),
    "quick": Lane(limits.QUICK_READERS, limits.QUICK_STATEMENT_MILLISECONDS_MAX / 1_000),
    "slow": Lane(limits.SLOW_READERS, limits.SLOW_STATEMENT_SECONDS_MAX),
    "export": Lane(limits.USAGE_EXPORTS_MAX, limits.EXPORT_STATEMENT_SECONDS_MAX),
}


class Interrupt:
    """Ends one question from any thread: the statement that it runs, and those that would follow.

    It may come before the question has begun, and when it is over.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._came = False
        self._stop: Callable[[], None] | None = None

    def come(self) -> None:
        """End the question."""
        with self._lock:
            self._came = True
            if self._stop is not None:
                self._stop()

    @contextmanager
    def stops(self, stop: Callable[[], None]) -> Iterator[None]:
        """Let `stop` end what runs in the `with` block; it is not called beyond the block's end."""
        with self._lock:
            if self._came:
                raise StoreError("Nobody waits for the answer any more.")
            self._stop = stop
        try:
            yield
        finally:
            with self._lock:
                self._stop = None
