"""A process of its own that writes to a usage store: `python -m tests.usage.child put URL N`.

`put` makes sure that block N is there and prints what the store counts. `go` makes sure of block N,
and then inserts one block after the other until it is killed; it prints the number of each block
that is in.
"""

import json
import sys

from meterhouse.usage import block
from meterhouse.usage.block import Block
from meterhouse.usage.store import UsageStore
from tests.metering.samples import SCOPE
from tests.usage.samples import accepted

BLOCK_ROWS = 3


def numbered(number: int) -> Block:
    """Make block number `number`; no two blocks share a position."""
    first = number * BLOCK_ROWS
    rows = [accepted(SCOPE, position=first + row) for row in range(BLOCK_ROWS)]
    [made] = block.accepted(rows, {SCOPE.id: SCOPE})
    return made


def put(store: UsageStore, number: int) -> None:
    made = numbered(number)
    store.insert_again(made.destination, made.body, f"block-{number}")


def go(store: UsageStore, number: int) -> None:
    put(store, number)
    while True:
        print(number, flush=True)  # noqa: T201 - this is how the parent hears of it
        number += 1
        made = numbered(number)
        store.insert(made.destination, made.body, f"block-{number}")


def main(command: str, url: str, number: str) -> None:
    store = UsageStore.open(url)
    if command == "go":
        go(store, int(number))
    put(store, int(number))
    counts = store.counts()[SCOPE.account, SCOPE.livemode]
    print(json.dumps([counts.accepted, counts.wrong_positions]))  # noqa: T201 - see above
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
