"""Error reports: rejected events, counted by what was wrong with them.

A report is about one meter and one window of 10 seconds, by the instants at which the events were
received; events that match no meter are reported together
(https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api#handle-meter-event-errors).
"""

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from meterhouse import limits
from meterhouse.metering.coded import Numbers, distinct
from meterhouse.metering.validation import Rejected

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


def gather(rejected: Rejected) -> list[RejectionLine]:
    """Count rejected events, and keep the first of each kind as samples."""
    events, codes = rejected.events, rejected.codes
    windows = events.received // WINDOW
    keys, of = distinct(events.scopes.numbers, rejected.meters.numbers + 1, windows, codes.numbers)
    counts = np.bincount(of, minlength=len(keys[0]))
    order, ends = np.argsort(of, kind="stable"), np.cumsum(counts)
    ids = (NO_METER, *(meter.id for meter in rejected.meters.values))
    return [
        RejectionLine(
            events.scopes.values[scope],
            ids[meter],
            window * WINDOW,
            codes.values[code],
            count,
            _samples(rejected, order[end - count : end][: limits.REPORT_SAMPLE_EVENTS_MAX]),
        )
        for scope, meter, window, code, count, end in zip(
            *(column.tolist() for column in (*keys, counts, ends)), strict=True
        )
    ]


def _samples(rejected: Rejected, numbers: Numbers) -> list[Sample]:
    problems = rejected.problems
    identifiers = rejected.events.identifiers.take(pa.array(numbers)).to_pylist()
    messages = (problems.values[one].message for one in problems.numbers[numbers].tolist())
    return [Sample(*pair) for pair in zip(identifiers, messages, strict=True)]


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
