"""The real program, or a trap: `python -m tests.crash.child [CALL MOMENT NUMBER] serve …`.

It holds events back for a moment only: else most kills would meet events that nothing has happened
to yet.
"""

import sys

from meterhouse import limits
from meterhouse.cli.main import app
from tests.crash.trap import Trap


def main(*arguments: str) -> None:
    limits.PROCESS_HELD_MILLISECONDS_MAX = 50
    at = arguments.index("serve")
    if at:
        call, moment, number = arguments[:at]
        Trap(call, moment, int(number)).set()
    app(arguments[at:])


if __name__ == "__main__":
    main(*sys.argv[1:])
