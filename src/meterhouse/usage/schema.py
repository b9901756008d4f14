"""The tables of the usage store.

What a reader may rely on:

- `events` holds one row with sign 1 for each accepted event. A cancellation is a second row that
  repeats the event's keys and position with sign -1. No row is ever changed.
- `rejected_events` holds one row for each rejected event, for `REJECTED_EVENTS_DAYS` days at
  least; whole parts are dropped afterwards.
- Rows are sorted by their keys and partitioned by UTC month: of `timestamp` in `events`, of
  `received_at` in `rejected_events`.
- An insert is on disk when it returns. A merge need not be: the parts that it replaces stay on
  disk for minutes after it.
- The statements run on a ClickHouse server and on the engine inside the process alike.
"""

from clickhouse_connect.driver.client import Client

from meterhouse.limits import REJECTED_EVENTS_DAYS, USAGE_TOKENS_KEPT

TABLE_SETTINGS = f"""
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    non_replicated_deduplication_window = {USAGE_TOKENS_KEPT}
"""

EVENTS = f"""
CREATE TABLE IF NOT EXISTS events
(
    account     LowCardinality(String),
    livemode    Bool,
    meter       LowCardinality(String),
    customer    String                               CODEC(ZSTD(1)),
    timestamp   DateTime64(3, 'UTC')                 CODEC(Delta, ZSTD(1)),
    position    UInt64                               CODEC(Delta, ZSTD(1)),
    sign        Int8                                 CODEC(ZSTD(1)),
    value       Decimal(38, 15)                      CODEC(ZSTD(1)),
    received_at DateTime64(3, 'UTC')                 CODEC(Delta, ZSTD(1)),
    event_name  LowCardinality(String),
    identifier  String                               CODEC(ZSTD(1)),
    payload     Map(LowCardinality(String), String)  CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (account, livemode, meter, customer, timestamp, position)
SETTINGS {TABLE_SETTINGS}
"""

REJECTED_EVENTS = f"""
CREATE TABLE IF NOT EXISTS rejected_events
(
    account     LowCardinality(String),
    livemode    Bool,
    meter       LowCardinality(String)               COMMENT 'Empty: no meter was found.',
    event_name  String                               CODEC(ZSTD(1)),
    identifier  String                               CODEC(ZSTD(1)),
    code        LowCardinality(String),
    message     String                               CODEC(ZSTD(1)),
    payload     Map(String, String)                  CODEC(ZSTD(1)),
    timestamp   DateTime64(3, 'UTC')                 CODEC(Delta, ZSTD(1)),
    received_at DateTime64(3, 'UTC')                 CODEC(Delta, ZSTD(1)),
    position    UInt64                               CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (account, livemode, received_at, position)
TTL toDateTime(received_at) + INTERVAL {REJECTED_EVENTS_DAYS} DAY
SETTINGS {TABLE_SETTINGS}, ttl_only_drop_parts = 1
"""


def create(client: Client) -> None:
    """Create the tables that are not there yet."""
    client.command(EVENTS)
    client.command(REJECTED_EVENTS)
