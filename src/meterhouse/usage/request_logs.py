"""The log of requests, for who sent them: `/meterhouse/v1/request_logs` and `stripe logs tail`.

It is kept for `REQUEST_LOG_DAYS` days (`jobs.retain`). Unlike usage it is no record that books
depend on: what the last seconds before a crash have noted may be missing.
"""

# ruff: noqa: S608 - the statements are put together from the constants of this module alone

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]

from meterhouse.limits import USAGE_CLEANED_SECONDS_MAX
from meterhouse.metering.model import Scope

TABLE = "request_logs"

# As `usage.schema` completes it.
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS {TABLE}$on_cluster
(
    account         LowCardinality(String),
    livemode        Bool,
    created         DateTime64(3, 'UTC')     CODEC(Delta, ZSTD(1)),
    request         String                   CODEC(ZSTD(1)),
    method          LowCardinality(String),
    path            String                   CODEC(ZSTD(1)),
    status          UInt16                   CODEC(ZSTD(1)),
    microseconds    UInt32                   CODEC(ZSTD(1)),
    version         LowCardinality(String),
    ip              LowCardinality(String)   COMMENT 'Empty: over the Unix socket.',
    error           String                   CODEC(ZSTD(1)) COMMENT 'JSON. Empty: none.',
    INDEX by_request request TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = $MergeTree
PARTITION BY toYYYYMMDD(created)
ORDER BY (account, livemode, created, request)
SETTINGS $tokens, max_cleanup_delay_period = {USAGE_CLEANED_SECONDS_MAX}
"""


class RequestLog(msgspec.Struct, frozen=True, gc=False):
    """A request that was answered at `created` (milliseconds).

    `error` is the error object of the answer as JSON, empty where there was none. `ip` is the
    address that the connection came from, empty on the Unix socket.
    """

    account: str
    livemode: bool
    created: int
    request: str
    method: str
    path: str
    status: int
    microseconds: int
    version: str
    ip: str
    error: str


class Query(NamedTuple):
    """Which logs of one account and mode to list, newest first; what is None leaves nothing out.

    A path that ends in `*` stands for all that begin so. `statuses` are the least and the most,
    `start` and `end` a half-open window of milliseconds. The page begins `after`, or ends
    `before`, a log, which is named by its instant and its request.
    """

    scope: Scope
    rows_max: int
    method: str | None = None
    path: str | None = None
    statuses: tuple[int, int] | None = None
    start: int | None = None
    end: int | None = None
    after: tuple[int, str] | None = None
    before: tuple[int, str] | None = None


# The columns of an insert that are not texts.
_TYPES = {
    "livemode": pa.bool_(),
    "created": pa.timestamp("ms", tz="UTC"),
    "status": pa.uint16(),
    "microseconds": pa.uint32(),
}
_INSTANT = "fromUnixTimestamp64Milli({%s:Int64}, 'UTC')"
_SELECT = f"""
SELECT account, livemode, toUnixTimestamp64Milli(created) AS created, request, method, path,
    status, microseconds, version, ip, error
FROM {TABLE}
WHERE account = {{account:String}} AND livemode = {{livemode:Bool}}
"""
_FIND = f"{_SELECT}    AND request = {{request:String}}\nLIMIT 1"

# What each field of a query demands of a row.
_DEMANDS = {
    "method": "method = {method:String}",
    "path": "path = {path:String}",
    "beginning": "startsWith(path, {beginning:String})",
    "status_least": "status BETWEEN {status_least:UInt16} AND {status_most:UInt16}",
    "start": f"{TABLE}.created >= {_INSTANT % 'start'}",
    "end": f"{TABLE}.created < {_INSTANT % 'end'}",
    "after": f"({TABLE}.created, request) < ({_INSTANT % 'after'}, {{cursor:String}})",
    "before": f"({TABLE}.created, request) > ({_INSTANT % 'before'}, {{cursor:String}})",
}


def select(query: Query) -> tuple[str, dict[str, Any]]:
    """Turn a query into a statement and its values; rows before a log come oldest first."""
    values = _values(query)
    demands = [_DEMANDS[name] for name in values if name in _DEMANDS]
    order = "ASC" if query.before else "DESC"
    sql = "\n    AND ".join((_SELECT, *demands)) + (
        f"\nORDER BY {TABLE}.created {order}, request {order}\nLIMIT {{rows_max:UInt32}}"
    )
    return sql, values | _scope_values(query.scope) | {"rows_max": query.rows_max}


def find(scope: Scope, request: str) -> tuple[str, dict[str, Any]]:
    """Return the statement that finds the log of one request, and its values."""
    return _FIND, _scope_values(scope) | {"request": request}


def pack(logs: Sequence[RequestLog]) -> bytes:
    """Return logs as the bytes that are inserted: an Arrow IPC stream of one batch."""
    columns = zip(*map(msgspec.structs.astuple, logs), strict=True)
    batch = pa.record_batch(
        {
            name: pa.array(column, _TYPES.get(name, pa.string()))
            for name, column in zip(RequestLog.__struct_fields__, columns, strict=True)
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    body: bytes = sink.getvalue().to_pybytes()
    return body


def _scope_values(scope: Scope) -> dict[str, Any]:
    return {"account": scope.account, "livemode": scope.livemode}


def _values(query: Query) -> dict[str, Any]:
    """Return what a query asks for under the names of the statement; in this order it is tested."""
    least, most = query.statuses or (None, None)
    cursor = query.after or query.before
    whole = query.path is not None and not query.path.endswith("*")
    values = {
        "start": query.start,
        "end": query.end,
        "after": query.after and query.after[0],
        "before": query.before and query.before[0],
        "cursor": cursor and cursor[1],
        "method": query.method,
        "path": query.path if whole else None,
        "beginning": None if whole or query.path is None else query.path[:-1],
        "status_least": least,
        "status_most": most,
    }
    return {name: value for name, value in values.items() if value is not None}
