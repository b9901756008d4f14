"""Work beside the requests: one task from `start()` to `stop()`.

`Background` is for what goes by the clock, `Worker` for what waits to be told. Whatever is half-way
when the task is stopped must be safe where it is, as after a kill.
"""

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait until an event is set, for at most `seconds`; tell whether it is.

    Not `asyncio.wait_for`, which before Python 3.12 may take a cancellation for the end of what it
    waits for, and so swallow it.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


class Background(ABC):
    """Runs `_run` as a task of its own."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; the event loop is running."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End the task where it is, and wait until it has ended."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    @abstractmethod
    async def _run(self) -> None:
        """Go on until the task is cancelled."""


class Worker(Background):
    """Works until nothing is left, and again when it is woken or has waited long enough.

    `_run` waits for `_work` and clears it. To wake a worker is to spare it the wait: it finds what
    another process has left to do, too.
    """

    def __init__(self) -> None:
        super().__init__()
        self._work = asyncio.Event()

    def start(self) -> None:
        """Begin with what was left behind."""
        self._work.set()
        super().start()

    def wake(self) -> None:
        """Tell that there is something new to do."""
        self._work.set()
