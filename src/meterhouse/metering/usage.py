"""Event summaries: the question, the answer, and what the answer must be.

`summarize` is the meaning of a summary in plain Python. The usage store answers the same question
in SQL, and the tests hold the two against each other.

What a reader may rely on:

- Ranges and windows are half-open: an event at `end` belongs to the next one.
- On a meter with an event time window, of each UTC hour or day only the event counts that was
  received last, chosen over the whole hour or day even where the range covers a part of it; it
  counts where its own timestamp lies. So the summaries of adjacent ranges add up.
- Without a grouping window there is exactly one point, and it is 0 where nothing counts. With one,
  there is a point for each window in which an event counts, the newest first.

https://docs.stripe.com/api/billing/meter-event-summary
"""

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

import msgspec

from meterhouse.metering.aggregation import AGGREGATIONS, Use
from meterhouse.metering.model import Meter, Scope
from meterhouse.metering.window import Window, WindowSize, floor_to, widen, window_of


class SummaryQuery(msgspec.Struct, frozen=True):
    """The question how much `customer` used on `meter` in `[start, end)`.

    `start < end` are milliseconds since the epoch. `window` is the size of the windows that the
    range is cut into, or None for one total; the range is then made of whole windows.
    """

    scope: Scope
    meter: Meter
    customer: str
    start: int
    end: int
    window: WindowSize | None

    def reach(self) -> Window:
        """Return the range whose events decide the answer.

        It is wider than the question where the range cuts a meter's event time window, because
        the event that counts there may lie outside the range.
        """
        if self.meter.event_time_window is None:
            return Window(self.start, self.end)
        return widen(self.start, self.end, self.meter.event_time_window)


class SummaryPoint(msgspec.Struct, frozen=True):
    """The usage of one window, or of the whole range, and of one group where there are groups."""

    start: int
    end: int
    value: Decimal
    dimensions: dict[str, str] = msgspec.field(default_factory=dict)


class PeriodQuery(msgspec.Struct, frozen=True):
    """The question how much `customer` used on `meter` in `[start, end)`, as a bill counts it.

    It is that of a summary without windows, but asked in the hundreds. An empty range has no usage.
    On a meter whose usage adds up, only events may be asked about that have some `dimensions`,
    which are keys of their payloads with their values.
    """

    meter: Meter
    customer: str
    start: int
    end: int
    dimensions: tuple[tuple[str, str], ...] = ()


class PeriodUsage(NamedTuple):
    """The answer: the exact total, and how many events it is made of."""

    usage: Decimal
    events: int


def summarize(query: SummaryQuery, uses: Iterable[Use]) -> list[SummaryPoint]:
    """Answer `query` from `uses`: all events in its reach that were not cancelled, in any order."""
    aggregation = AGGREGATIONS[query.meter.formula]
    if query.meter.event_time_window is not None:
        uses = _received_last(uses, query.meter.event_time_window)
    counting = [use for use in uses if query.start <= use[0] < query.end]
    if query.window is None:
        return [SummaryPoint(query.start, query.end, aggregation.over(counting))]
    windows: defaultdict[Window, list[Use]] = defaultdict(list)
    for use in counting:
        windows[window_of(use[0], query.window)].append(use)
    return [
        SummaryPoint(window.start, window.end, aggregation.over(windows[window]))
        for window in sorted(windows, reverse=True)
    ]


def _received_last(uses: Iterable[Use], size: WindowSize) -> Iterable[Use]:
    """Keep of each window the use with the highest position."""
    kept: dict[int, Use] = {}
    for use in uses:
        start = floor_to(use[0], size)
        if start not in kept or use[1] > kept[start][1]:
            kept[start] = use
    return kept.values()
