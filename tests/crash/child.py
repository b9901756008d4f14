"""The real program with a trap in it: `python -m tests.crash.child CALL MOMENT NUMBER serve …`.

All work on the stores passes through `Stores`. The trap counts the calls of one piece of work, and
at call NUMBER the process kills itself, at one of three MOMENTs: `before` the work begins, `within`
(the work is done, its transaction is still open), or `after` (it is on disk, nobody was told).
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from meterhouse.cli.main import app
from meterhouse.pipeline.stores import Stores

Work = Callable[..., Any]
Run = Callable[..., Awaitable[Any]]


def name_of(work: Work) -> str:
    """Name a piece of work as the points of the crash test do: `accept.commit`."""
    return f"{work.__module__.rpartition('.')[2]}.{work.__qualname__}"


class Trap:
    """Kills its process at the chosen moment of the chosen call."""

    def __init__(self, call: str, moment: str, number: int) -> None:
        self._call = call
        self._moment = moment
        self._left = number

    def wrap(self, run: Run) -> Run:
        """Return `Stores.read`, `.write` or `.usage` with the trap in it."""

        async def trapped(stores: Stores, work: Work, *args: Any, **kwargs: Any) -> Any:
            if name_of(work) != self._call:
                return await run(stores, work, *args, **kwargs)
            self._left -= 1
            sprung = self._left == 0
            if sprung and self._moment == "before":
                die()
            chosen = fatal(work) if sprung and self._moment == "within" else work
            result = await run(stores, chosen, *args, **kwargs)
            if sprung:
                die()
            return result

        return trapped


def fatal(work: Work) -> Work:
    """Return work that kills the process when it is done."""

    def run(*args: Any, **kwargs: Any) -> None:
        work(*args, **kwargs)
        die()

    return run


def die() -> None:
    """End as `kill -9` does: no handler runs, nothing is flushed."""
    os.kill(os.getpid(), signal.SIGKILL)


def main(call: str, moment: str, number: str, *arguments: str) -> None:
    trap = Trap(call, moment, int(number))
    for method in ("read", "write", "usage"):
        setattr(Stores, method, trap.wrap(getattr(Stores, method)))
    app(arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
