"""The rows of a usage store in another one, a partition of a table at a time.

What a reader may rely on:

- A partition is copied when the target does not hold just what the source does, which is told by
  the number of its rows and by hashes of them. What the target had of it goes
  before, so a copy that was killed, or whose answers were lost, is made anew and counts once.
- Afterwards the target has these partitions and no others.
- What slots tell of batches stays behind: it proves something to the ledger alone that judged them.
- Either store may have several shards; the target's get what is theirs.
- Nobody writes to either store meanwhile. Merges in the source may go on.
- No more than `MOVE_USAGE_ROWS` rows are in memory.
"""

import logging
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa  # type: ignore[import-untyped]

from meterhouse.errors import StoreError
from meterhouse.limits import MOVE_ATTEMPTS_MAX, MOVE_USAGE_ROWS
from meterhouse.usage import request_logs
from meterhouse.usage.block import COMPRESSED
from meterhouse.usage.store import UsageStore

_TABLES = (
    *("events", "rejected_events", "duplicate_events", "identifiers", "usage_slots"),
    request_logs.TABLE,
)
_OF_BATCHES = ("batch", "batches")  # the columns that stay behind
_ADDED = ("events", "value")  # those in which rows of slots are added up

_PIECES = """
SELECT table, partition_id AS partition, toInt64(sum(rows)) AS rows
FROM system.parts
WHERE active AND database = currentDatabase() AND table IN {tables:Array(String)}
GROUP BY table, partition
ORDER BY table, partition
"""
_PARTS = """
SELECT name, toInt64(rows) AS rows
FROM system.parts
WHERE active
    AND database = currentDatabase()
    AND table = {table:String}
    AND partition_id = {partition:String}
ORDER BY name
"""
_COLUMNS = """
SELECT name
FROM system.columns
WHERE database = currentDatabase()
    AND table = {table:String}
    AND name NOT IN {without:Array(String)}
ORDER BY name
"""
_SOME = """
SELECT %s
FROM %s
WHERE _part = {part:String} AND _part_offset >= {first:UInt64} AND _part_offset < {end:UInt64}
"""
_CONTENT = """
SELECT count() AS rows, sum(cityHash64(%s)) AS hash
FROM %s
WHERE _partition_id = {partition:String}
"""
# A merge adds up rows with the same keys, and these sums with them.
_CONTENT_OF_SLOTS = """
SELECT
    sum(events) AS rows,
    sum(
        cityHash64(%(keys)s) * toUInt64(events)
        + cityHash64('value', %(keys)s) * toUInt64(reinterpret(value, 'UInt256'))
    ) AS hash
FROM usage_slots
WHERE _partition_id = {partition:String}
"""

Told = Callable[[int, int], None]  # how many rows are done, and of how many

log = logging.getLogger("meterhouse.move")


class _Piece(NamedTuple):
    """A partition of a table, which has so many rows before merges."""

    table: str
    partition: str
    rows: int


class _Content(NamedTuple):
    """What tells whether two partitions hold the same: of slots `rows` are events."""

    rows: int
    hash: int


def holds_any(store: UsageStore) -> bool:
    """Tell whether a store has any row that could be copied."""
    return bool(_pieces(store))


def copy(source: UsageStore, target: UsageStore, told: Told) -> None:
    """Let the target hold what the source does; raises `StoreError` where it does not come to."""
    source.sync()
    pieces = _pieces(source)
    wanted = {(one.table, one.partition) for one in pieces}
    for one in _pieces(target):
        if (one.table, one.partition) not in wanted:
            _drop(target, one)
    done, total = 0, sum(one.rows for one in pieces)
    for one in pieces:
        _copy(source, target, one, partial(_tell, told, done, total))
        done += one.rows
        told(done, total)


def _tell(told: Told, before: int, total: int, rows: int) -> None:
    told(before + rows, total)


def _copy(
    source: UsageStore, target: UsageStore, piece: _Piece, told: Callable[[int], None]
) -> None:
    """Copy a piece unless it is there; it is looked at again afterwards."""
    wanted = _content(source, piece)
    for left in reversed(range(MOVE_ATTEMPTS_MAX)):
        if _content(target, piece) == wanted:
            return
        try:
            _fill(source, target, piece, told)
        except StoreError as error:
            if not left:
                raise
            log.warning("copying %s %s again: %s", piece.table, piece.partition, error)
    if _content(target, piece) != wanted:
        raise StoreError(
            f"The partition {piece.partition} of {piece.table} at {target.place} is not what it is "
            f"at {source.place}. Does somebody write to one of them?"
        )


def _fill(
    source: UsageStore, target: UsageStore, piece: _Piece, told: Callable[[int], None]
) -> None:
    """Put the rows of a piece in place of what the target has of it.

    The tokens are new ones each time: an attempt before may have cut the rows otherwise.
    """
    _drop(target, piece)
    token, done = f"move-{secrets.token_hex(8)}", 0
    for number, rows in enumerate(_read(source, piece)):
        target.insert(piece.table, _packed(rows), f"{token}-{number}")
        done += rows.num_rows
        told(done)
    target.confirm()


def _pieces(store: UsageStore) -> list[_Piece]:
    rows: Counter[tuple[str, str]] = Counter()
    for shard in store.each_shard():
        for one in shard.columns(_PIECES, {"tables": list(_TABLES)}).to_pylist():
            rows[one["table"], one["partition"]] += one["rows"]
    return [_Piece(*piece, rows[piece]) for piece in sorted(rows)]


def _content(store: UsageStore, piece: _Piece) -> _Content:
    """Return what a piece holds, whatever has been merged and whichever shard has it."""
    names = _columns(store, piece.table)
    if piece.table == "usage_slots":
        keys = ", ".join(name for name in names if name not in _ADDED)
        sql = _CONTENT_OF_SLOTS % {"keys": keys}
    else:
        sql = _CONTENT % (", ".join(names), piece.table)
    values = {"partition": piece.partition}
    shards = [shard.columns(sql, values).to_pylist()[0] for shard in store.each_shard()]
    rows, hashes = (sum(one[name] for one in shards) for name in _Content._fields)
    return _Content(rows, hashes % 2**64)


def _read(store: UsageStore, piece: _Piece) -> Iterator[pa.Table]:
    """Yield the rows of a piece, some at a time; parts that are merged meanwhile are missing."""
    sql = _SOME % (", ".join(_columns(store, piece.table)), piece.table)
    values = {"table": piece.table, "partition": piece.partition}
    for shard in store.each_shard():
        for part in shard.columns(_PARTS, values).to_pylist():
            for first in range(0, part["rows"], MOVE_USAGE_ROWS):
                some = {"part": part["name"], "first": first, "end": first + MOVE_USAGE_ROWS}
                rows = shard.columns(sql, some)
                if rows.num_rows:
                    yield rows


def _columns(store: UsageStore, table: str) -> list[str]:
    values: dict[str, Any] = {"table": table, "without": list(_OF_BATCHES)}
    [shard, *_] = store.each_shard()
    names: list[str] = shard.columns(_COLUMNS, values)["name"].to_pylist()
    return names


def _packed(rows: pa.Table) -> bytes:
    """Return rows as the bytes that are inserted."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=COMPRESSED) as stream:
        stream.write_table(rows.combine_chunks())
    body: bytes = sink.getvalue().to_pybytes()
    return body


def _drop(store: UsageStore, piece: _Piece) -> None:
    store.change(f"ALTER TABLE {piece.table} DROP PARTITION ID '{piece.partition}'", {}, {})
