"""The tables of the usage store.

What a reader may rely on:

- `events` holds one row with sign 1 for each accepted event. A cancellation is a second row, which
  repeats the event's keys and position with sign -1, but was received when it was. No row is ever
  changed.
- `rejected_events` holds one row for each rejected event, for `REJECTED_EVENTS_DAYS` days at
  least; whole months are dropped afterwards.
- `duplicate_events` holds one row for each duplicate, just as long, in the columns of `events`.
- `usage_slots` holds what the events of 15 minutes come to, by customer and values of the meter's
  declared dimensions; once more of all customers, in rows whose customer is empty; and of these
  once more without dimensions, in rows of the version 0. A cancellation subtracts. Rows with the
  same keys are added up, by merges and by whoever reads. It has slots of the meters whose usage
  adds up (`Meter.slotted`).
- `identifiers` holds one row for each claim: the two halves of the digest, the position of the
  event that claimed it, and the UTC day on which that was received, counted from the epoch.
- Rows are sorted by their keys and partitioned by UTC month: of `received_at` in
  `rejected_events` and `duplicate_events`, else of `timestamp`. `identifiers` is partitioned by
  day.
- No table has a TTL, which would go by the engine's clock: partitions are dropped whole by
  `jobs.retain`, which goes by the program's.
- `store_identity` says which ledger the store belongs to: its newest row, by `number`, counts.
- `request_logs` is described by its module, `usage.request_logs`.
- An insert is on disk when it returns, a merge before the parts that it replaces are removed, which
  is `USAGE_REPLACED_SECONDS` later. See decision 19 for what the engine does on a full disk.
- The statements run on a ClickHouse server and on the engine inside the process alike. On a cluster
  a table has the same columns, and replicas; `usage.cluster` tells more.
"""

from string import Template

from clickhouse_connect.driver.client import Client

from meterhouse.limits import (
    IDENTIFIERS_GRANULE_ROWS,
    SLOTS_AT_REST_SECONDS,
    SLOTS_GRANULE_ROWS,
    USAGE_BROKEN_PARTS_BYTES_MAX,
    USAGE_CLEANED_SECONDS_MAX,
    USAGE_CLUSTER_TOKENS_DAYS,
    USAGE_CLUSTER_TOKENS_KEPT,
    USAGE_REPLACED_SECONDS,
    USAGE_TOKENS_KEPT,
)
from meterhouse.usage import request_logs

TABLE_SETTINGS = f"""
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1,
    old_parts_lifetime = {USAGE_REPLACED_SECONDS},
    max_cleanup_delay_period = {USAGE_CLEANED_SECONDS_MAX},
    max_suspicious_broken_parts_bytes = {USAGE_BROKEN_PARTS_BYTES_MAX}
"""

# What a search finds events by, beside the keys.
FOUND_BY = """INDEX identifiers identifier TYPE bloom_filter GRANULARITY 1,
    INDEX positions position TYPE minmax GRANULARITY 1"""

EVENT_COLUMNS = f"""    account     LowCardinality(String),
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
    payload     Map(LowCardinality(String), String)  CODEC(ZSTD(1)),
    {FOUND_BY}"""

EVENTS = f"""
CREATE TABLE IF NOT EXISTS events$on_cluster
(
{EVENT_COLUMNS}
)
ENGINE = $MergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (account, livemode, meter, customer, timestamp, position)
SETTINGS $tokens, {TABLE_SETTINGS}
"""

REJECTED_EVENTS = f"""
CREATE TABLE IF NOT EXISTS rejected_events$on_cluster
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
    position    UInt64                               CODEC(Delta, ZSTD(1)),
    {FOUND_BY}
)
ENGINE = $MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (account, livemode, received_at, position)
SETTINGS $tokens, {TABLE_SETTINGS}
"""

DUPLICATE_EVENTS = f"""
CREATE TABLE IF NOT EXISTS duplicate_events$on_cluster
(
{EVENT_COLUMNS}
)
ENGINE = $MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (account, livemode, received_at, position)
SETTINGS $tokens, {TABLE_SETTINGS}
"""

IDENTIFIERS = f"""
CREATE TABLE IF NOT EXISTS identifiers$on_cluster
(
    high     UInt64 CODEC(Delta, ZSTD(1)),
    low      UInt64 CODEC(NONE),
    position UInt64 CODEC(Delta, ZSTD(1)),
    day      UInt32 CODEC(ZSTD(1))
)
ENGINE = $MergeTree
PARTITION BY day
ORDER BY high
SETTINGS $tokens, {TABLE_SETTINGS}, index_granularity = {IDENTIFIERS_GRANULE_ROWS}
"""


