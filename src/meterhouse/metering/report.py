"""Error reports: rejected events, counted by what was wrong with them.

A report is about one meter and one window of 10 seconds, by the instants at which the events were
received; events that match no meter are reported together
(https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api#handle-meter-event-errors).
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from meterhouse import limits
from meterhouse.metering.model import RejectedEvent

WINDOW = limits.REPORT_WINDOW_SECONDS * 1000
NO_METER = ""

# The types of the events that carry a report: about a meter, and about events that match none.
OF_METER = "v1.billing.meter.error_report_triggered"
OF_NO_METER = "v1.billing.meter.no_meter_found"
TYPES = (OF_METER, OF_NO_METER)


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One of the rejected events, as an example: its identifier, and what was wrong with it."""

    identifier: str
    message: str


class RejectionLine(msgspec.Struct, frozen=True, gc=False):
    """How many events of a scope, meter and window were rejected with one code, and some of them.

    `meter` is `NO_METER` where no meter was found.
    """

    scope: int
    meter: str
    window_start: int
    code: str
    events: int
    samples: list[Sample]


def gather(rejected: Iterable[RejectedEvent]) -> list[RejectionLine]:
    """Count rejected events, and keep the first of each kind as samples."""
    gathered: dict[tuple[int, str, int, str], tuple[list[Sample], list[int]]] = {}
    for one in rejected:
        event = one.event
        received_at = event.received_at
        key = (event.scope, one.meter or NO_METER, received_at - received_at % WINDOW, one.code)
        found = gathered.get(key)
        if found is None:
            found = gathered[key] = ([], [0])
        samples, count = found
        count[0] += 1
        if len(samples) < limits.REPORT_SAMPLE_EVENTS_MAX:
            samples.append(Sample(event.identifier, one.message))
    return [RejectionLine(*key, count[0], samples) for key, (samples, count) in gathered.items()]


def merged(lines: Iterable[RejectionLine]) -> list[RejectionLine]:
    """Return the lines of one report, whose events were counted in several places, by their code.

    The first events stay as samples.
    """
    by_code: dict[str, RejectionLine] = {}
    for line in lines:
        before = by_code.get(line.code)
        by_code[line.code] = _sum(before, line) if before else line
    return list(by_code.values())


def _sum(one: RejectionLine, other: RejectionLine) -> RejectionLine:
    samples = (one.samples + other.samples)[: limits.REPORT_SAMPLE_EVENTS_MAX]
    return msgspec.structs.replace(one, events=one.events + other.events, samples=samples)


def summary(lines: Iterable[RejectionLine]) -> str:
    """Return the sentence that a report begins with."""
    count = sum(line.events for line in lines)
    return "There is 1 invalid event" if count == 1 else f"There are {count} invalid events"


def reason(lines: Iterable[RejectionLine]) -> dict[str, Any]:
    """Return what was wrong with the events of `lines`, the most frequent error first."""
    ordered = sorted(lines, key=lambda line: (-line.events, line.code))
    return {
        "error_count": sum(line.events for line in ordered),
        "error_types": [_error_type(line) for line in ordered],
    }


def _error_type(line: RejectionLine) -> dict[str, Any]:
    samples = [
        {"error_message": sample.message, "request": {"identifier": sample.identifier}}
        for sample in line.samples
    ]
    return {"code": line.code, "error_count": line.events, "sample_errors": samples}
