"""Rows on their way into the usage store: blocks of columns.

A block holds rows of one partition of one table, so that the store takes it whole or not at all.
Its body is the very bytes that are inserted: an Arrow IPC stream of a single record batch. The
columns are those of `usage.schema`, in any order.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import accumulate, chain
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from meterhouse.metering.identifier import DIGEST_BYTES, Claims
from meterhouse.metering.model import AcceptedEvent, RejectedEvent, Scope, StoredEvent

Destination = Literal["duplicate_events", "events", "identifiers", "rejected_events", "usage_slots"]
Row = TypeVar("Row", AcceptedEvent, RejectedEvent, StoredEvent)

DAY_MILLISECONDS = 86_400_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANT = pa.timestamp("ms", tz="UTC")
VALUE = pa.decimal128(38, 15)
PAYLOAD = pa.map_(pa.string(), pa.string())
COMPRESSED = pa.ipc.IpcWriteOptions(compression="zstd")


class Block(msgspec.Struct, frozen=True):
    """Rows for `destination`, all of one `partition`; `rows` is their number.

    The partition is a UTC month ("202611"), of identifiers a day, counted from the epoch ("20778").
    """

    destination: Destination
    partition: str
    rows: int
    body: bytes


def accepted(rows: Sequence[AcceptedEvent], scopes: Mapping[int, Scope]) -> pa.RecordBatch:
    """Make the columns of accepted events; duplicates, which would have counted, have the same.

    `scopes` holds the scope of every event by its id.
    """
    events = [row.event for row in rows]
    return pa.record_batch(
        {
            **_scope_columns([scopes[event.scope] for event in events]),
            "meter": _names(row.meter for row in rows),
            "customer": pa.array([row.customer for row in rows], pa.string()),
            "timestamp": pa.array([event.timestamp for event in events], INSTANT),
            "position": pa.array([row.position for row in rows], pa.uint64()),
            "sign": pa.repeat(pa.scalar(1, pa.int8()), len(rows)),
            "value": pa.array([row.value for row in rows], VALUE),
            "received_at": pa.array([event.received_at for event in events], INSTANT),
            "event_name": _names(event.event_name for event in events),
            "identifier": pa.array([event.identifier for event in events], pa.string()),
            "payload": _payloads([event.payload for event in events]),
        }
    )


def cancelled(rows: Sequence[StoredEvent]) -> pa.RecordBatch:
    """Make the columns of the cancellations of stored events."""
    return pa.record_batch(
        {
            "account": _names(row.account for row in rows),
            "livemode": pa.array([row.livemode for row in rows], pa.bool_()),
            "meter": _names(row.meter for row in rows),
            "customer": pa.array([row.customer for row in rows], pa.string()),
            "timestamp": pa.array([row.timestamp for row in rows], INSTANT),
            "position": pa.array([row.position for row in rows], pa.uint64()),
            "sign": pa.repeat(pa.scalar(-1, pa.int8()), len(rows)),
            "value": pa.array([row.value for row in rows], VALUE),
            "received_at": pa.array([row.received_at for row in rows], INSTANT),
            "event_name": _names(row.event_name for row in rows),
            "identifier": pa.array([row.identifier for row in rows], pa.string()),
            "payload": _payloads([row.payload for row in rows]),
        }
    )


def rejected(rows: Sequence[RejectedEvent], scopes: Mapping[int, Scope]) -> pa.RecordBatch:
    """Make the columns of rejected events; `scopes` holds the scope of every event by its id."""
    events = [row.event for row in rows]
    return pa.record_batch(
        {
            **_scope_columns([scopes[event.scope] for event in events]),
            "meter": _names(row.meter or "" for row in rows),
            "event_name": _names(event.event_name for event in events),
            "identifier": pa.array([event.identifier for event in events], pa.string()),
            "code": _names(row.code for row in rows),
            "message": pa.array([row.message for row in rows], pa.string()),
            "payload": _payloads([event.payload for event in events]),
            "timestamp": pa.array([event.timestamp for event in events], INSTANT),
            "received_at": pa.array([event.received_at for event in events], INSTANT),
            "position": pa.array([row.position for row in rows], pa.uint64()),
        }
    )


def joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Make one batch of several that have the same columns."""
    some = [batch for batch in batches if batch.num_rows] or batches[:1]
    if len(some) > 1:
        some = pa.Table.from_batches(some).unify_dictionaries().combine_chunks().to_batches()
    [batch] = some
    return batch


