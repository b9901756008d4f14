"""`python -m benchmarks.commits`: commits groups to a journal, as an api process does.

It reads what to do as one line of JSON (`Order`), and writes what it did (`Done`). One transaction
takes positions, appends a row for each partition and adds to the books; after it, all of it is on
disk.
"""

import sys
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from meterhouse.ledger import accounts, journal, partitions, tallies
from meterhouse.ledger.engine import open_ledger
from meterhouse.ledger.journal import Packed
from meterhouse.ledger.tables import journal as journal_table
from meterhouse.metering.model import MeterEvent

_PAYLOAD = {"stripe_customer_id": "cus_QXg1o8vcGmoR32", "value": "1024", "region": "eu-central"}


class Order(msgspec.Struct):
    """Commit groups of so many events for so long.

    A group is a row for each partition, as single events are; or each of its events is a row, which
    are `copied` into the journal or inserted.
    """

    url: str
    seconds: float
    events: int
    apart: bool = False
    copied: bool = True


class Done(msgspec.Struct):
    """How many commits there were, in how many seconds, and what they took."""

    commits: int
    seconds: float
    processor_seconds: float


def main() -> None:
    """Do what standard input says, and begin with its second line."""
    order = msgspec.json.decode(sys.stdin.readline(), type=Order)
    with open_ledger(order.url) as ledger:
        with ledger.write() as connection:
            scope = accounts.scopes_of(connection, accounts.default_account(connection, 0).id)[0].id
            number = partitions.count(connection)
        rows = _rows(scope, order, number)
        append = journal.append if order.copied else _insert

        def commit(connection: sa.Connection) -> None:
            append(connection, journal.reserve(connection, order.events), rows)
            tallies.add(connection, {tallies.Line(scope, "acknowledged"): order.events})

        with ledger.write() as connection:
            commit(connection)
        sys.stdout.write("\n")
        sys.stdout.flush()
        sys.stdin.readline()
        began, used, commits = time.perf_counter(), time.process_time(), 0
        while (now := time.perf_counter()) < began + order.seconds:
            with ledger.write() as connection:
                commit(connection)
            commits += 1
    done = Done(commits, now - began, time.process_time() - used)
    sys.stdout.write(msgspec.json.encode(done).decode() + "\n")


def _rows(scope: int, order: Order, partitions: int) -> list[Packed]:
    """Pack the events of a group."""
    events = [
        MeterEvent(scope, f"{one:032}", "api_calls", 0, 0, _PAYLOAD, "mtr_1", whole=False)
        for one in range(order.events)
    ]
    if order.apart:
        return [journal.pack([one], number % partitions) for number, one in enumerate(events)]
    packed = [journal.pack(events[one::partitions], one) for one in range(partitions)]
    return [row for row in packed if row.events]


def _insert(connection: sa.Connection, position: int, rows: Sequence[Packed]) -> None:
    """Append rows by an INSERT each."""
    values: list[dict[str, Any]] = []
    for row in rows:
        values.append(
            {
                "position": position,
                "partition": row.partition,
                "events": row.events,
                "kind": "events",
                "body": row.body,
            }
        )
        position += row.events
    connection.execute(sa.insert(journal_table), values)


if __name__ == "__main__":
    main()
