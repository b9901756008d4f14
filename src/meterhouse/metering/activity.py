"""Activity: how many events there were, by when they were received and what became of them.

The grain is a window of `ACTIVITY_WINDOW_MINUTES`. A batch comes to a handful of lines, so that
charts of outcomes need neither the events nor the usage store.
"""

import msgspec
import numpy as np

from meterhouse import limits
from meterhouse.metering.coded import Coded, distinct
from meterhouse.metering.columns import Events
from meterhouse.metering.model import Meter
from meterhouse.metering.window import MILLISECONDS

WINDOW = limits.ACTIVITY_WINDOW_MINUTES * MILLISECONDS["minute"]


class ActivityLine(msgspec.Struct, frozen=True, gc=False):
    """Events of a scope, meter and window that came to one outcome.

    `meter` is empty where none was found, `code` unless they were rejected. `last_received_at`
    tells when the last one of them was received.
    """

    scope: int
    window_start: int
    meter: str
    outcome: str
    code: str
    events: int
    last_received_at: int


def gather(
    events: Events, meters: Coded[Meter], outcome: str, codes: Coded[str] | None = None
) -> list[ActivityLine]:
    """Count events that came to one outcome; `codes` are those of rejected ones."""
    received, scopes = events.received, events.scopes
    columns = [scopes.numbers, received // WINDOW, meters.numbers + 1]
    keys, of = distinct(*columns, *([] if codes is None else [codes.numbers]))
    counts = np.bincount(of, minlength=len(keys[0]))
    lasts = np.zeros(len(counts), np.int64)
    np.maximum.at(lasts, of, received)
    ids = ("", *(meter.id for meter in meters.values))
    return [
        ActivityLine(
            scopes.values[scope],
            window * WINDOW,
            ids[meter],
            outcome,
            codes.values[code[0]] if codes and code else "",
            events_counted,
            last,
        )
        for scope, window, meter, *code, events_counted, last in zip(
            *(column.tolist() for column in (*keys, counts, lasts)), strict=True
        )
    ]