def instants(rows: pa.RecordBatch, column: str) -> npt.NDArray[np.int64]:
    """Return a column of instants in milliseconds since the epoch."""
    found: npt.NDArray[np.int64] = rows[column].cast(pa.int64()).to_numpy()
    return found


def by_month(rows: pa.RecordBatch, instant: str) -> dict[str, pa.RecordBatch]:
    """Split rows by the UTC month of one of their columns; no rows are no month."""
    days = instants(rows, instant) // DAY_MILLISECONDS
    months: dict[str, list[int]] = {}
    for day in np.unique(days).tolist():
        months.setdefault(_month(day), []).append(day)
    if len(months) == 1:
        return dict.fromkeys(months, rows)
    return {month: rows.filter(pa.array(np.isin(days, some))) for month, some in months.items()}


def pack(destination: Destination, partitions: Mapping[str, pa.RecordBatch]) -> list[Block]:
    """Make a block of the rows of each partition."""
    return [
        Block(destination, partition, rows.num_rows, body_of(rows))
        for partition, rows in partitions.items()
    ]


def identifiers(claims: Claims) -> list[Block]:
    """Pack claims, one block for each day of receipt."""
    halves = np.frombuffer(b"".join(claims.digests), "<u8")
    whole = pa.record_batch(
        {
            "high": pa.array(halves[::2]),
            "low": pa.array(halves[1::2]),
            "position": pa.array(claims.positions, pa.uint64()),
            "day": pa.array(claims.days, pa.uint32()),
        }
    )
    days = {str(day): whole.filter(pc.equal(whole["day"], day)) for day in set(claims.days)}
    return pack("identifiers", days)


def claims(body: bytes) -> Claims:
    """Read the claims of a block's body."""
    batch = read(body)
    halves = np.column_stack([batch["high"].to_numpy(), batch["low"].to_numpy()]).tobytes()
    digests = [halves[at : at + DIGEST_BYTES] for at in range(0, len(halves), DIGEST_BYTES)]
    return Claims(digests, batch["position"].to_pylist(), batch["day"].to_pylist())


def read(body: bytes) -> pa.RecordBatch:
    """Read the one record batch of a block's body."""
    with pa.ipc.open_stream(body) as stream:
        return stream.read_next_batch()


def first_row(body: bytes) -> dict[str, Any]:
    """Read the first row of a block's body by column; instants are in milliseconds."""
    batch = read(body).slice(0, 1)
    kinds = [pa.int64() if kind == INSTANT else kind for kind in batch.schema.types]
    rows: list[dict[str, Any]] = batch.cast(
        pa.schema(zip(batch.schema.names, kinds, strict=True))
    ).to_pylist()
    return rows[0]


def body_of(rows: pa.RecordBatch) -> bytes:
    """Write rows as the body of a block."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=COMPRESSED) as stream:
        stream.write_batch(rows)
    body: bytes = sink.getvalue().to_pybytes()
    return body


@lru_cache(maxsize=128)
def _month(day: int) -> str:
    """Name the UTC month of a day, which is counted from the epoch."""
    return f"{EPOCH + timedelta(days=day):%Y%m}"


def _scope_columns(scopes: list[Scope]) -> dict[str, pa.Array]:
    return {
        "account": _names(scope.account for scope in scopes),
        "livemode": pa.array([scope.livemode for scope in scopes], pa.bool_()),
    }


def _names(values: Iterable[str]) -> pa.Array:
    """Make a column of few distinct texts."""
    return pa.array(list(values), pa.string()).dictionary_encode()


def _payloads(payloads: list[dict[str, str]]) -> pa.Array:
    """Make a column of maps from its parts, many times faster than from the maps themselves."""
    offsets = pa.array(accumulate(map(len, payloads), initial=0), pa.int32())
    keys = pa.array(list(chain.from_iterable(payloads)), pa.string())
    values = pa.array(
        list(chain.from_iterable(payload.values() for payload in payloads)), pa.string()
    )
    return pa.MapArray.from_arrays(offsets, keys, values)
