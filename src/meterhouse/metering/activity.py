"""Activity: how many events there were, by when they were received and what became of them.

The grain is a window of `ACTIVITY_WINDOW_MINUTES`. A batch comes to a handful of lines, so that
charts of outcomes need neither the events nor the usage store.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from meterhouse import limits
from meterhouse.metering.model import RejectedEvent
from meterhouse.metering.window import MILLISECONDS

Arrival = tuple[int, int, str]  # scope, instant of receipt, meter
_Kind = tuple[int, int, str, str, str]  # the same, outcome, code

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
    accepted: Mapping[Arrival, int],
    duplicates: Mapping[Arrival, int],
    rejected: Iterable[RejectedEvent],
) -> list[ActivityLine]:
    """Put together what was counted of accepted events and duplicates, and count rejected ones."""
    refused = Counter(
        [(one.event.scope, one.event.received_at, one.meter or "", one.code) for one in rejected]
    )
    counts = [((*arrival, "accepted", ""), events) for arrival, events in accepted.items()]
    counts += [((*arrival, "duplicate", ""), events) for arrival, events in duplicates.items()]
    counts += [
        ((scope, received_at, meter, "rejected", code), events)
        for (scope, received_at, meter, code), events in refused.items()
    ]
    return _lines(counts)


def _lines(counts: Iterable[tuple[_Kind, int]]) -> list[ActivityLine]:
    found: dict[_Kind, tuple[int, int]] = {}
    for (scope, received_at, meter, outcome, code), events in counts:
        key = (scope, received_at - received_at % WINDOW, meter, outcome, code)
        before, last = found.get(key, (0, 0))
        found[key] = (before + events, max(last, received_at))
    return [ActivityLine(*key, *values) for key, values in found.items()]
