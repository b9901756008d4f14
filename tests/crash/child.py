"""The real program with a trap in it: `python -m tests.crash.child CALL MOMENT NUMBER serve …`."""

import sys

from meterhouse.cli.main import app
from tests.crash.trap import Trap


def main(call: str, moment: str, number: str, *arguments: str) -> None:
    Trap(call, moment, int(number)).set()
    app(arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