# A SummingMergeTree would drop a row whose events were all cancelled, and with it the proof that a
# block is in (`usage.slots`). Every chart reads slots, and merges rewrite them again and again, so
# they have the engine's fast compression; events, most of what is on disk, have the better one.
# A question costs half a millisecond for each part, so a month that has come to rest becomes one;
# and more for each column, so the id of a meter stands for its account and mode, too.
USAGE_SLOTS = f"""
CREATE TABLE IF NOT EXISTS usage_slots$on_cluster
(
    meter      String COMMENT 'Of one account in one mode.',
    version    UInt32 COMMENT '0: no dimensions.',
    customer   String COMMENT 'Empty: all customers.',
    slot       DateTime('UTC') CODEC(Delta, LZ4),
    dimensions Array(String),
    events     SimpleAggregateFunction(sum, Int64),
    value      SimpleAggregateFunction(sum, Decimal(76, 15)),
    batch      SimpleAggregateFunction(max, UInt64)
        COMMENT 'The newest batch of partition 0 of the journal that is in the row.',
    batches    SimpleAggregateFunction(maxMap, Map(UInt16, UInt64))
        COMMENT 'The newest of each other partition.'
)
ENGINE = $AggregatingMergeTree
PARTITION BY toYYYYMM(slot)
ORDER BY (meter, version, customer, slot, dimensions)
SETTINGS $tokens, {TABLE_SETTINGS},
    index_granularity = {SLOTS_GRANULE_ROWS},
    min_age_to_force_merge_seconds = {SLOTS_AT_REST_SECONDS},
    min_age_to_force_merge_on_partition_only = 1
"""

STORE_IDENTITY = f"""
CREATE TABLE IF NOT EXISTS store_identity$on_cluster
(
    identity String,
    number   UInt64
)
ENGINE = $MergeTree
ORDER BY number
SETTINGS $tokens, {TABLE_SETTINGS}
"""


TABLES = {
    "events": EVENTS,
    "rejected_events": REJECTED_EVENTS,
    "duplicate_events": DUPLICATE_EVENTS,
    "identifiers": IDENTIFIERS,
    "usage_slots": USAGE_SLOTS,
    "store_identity": STORE_IDENTITY,
    request_logs.TABLE: request_logs.SCHEMA,
}

# How a statement differs for one server and for a cluster. The path does not have the number of a
# table in it, so a replica that comes later finds the others by the same statement.
_ENGINES = ("MergeTree", "AggregatingMergeTree")
_REPLICA = "Replicated%s('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')"
_ONE = {engine: engine for engine in _ENGINES} | {
    "on_cluster": "",
    "tokens": f"non_replicated_deduplication_window = {USAGE_TOKENS_KEPT}",
}
_CLUSTER = {engine: _REPLICA % engine for engine in _ENGINES} | {
    "tokens": f"replicated_deduplication_window = {USAGE_CLUSTER_TOKENS_KEPT},"
    f" replicated_deduplication_window_seconds = {USAGE_CLUSTER_TOKENS_DAYS * 86_400}",
}


def create(client: Client) -> None:
    """Create the tables of one server that are not there yet."""
    for statement in TABLES.values():
        client.command(Template(statement).substitute(_ONE))


def create_replicas(client: Client, cluster: str) -> None:
    """Create the tables of a cluster that are not there yet, on each of its servers."""
    texts = _CLUSTER | {"on_cluster": f" ON CLUSTER '{cluster}'"}
    for statement in TABLES.values():
        client.command(Template(statement).substitute(texts))


def create_views(client: Client, cluster: str, database: str, views: str) -> None:
    """Create a database `views` on each server of a cluster, whose tables are those of all shards.

    They are called as those of `database` are.
    """
    client.command(f"CREATE DATABASE IF NOT EXISTS `{views}` ON CLUSTER '{cluster}'")
    for table in TABLES:
        client.command(
            f"CREATE TABLE IF NOT EXISTS `{views}`.{table} ON CLUSTER '{cluster}'"
            f" AS `{database}`.{table} ENGINE = Distributed('{cluster}', '{database}', '{table}')"
        )
