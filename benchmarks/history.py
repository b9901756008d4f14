"""Fill the usage store of a server that is stopped: a month of events, as if they had come.

`python -m benchmarks.history <data folder>` reads an `Order` as JSON from standard input and writes
a line now and then. Events and identifiers go straight into the tables, a day at a time,
over the 30 days before today, and are merged as they would be by now. The ledger hears of them as
well: its positions go on behind theirs, and the books balance.

A digest is as random as that of a real identifier, but is not that of its event's identifier.
"""

import sys
import time
from pathlib import Path

import msgspec
import sqlalchemy as sa
from clickhouse_connect import get_client
from clickhouse_connect.driver.client import Client

from meterhouse.ledger import accounts, journal, tallies
from meterhouse.ledger.engine import open_ledger
from meterhouse.metering.model import Scope
from meterhouse.metering.window import MILLISECONDS
from meterhouse.usage import schema

DAYS = 30
_TOLD_DAYS = 5
_DAY = MILLISECONDS["day"]

_EVENTS = """
INSERT INTO events
    (account, livemode, meter, customer, timestamp, position, sign, value, received_at, event_name,
     identifier, payload)
SELECT
    {account:String}, true,
    {meters:Array(String)}[pick_meter], {customers:Array(String)}[pick_customer] AS customer,
    fromUnixTimestamp64Milli({start:Int64} + intDiv((number - {first:UInt64}) * {day:Int64},
                                                    {count:UInt64})) AS instant,
    {position:UInt64} + number, 1, amount, instant,
    {event_names:Array(String)}[pick_meter], lower(hex(sipHash128(number))),
    map('stripe_customer_id', customer, 'value', toString(amount), 'region',
        ['eu-central', 'eu-west', 'us-east', 'us-west'][1 + sipHash64(number, 'region') % 4],
        'model', ['small', 'medium', 'large'][1 + sipHash64(number, 'model') % 3])
FROM (
    SELECT
        number,
        1 + sipHash64(number, 'meter') % length({meters:Array(String)}) AS pick_meter,
        1 + sipHash64(number, 'customer') % length({customers:Array(String)}) AS pick_customer,
        1 + sipHash64(number, 'value') % 1000 AS amount
    FROM numbers({first:UInt64}, {count:UInt64})
)
"""

_IDENTIFIERS = """
INSERT INTO identifiers (high, low, position, day)
SELECT
    sipHash64(number, 'high'), sipHash64(number, 'low'), {position:UInt64} + number, {today:UInt32}
FROM numbers({first:UInt64}, {count:UInt64})
"""


class Order(msgspec.Struct):
    """What to write: how many events, of which meters and customers (their ids), in live mode."""

    events: int
    meters: list[str]
    event_names: list[str]
    customers: list[str]


def main(folder: Path) -> None:
    """Write the history that standard input asks for."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    with open_ledger(f"sqlite:///{folder / 'ledger.db'}") as ledger, ledger.write() as connection:
        scope, position = _enter(connection, order.events)
    client = get_client(interface="chdb", path=str(folder / "usage"))
    schema.create(client)
    today = int(time.time() * 1000) // _DAY
    for number in range(DAYS):
        _write_day(client, order, scope, position, number, today - DAYS + number)
        if (number + 1) % _TOLD_DAYS == 0:
            print(f"day {number + 1} of {DAYS}", flush=True)
    for table in ("events", "identifiers"):
        print(f"merging {table}", flush=True)
        client.command(f"OPTIMIZE TABLE {table} FINAL")
    client.close()


def _enter(connection: sa.Connection, events: int) -> tuple[Scope, int]:
    """Enter the events into the books; return their scope and the position of the first."""
    scopes = accounts.scopes_by_id(connection)
    number, scope = next(one for one in scopes.items() if one[1].livemode)
    tallies.add(
        connection,
        {tallies.Line(number, outcome): events for outcome in ("acknowledged", "accepted")},
    )
    return scope, journal.reserve(connection, events)


def _write_day(
    client: Client, order: Order, scope: Scope, position: int, number: int, day: int
) -> None:
    first, end = (order.events * one // DAYS for one in (number, number + 1))
    values = {
        "account": scope.account,
        "meters": order.meters,
        "event_names": order.event_names,
        "customers": order.customers,
        "position": position,
        "first": first,
        "count": end - first,
        "start": day * _DAY,
        "day": _DAY,
        "today": day,
    }
    if end > first:
        client.command(_EVENTS, parameters=values)
        client.command(_IDENTIFIERS, parameters=values)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
