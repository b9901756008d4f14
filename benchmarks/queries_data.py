"""Fill a data folder for the benchmark of queries: months of events, straight into the stores.

`python -m benchmarks.queries_data <data folder>` reads an `Order` as JSON from standard input and
writes a line as each day is done. It makes meters and customers in the ledger, events and slots in
the usage store, as if all of it had come through the front door, and merges them as they would be
by now.

- Traffic is skewed: of N customers the one of rank r has the share
  ln((r + 1 + a) / (r + a)) / ln((N + a) / a), which gives the first 5 % of 100,000.
- Three dimensions of 20, 10 and 5 values, the first values more often than the last ones; a user
  out of a million as a tenant.
- On two more meters one customer has the same slots, on the second with ten times the events.
"""

import sys
import time
from pathlib import Path

import msgspec
import sqlalchemy as sa
from clickhouse_connect import get_client
from clickhouse_connect.driver.client import Client

from meterhouse.ledger import accounts, journal, meters, tallies
from meterhouse.ledger.engine import open_ledger
from meterhouse.ledger.tables import customers
from meterhouse.metering.model import Meter, Scope
from meterhouse.metering.window import MILLISECONDS, SLOT
from meterhouse.usage import schema
from meterhouse.usage.rebuild import Positions, Slots, add_month, find_months
from meterhouse.usage.slots import EVERYBODY, WHOLE
from meterhouse.usage.store import UsageStore

DAYS = 90
DIMENSIONS = ("model", "region", "tier")
VALUES = (20, 10, 5)
THIN, DENSE = "thin", "dense"
DENSER = 10
SLOTS_DAYS = 30
SLOTS_COMBINATIONS = 20

_DAY = MILLISECONDS["day"]
_SKEW = 1.32

_COLUMNS = """(account, livemode, meter, customer, timestamp, position, sign, value, received_at,
     event_name, identifier, payload)"""

_EVENTS = f"""
INSERT INTO events {_COLUMNS}
WITH {{meters:Array(String)}} AS meters, {{skew:Float64}} AS skew,
    {{customers:UInt64}} AS all, pow(2, 64) AS one
SELECT
    {{account:String}}, true,
    meters[1 + sipHash64(number, 'meter') % length(meters)] AS meter,
    concat('cus_', leftPad(toString(toUInt32(
        exp(sipHash64(number, 'customer') / one * log((all + skew) / skew)) * skew - skew
    )), 7, '0')) AS customer,
    fromUnixTimestamp64Milli({{start:Int64}}
        + toInt64((number - {{first:UInt64}}) * {{day:UInt64}} / {{count:UInt64}})) AS instant,
    {{position:UInt64}} + number, 1, 1 + sipHash64(number, 'value') % 1000 AS amount, instant,
    replaceOne(meter, 'mtr_', 'event_'), lower(hex(sipHash128(number))),
    map('stripe_customer_id', customer, 'value', toString(amount),
        'model', concat('model-', toString(toUInt8(20 * pow(sipHash64(number, 'a') / one, 2)))),
        'region', concat('region-', toString(toUInt8(10 * pow(sipHash64(number, 'b') / one, 2)))),
        'tier', concat('tier-', toString(toUInt8(5 * pow(sipHash64(number, 'c') / one, 2)))),
        'user_id', concat('user-', toString(sipHash64(number, 'user') % 1000000)))
FROM numbers({{first:UInt64}}, {{count:UInt64}})
"""  # noqa: S608 - put together from the constants of this module alone

# So many events in each slot and combination of the last days.
_SLOTS = f"""
INSERT INTO events {_COLUMNS}
SELECT
    {{account:String}}, true, {{meter:String}}, 'cus_0000000' AS customer,
    fromUnixTimestamp64Milli({{start:Int64}} + 900000 * intDiv(number, {{each:UInt64}})
        + number % {{each:UInt64}}) AS instant,
    {{position:UInt64}} + number, 1, 1, instant, {{meter:String}},
    lower(hex(sipHash128(number, 's'))),
    map('stripe_customer_id', customer, 'value', '1',
        'model', concat('model-', toString(number % 5)),
        'region', 'region-0', 'tier', concat('tier-', toString(intDiv(number, 5) % 4)))
FROM numbers({{count:UInt64}})
"""  # noqa: S608 - put together from the constants of this module alone


# A rebuild leaves the slots without dimensions as they are, so nobody has made them yet.
_WHOLE = f"""
INSERT INTO usage_slots (meter, version, customer, slot, dimensions, events, value)
SELECT meter, {WHOLE}, '{EVERYBODY}', slot, [], sum(events), sum(value)
FROM usage_slots
WHERE meter = {{meter:String}} AND customer = '{EVERYBODY}'
GROUP BY meter, slot
"""  # noqa: S608 - put together from constants alone


