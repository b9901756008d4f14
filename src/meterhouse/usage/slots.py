"""Slots on their way into the usage store: what a block of events comes to, 15 minutes at a time.

The slots of a block of events are a block of their own, for `usage_slots`: two tables cannot be
written at once, so each gets what is its own exactly once. They are of the same month, because no
slot crosses the end of a month.

Beside the rows of each customer a block has those of all customers together, whose customer is
`EVERYBODY`, no text at all; and once more without dimensions, as the version `WHOLE` of them.
Whoever asks about everybody reads one of these kinds alone, which are fewer.

A row of slots has no position by which it could be found again, for merges add rows up. It has the
number of its *batch* instead, under that of the partition of the journal that the batch is of, and
a merge keeps the highest of each partition. The batches of a partition come to the store in the
order of their numbers, and what was left behind comes before anything new. So a row whose batch of
this partition is as high as that of a block, or higher, proves that the block is there. Partition
0, the only one where there is but one, has a column for itself: a merge of maps takes three times
as long.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from meterhouse.metering.model import Meter
from meterhouse.metering.window import SLOT
from meterhouse.usage.block import INSTANT

EVERYBODY = ""  # the customer of rows that all customers come to
WHOLE = 0  # the version of those that tell no dimensions apart; a meter's own begin with 1

_SAME = ("meter", "customer")  # in a row of events and in one of slots


def slots(
    months: Mapping[str, pa.RecordBatch], meters: Mapping[str, Meter], partition: int, batch: int
) -> dict[str, pa.RecordBatch]:
    """Add up the events and cancellations of a batch, for each month that has slots.

    `meters` holds the meter of every event by its id; `batch` is the number of the batch, which is
    higher than that of every batch of its partition that was stored before.
    """
    added: dict[str, pa.RecordBatch] = {}
    for month, events in months.items():
        slotted = np.array([meter.slotted for meter in _meters(events, meters)], np.bool_)
        rows = events if slotted.all() else _filtered(events, slotted)
        if rows.num_rows:
            totals = _added(rows, _meters(rows, meters))
            added[month] = _batched(totals, partition, batch)
    return added


def _batched(rows: pa.RecordBatch, partition: int, batch: int) -> pa.RecordBatch:
    """Tell of rows which batch they are of."""
    first = pa.scalar(0 if partition else batch, pa.uint64())
    others = rows.num_rows if partition else 0
    batches = pa.MapArray.from_arrays(
        pa.array(np.minimum(np.arange(rows.num_rows + 1), others), pa.int32()),
        pa.repeat(pa.scalar(partition, pa.uint16()), others),
        pa.repeat(pa.scalar(batch, pa.uint64()), others),
    )
    rows = rows.append_column("batch", pa.repeat(first, rows.num_rows))
    return rows.append_column("batches", batches)


def _filtered(events: pa.RecordBatch, meters: npt.NDArray[np.bool_]) -> pa.RecordBatch:
    """Return the events of some meters, which are told by their numbers."""
    return events.filter(pa.array(meters[events["meter"].indices.to_numpy()]))


def _meters(rows: pa.RecordBatch, meters: Mapping[str, Meter]) -> list[Meter]:
    """Return the meters by the numbers that they have in the column of meters."""
    return [meters[id_] for id_ in rows["meter"].dictionary.to_pylist()]


def _added(rows: pa.RecordBatch, meters: Sequence[Meter]) -> pa.RecordBatch:
    """Add up events whose keys and slots are the same; then all customers, then all dimensions."""
    slot = pc.multiply(pc.divide(rows["timestamp"].cast(pa.int64()), SLOT), SLOT)
    value = pc.if_else(pc.less(rows["sign"], 0), pc.negate(rows["value"]), rows["value"])
    apart = {name: rows[name] for name in _SAME} | {"slot": slot.cast(INSTANT)}
    places = {str(place): column for place, column in enumerate(_columns(rows, meters))}
    table = pa.table({**apart, **places, "events": rows["sign"], "value": value})
    each = _grouped(table, [*apart, *places])
    everybody = each.set_column(
        each.column_names.index("customer"),
        "customer",
        pa.repeat(pa.scalar(EVERYBODY, each["customer"].type), each.num_rows),
    )
    everybody = _grouped(everybody, [*apart, *places])
    versions = np.array([meter.dimension_version for meter in meters])
    lengths = np.array([len(meter.dimension_keys or ()) for meter in meters])
    made = [
        _rows(pa.concat_tables([each, everybody]), versions, lengths),
        _rows(_grouped(everybody, [*apart]), np.full_like(versions, WHOLE), np.zeros_like(lengths)),
    ]
    [added] = pa.Table.from_batches(made).unify_dictionaries().combine_chunks().to_batches()
    return added


def _rows(table: pa.Table, versions: Any, lengths: Any) -> pa.RecordBatch:
    """Make rows of slots; `versions` and numbers of dimensions are those of meters by number."""
    [added] = table.combine_chunks().to_batches()
    numbers = added["meter"].indices.to_numpy()
    places = [added[name] for name in added.schema.names if name.isdecimal()]
    return pa.record_batch(
        {name: added[name] for name in (*_SAME, "slot")}
        | {
            "version": pa.array(versions[numbers], pa.uint32()),
            "dimensions": _lists(places, lengths[numbers]),
            "events": added["events"],
            "value": added["value"],
        }
    )


def _grouped(table: pa.Table, keys: Sequence[str]) -> pa.Table:
    """Add up the events and values of rows with the same keys."""
    groups = table.group_by(keys, use_threads=False)
    return groups.aggregate([("events", "sum"), ("value", "sum")]).rename_columns(
        [*keys, "events", "value"]
    )


def _columns(rows: pa.RecordBatch, meters: Sequence[Meter]) -> list[pa.Array]:
    """Return a column for each place among a meter's dimensions: the values that events have there.

    It is empty where an event has no value. All entries of all payloads are looked through at
    once, which is many times faster than payload by payload.
    """
    payloads, numbers = rows["payload"], rows["meter"].indices.to_numpy()
    names = payloads.keys.dictionary_encode()
    codes = {name: code for code, name in enumerate(names.dictionary.to_pylist())}
    entries = names.indices.to_numpy()
    owners = np.repeat(np.arange(len(payloads)), np.diff(payloads.offsets))
    keys = [meter.dimension_keys or () for meter in meters]
    columns = []
    for place in range(max(map(len, keys))):
        # The code of the key that an event's value has at this place; none is -1.
        wanted = [codes.get(some[place], -1) if place < len(some) else -1 for some in keys]
        [found] = np.nonzero(entries == np.array(wanted)[numbers][owners])
        at = np.full(len(payloads), -1)
        at[owners[found]] = found
        values = payloads.items.take(pa.array(at, mask=at < 0))
        columns.append(pc.fill_null(values, ""))
    return columns


def _lists(columns: Sequence[pa.Array], lengths: Any) -> pa.Array:
    """Make one column of lists: of each row, the first items, as many as its length."""
    places, rows = len(columns), len(lengths)
    order = np.arange(rows * places).reshape(places, rows).T
    order = order[np.arange(places) < lengths[:, None]]
    items = pa.concat_arrays(columns) if columns else pa.array([], pa.string())
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items.take(pa.array(order)))
