"""A process of its own that writes to a usage store: `python -m tests.usage.child put URL N`.

`put` makes sure that block N is there and prints what the store counts. `go` makes sure of block N,
and then inserts one block after the other until it is killed; it prints the number of each block
that is in. `cut` makes sure of all blocks up to N; then every write that makes a file larger than
`BYTES` bytes fails while more rows are inserted; `cut-merge` does so while the engine merges what
there is. Both print what they hear when they ask for a confirmation.
"""

import json
import resource
import sys

from meterhouse.errors import UnwrittenError
from meterhouse.usage.block import Block
from meterhouse.usage.store import UsageStore
from tests.metering.samples import SCOPE
from tests.usage.samples import accepted, accepted_blocks, writer

BLOCK_ROWS = 3


def numbered(number: int) -> Block:
    """Make block number `number`; no two blocks share a position."""
    first = number * BLOCK_ROWS
    rows = [accepted(SCOPE, position=first + row) for row in range(BLOCK_ROWS)]
    [made] = accepted_blocks(rows, {SCOPE.id: SCOPE})
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


def cut(store: UsageStore, command: str, number: int, bytes_max: int) -> None:
    for each in range(number + 1):
        put(store, each)
    store.confirm()
    # Not `insert`, of which the driver would write a file of its own.
    work = "INSERT INTO events SELECT * REPLACE (position + 1000 AS position) FROM events"
    if command == "cut-merge":
        work = "OPTIMIZE TABLE events FINAL"
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, resource.RLIM_INFINITY))
    writer(store).command(work)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    try:
        store.confirm()
    except UnwrittenError as error:
        print(error)  # noqa: T201 - this is how the parent hears of it


def main(command: str, url: str, number: str, bytes_max: str = "0") -> None:
    store = UsageStore.open(url)
    if command.startswith("cut"):
        cut(store, command, int(number), int(bytes_max))
        return
    if command == "go":
        go(store, int(number))
    put(store, int(number))
    counts = store.counts()[SCOPE.account, SCOPE.livemode]
    print(json.dumps([counts.accepted, counts.wrong_positions]))  # noqa: T201 - see above
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
