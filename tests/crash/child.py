"""The real program, or a trap: its arguments are `[CALL MOMENT NUMBER] serve …`.

It holds events back for a moment only: else most kills would meet events that nothing has happened
to yet.
"""

import sys

from meterhouse import limits
from meterhouse.cli.main import app
from tests.crash.trap import Trap


def main() -> None:
    limits.PROCESS_HELD_MILLISECONDS_MAX = 50
    arguments = sys.argv[1:]
    at = arguments.index("serve")
    if at:
        call, moment, number = arguments[:at]
        Trap(call, moment, int(number)).set()
    app(arguments[at:])


if __name__ == "__main__":
    main()
