"""`meterhouse move` with a trap: `python -m tests.cli.mover MODULE:CALL NUMBER move …`.

It kills itself right after a call has done its work that many times.
"""

import os
import signal
import sys
from importlib import import_module
from typing import Any

from meterhouse.cli.main import app


def set_trap(place: str, number: int) -> None:
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    owner: Any = import_module(module)
    for one in owners:
        owner = getattr(owner, one)
    call, left = getattr(owner, name), number

    def trapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        result = call(*args, **kwargs)
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, trapped)


if __name__ == "__main__":
    set_trap(sys.argv[1], int(sys.argv[2]))
    app(sys.argv[3:])
