"""A cluster of ClickHouse servers: its shards, and which of them a row goes to.

What a reader may rely on:

- A server tells the shards and replicas of the cluster, in `system.clusters`. The hosts there have
  the HTTP port of the URL's host of that name, else that of its first.
- The tables of one database are those of a shard: each of its replicas has the same rows. The
  database `…_all` shows the rows of all shards in tables of the same names (`Distributed`), and is
  only ever read. With one shard there is no need for it.
- Rows are written where they belong, to a replica of their shard, and a shard stores its piece of a
  block whole or not at all. Which shard that is matters for nothing but the first try of a piece:
  every statement gives the same answer wherever rows are.
- Replicas of a shard are tried in the order of their numbers, by us as by the servers. So answers
  hold what was written, as long as the first one is up.
"""

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
from clickhouse_connect.driver.client import Client

from meterhouse import limits
from meterhouse.errors import StoreError
from meterhouse.usage import block, schema
from meterhouse.usage.servers import Host

# Settings of every statement at a cluster.
SETTINGS = {
    # A change waits for the replica that is asked alone, for another one may be down.
    "lightweight_deletes_sync": 1,
    "distributed_ddl_output_mode": "none_only_active",
}
# An insert returns once most of three replicas or more have the block. Of two, both would have to.
QUORUM = {
    "insert_quorum": "auto",
    "insert_quorum_timeout": limits.USAGE_QUORUM_SECONDS_MAX * 1_000,
}
_QUORUM_REPLICAS = 3

# What is asked of all shards goes to the replicas that were written to. A statement that would need
# the rows of other shards than its own is refused, rather than wrong.
READ_SETTINGS = {
    "load_balancing": "in_order",
    "prefer_localhost_replica": 0,
    "max_replica_delay_for_distributed_queries": limits.USAGE_STALE_SECONDS_MAX,
    "fallback_to_stale_replicas_for_distributed_queries": 0,
    "distributed_product_mode": "deny",
}

_CLUSTER = """
SELECT shard_num, host_name
FROM system.clusters
WHERE cluster = {cluster:String}
ORDER BY shard_num, replica_num
"""

_OURS = """
SELECT name
FROM system.tables
WHERE database = {database:String} AND name IN {tables:Array(String)}
ORDER BY name
"""

# What the rows of each table are sharded by: texts, of which equal ones stay together.
_KEYS = {
    "events": ("account", "customer"),
    "duplicate_events": ("account", "customer"),
    "rejected_events": ("account", "identifier"),
    "usage_slots": ("meter", "customer"),
    "request_logs": ("account", "request"),
}


def find_shards(client: Client, name: str, hosts: list[Host]) -> list[list[Host]]:
    """Return the replicas of each shard of a cluster, as one of its servers, one of `hosts`, knows.

    Raises `StoreError` when it knows no such cluster.
    """
    ports = {host.name: host.port for host in hosts}
    shards: dict[int, list[Host]] = {}
    for number, host in client.query(_CLUSTER, parameters={"cluster": name}).result_rows:
        shards.setdefault(number, []).append(Host(host, ports.get(host, hosts[0].port)))
    if not shards:
        raise StoreError(
            f"The ClickHouse server knows no cluster '{name}'. METERHOUSE_CLICKHOUSE_CLUSTER must "
            "be one that SHOW CLUSTERS tells."
        )
    return list(shards.values())


def settings_of(shards: list[list[Host]]) -> dict[str, Any]:
    """Return the settings of statements at a cluster with these shards and replicas."""
    quorum = all(len(replicas) >= _QUORUM_REPLICAS for replicas in shards)
    return SETTINGS | (QUORUM if quorum else {})


def has_tables(client: Client, database: str) -> bool:
    """Tell whether a server has all of our tables in a database."""
    return len(_tables(client, database)) == len(schema.TABLES)


def catch_up(client: Client) -> None:
    """Wait until a server has what the other replicas of its shard had stored before."""
    for table in _tables(client, client.database or "default"):
        sync(client, table)


def sync(client: Client, table: str) -> None:
    """Wait until a server has what other replicas had stored of a table before."""
    seconds = limits.USAGE_CATCH_UP_SECONDS_MAX
    client.command(
        f"SYSTEM SYNC REPLICA {table} LIGHTWEIGHT",
        settings={"receive_timeout": seconds, "max_execution_time": seconds},
    )


def split(table: str, body: bytes, shards: int) -> Iterator[tuple[int, bytes]]:
    """Cut the body of a block into one for each shard that gets rows of it, by its number.

    The same body is always cut into the same ones.
    """
    rows = block.read(body)
    numbers = _shards_of(table, rows) % shards
    for number in np.unique(numbers).tolist():
        yield number, block.body_of(rows.filter(pa.array(numbers == number)))


def _shards_of(table: str, rows: pa.RecordBatch) -> npt.NDArray[np.uint64]:
    """Return a number for each row, by which it belongs to a shard."""
    if table not in _KEYS:  # an identifier is a digest already
        digests: npt.NDArray[np.uint64] = rows["high"].to_numpy()
        return digests
    texts = [rows[name].cast(pa.string()) for name in _KEYS[table]]
    keys = pc.binary_join_element_wise(*texts, "\0").dictionary_encode()
    hashes = [zlib.crc32(key.as_buffer()) for key in keys.dictionary]
    numbers: npt.NDArray[np.uint64] = np.array(hashes, np.uint64)[keys.indices.to_numpy()]
    return numbers


def _tables(client: Client, database: str) -> list[str]:
    values = {"database": database, "tables": list(schema.TABLES)}
    return [name for (name,) in client.query(_OURS, parameters=values).result_rows]
