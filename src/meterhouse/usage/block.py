"""Rows on their way into the usage store: blocks of columns.

A block holds rows of one partition of one table, so that the store takes it whole or not at all.
Its body is the very bytes that are inserted: an Arrow IPC stream of a single record batch. The
columns are those of `usage.schema`, in any order.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from meterhouse.metering.coded import Coded, texts
from meterhouse.metering.columns import VALUE, Events, payload_column
from meterhouse.metering.identifier import DIGEST_BYTES, Claims
from meterhouse.metering.model import Scope, StoredEvent
from meterhouse.metering.validation import Accepted, Rejected

Destination = Literal["duplicate_events", "events", "identifiers", "rejected_events", "usage_slots"]

DAY_MILLISECONDS = 86_400_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANT = pa.timestamp("ms", tz="UTC")
# A body lives for a second, and handing its columns to threads costs more than they save.
COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)


class Block(msgspec.Struct, frozen=True):
    """Rows for `destination`, all of one `partition`; `rows` is their number.

    The partition is a UTC month ("202611"), of identifiers a day, counted from the epoch ("20778").
    """

    destination: Destination
    partition: str
    rows: int
    body: bytes


def accepted(rows: Accepted, scopes: Mapping[int, Scope]) -> pa.RecordBatch:
    """Make the columns of accepted events; duplicates, which would have counted, have the same.

    `scopes` holds the scope of every event by its id.
    """
    events = rows.events
    return pa.record_batch(
        {
            **_of_scopes(events, scopes),
            "meter": texts(Coded(rows.meters.numbers, [one.id for one in rows.meters.values])),
            "customer": texts(rows.customers).dictionary_decode(),
            "timestamp": pa.array(events.timestamps, INSTANT),
            "position": pa.array(events.positions).cast(pa.uint64()),
            "sign": pa.repeat(pa.scalar(1, pa.int8()), len(events)),
            "value": rows.values,
            "received_at": pa.array(events.received, INSTANT),
            "event_name": texts(events.names),
            "identifier": events.identifiers,
            "payload": events.payloads(),
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
            "payload": payload_column([row.payload for row in rows]),
        }
    )


def rejected(rows: Rejected, scopes: Mapping[int, Scope]) -> pa.RecordBatch:
    """Make the columns of rejected events; `scopes` holds the scope of every event by its id."""
    events, problems = rows.events, rows.problems
    messages = Coded(problems.numbers, [one.message for one in problems.values])
    meters = ["", *(meter.id for meter in rows.meters.values)]
    return pa.record_batch(
        {
            **_of_scopes(events, scopes),
            "meter": texts(Coded(rows.meters.numbers + 1, meters)),
            "event_name": texts(events.names),
            "identifier": events.identifiers,
            "code": texts(rows.codes),
            "message": texts(messages).dictionary_decode(),
            "payload": events.payloads(),
            "timestamp": pa.array(events.timestamps, INSTANT),
            "received_at": pa.array(events.received, INSTANT),
            "position": pa.array(events.positions).cast(pa.uint64()),
        }
    )


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


def _of_scopes(events: Events, scopes: Mapping[int, Scope]) -> dict[str, pa.Array]:
    numbers, ids = events.scopes
    found = [scopes[id_] for id_ in ids]
    livemode = pa.array([scope.livemode for scope in found], pa.bool_())
    return {
        "account": texts(Coded(numbers, [scope.account for scope in found])),
        "livemode": livemode.take(pa.array(numbers)),
    }


def _names(values: Iterable[str]) -> pa.Array:
    """Make a column of few distinct texts."""
    return pa.array(list(values), pa.string()).dictionary_encode()