class Order(msgspec.Struct):
    """What to write, in live mode: so many events of so many customers on so many meters."""

    events: int
    customers: int = 100_000
    meters: int = 20


def main(folder: Path) -> None:
    """Write what standard input asks for."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    now = int(time.time() * 1000)
    extra = SLOTS_DAYS * _DAY // SLOT * SLOTS_COMBINATIONS
    with open_ledger(f"sqlite:///{folder / 'ledger.db'}") as ledger, ledger.write() as connection:
        scope = _provision(connection, now)
        made = _catalog(connection, order, scope, now)
        position = _enter(connection, scope, order.events + extra * (1 + DENSER))
    client = get_client(interface="chdb", path=str(folder / "usage"))
    schema.create(client)
    today = now // _DAY
    for number in range(DAYS):
        _write_day(client, order, scope, position, number, today - DAYS + number)
        print(f"day {number + 1} of {DAYS}", flush=True)
    position += order.events
    for name, each in ((THIN, 1), (DENSE, DENSER)):
        _write_slots(client, scope, name, position, today, extra * each)
        position += extra * each
    client.close()
    store = UsageStore.open(f"chdb://{folder / 'usage'}")
    for meter in made:
        print(f"slots of {meter.id}", flush=True)
        _write_rollup(store, scope, meter, position)
    for table in ("events", "usage_slots"):
        print(f"merging {table}", flush=True)
        store.change(f"OPTIMIZE TABLE {table} FINAL", {}, {})
    store.close()


def customer(rank: int) -> str:
    """Return the id of the customer with a rank; 0 is the largest."""
    return f"cus_{rank:07}"


def _provision(connection: sa.Connection, now: int) -> Scope:
    account = accounts.default_account(connection, now)
    return next(one for one in accounts.scopes_of(connection, account.id) if one.livemode)


def _catalog(connection: sa.Connection, order: Order, scope: Scope, now: int) -> list[Meter]:
    """Make the meters, their ids being their event names, and the customers."""
    names = [*(f"mtr_{number}" for number in range(order.meters)), THIN, DENSE]
    made = [
        Meter(
            id=name,
            scope=scope.id,
            event_name=name.replace("mtr_", "event_"),
            display_name=name,
            formula="sum",
            event_time_window=None,
            customer_key="stripe_customer_id",
            value_key="value",
            dimension_keys=DIMENSIONS,
            active=True,
            created=now,
            updated=now,
            deactivated_at=None,
        )
        for name in names
    ]
    for meter in made:
        meters.create_meter(connection, meter)
    rows = [
        {"id": customer(rank), "scope": scope.id, "metadata": {}, "details": {}, "created": now}
        for rank in range(order.customers)
    ]
    connection.execute(sa.insert(customers), rows)
    return made


def _enter(connection: sa.Connection, scope: Scope, events: int) -> int:
    """Enter the events into the books; return the position of the first."""
    tallies.add(
        connection,
        {tallies.Line(scope.id, outcome): events for outcome in ("acknowledged", "accepted")},
    )
    return journal.reserve(connection, events)


def _write_day(
    client: Client, order: Order, scope: Scope, position: int, number: int, day: int
) -> None:
    first, end = (order.events * one // DAYS for one in (number, number + 1))
    values = {
        "account": scope.account,
        "meters": [f"mtr_{number}" for number in range(order.meters)],
        "customers": order.customers,
        "skew": _SKEW,
        "position": position,
        "first": first,
        "count": end - first,
        "start": day * _DAY,
        "day": _DAY,
    }
    if end > first:
        client.command(_EVENTS, parameters=values)


def _write_slots(
    client: Client, scope: Scope, meter: str, position: int, today: int, count: int
) -> None:
    values = {
        "account": scope.account,
        "meter": meter,
        "position": position,
        "count": count,
        "each": count * SLOT // (SLOTS_DAYS * _DAY),
        "start": (today - SLOTS_DAYS) * _DAY,
    }
    client.command(_SLOTS, parameters=values)


def _write_rollup(store: UsageStore, scope: Scope, meter: Meter, last: int) -> None:
    slots = Slots(scope, meter.id, meter.dimension_version, DIMENSIONS)
    among = Positions(0, last)
    for month in find_months(store, slots, among):
        add_month(store, slots, month.number, among)
    store.change(_WHOLE, {"meter": meter.id}, {})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
