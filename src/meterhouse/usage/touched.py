"""Touched: what a batch has used of meters that somebody watches, by customer.

What a reader may rely on:

- `used` is what events have added at most: negative values are left out, and what is left is
  rounded up to whole units. So a total that was right once is never more than itself and all that
  was added since. What is `USED_LIMIT` or more is told as that.
- A cancellation takes away what its event added; of an event with a negative value it adds.
- `first` and `last` are the timestamps of the events in milliseconds, `position` is that of the
  newest of them.
"""

from collections.abc import Sequence
from decimal import Decimal

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from meterhouse.metering.coded import joined
from meterhouse.metering.columns import VALUE

USED_LIMIT = 10**15

_KEYS = ("meter", "customer")
_ADDED_UP = {"used": "sum", "events": "sum", "first": "min", "last": "max", "position": "max"}
_NOTHING = pa.scalar(Decimal(0), VALUE)
_LIMIT = pa.scalar(USED_LIMIT, pa.int64())
_MOST = pa.scalar(Decimal(USED_LIMIT), VALUE)


def touched(events: pa.RecordBatch) -> pa.RecordBatch:
    """Add up events and cancellations that have the columns of the table of events."""
    signed = pc.if_else(
        pc.less(events["sign"], 0), pc.negate_checked(events["value"]), events["value"]
    )
    at = events["timestamp"].cast(pa.int64())
    return _added_up(
        {
            **{name: events[name] for name in _KEYS},
            "used": pc.if_else(pc.greater(signed, _NOTHING), signed, _NOTHING),
            "events": pc.if_else(pc.greater(events["sign"], 0), 1, 0),
            "first": at,
            "last": at,
            "position": events["position"].cast(pa.int64()),
        }
    )


def merged(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Make one of what several batches have touched."""
    whole = joined(batches)
    if len(batches) < 2:  # noqa: PLR2004 - there is nothing to merge
        return whole
    return _added_up({name: whole[name] for name in whole.schema.names})


def _added_up(columns: dict[str, pa.Array]) -> pa.RecordBatch:
    groups = pa.table(columns).group_by(_KEYS, use_threads=False)
    table = groups.aggregate([*_ADDED_UP.items()]).rename_columns([*_KEYS, *_ADDED_UP])
    [added] = table.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], table.schema)]
    place = added.schema.names.index("used")
    return added.set_column(place, "used", _whole(added["used"]))


def _whole(used: pa.Array) -> pa.Array:
    """Return what was used as whole units, rounded up, and no more than the limit."""
    if pa.types.is_integer(used.type):
        return pc.min_element_wise(used, _LIMIT)
    return pc.ceil(pc.min_element_wise(used, _MOST)).cast(pa.int64())
