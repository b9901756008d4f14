"""Events one by one: what tests build columns from, and read columns as."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from meterhouse.metering.coded import NONE, Coded
from meterhouse.metering.columns import VALUE, Events
from meterhouse.metering.model import Meter, MeterEvent
from meterhouse.metering.problem import Problem
from meterhouse.metering.validation import Accepted, Rejected
from tests.metering.samples import meter


class AcceptedEvent(NamedTuple):
    position: int
    event: MeterEvent
    meter: str
    customer: str
    value: Decimal


class RejectedEvent(NamedTuple):
    position: int
    event: MeterEvent
    meter: str | None
    code: str
    message: str


def accepted_columns(
    rows: Sequence[AcceptedEvent], meters: Mapping[str, Meter] | None = None
) -> Accepted:
    """Make columns of accepted events; of a meter that is not told only the id counts."""
    ids = list(dict.fromkeys(row.meter for row in rows))
    customers = list(dict.fromkeys(row.customer for row in rows))
    return Accepted(
        Events.of([row.position for row in rows], [row.event for row in rows]),
        Coded(
            np.array([ids.index(row.meter) for row in rows], np.int64),
            [(meters or {}).get(id_) or meter(id=id_) for id_ in ids],
        ),
        Coded(np.array([customers.index(row.customer) for row in rows], np.int64), customers),
        pa.array([row.value for row in rows], VALUE),
    )


def rejected_columns(rows: Sequence[RejectedEvent]) -> Rejected:
    ids = list(dict.fromkeys(row.meter for row in rows if row.meter))
    return Rejected(
        Events.of([row.position for row in rows], [row.event for row in rows]),
        Coded(
            np.array([ids.index(row.meter) if row.meter else NONE for row in rows], np.int64),
            [meter(id=id_) for id_ in ids],
        ),
        Coded(np.arange(len(rows)), [Problem(row.code, row.message) for row in rows]),
    )


def events_of(events: Events) -> list[tuple[int, MeterEvent]]:
    return list(zip(events.positions.tolist(), events.one_by_one(), strict=True))


def accepted_rows(accepted: Accepted) -> list[AcceptedEvent]:
    return [
        AcceptedEvent(
            position,
            event,
            accepted.meters.values[accepted.meters.numbers[number]].id,
            accepted.customers.values[accepted.customers.numbers[number]],
            accepted.values[number].as_py(),
        )
        for number, (position, event) in enumerate(events_of(accepted.events))
    ]


def rejected_rows(rejected: Rejected) -> list[RejectedEvent]:
    meters, problems = rejected.meters, rejected.problems
    found = []
    for number, (position, event) in enumerate(events_of(rejected.events)):
        of = meters.numbers[number]
        problem = problems.values[problems.numbers[number]]
        id_ = None if of == NONE else meters.values[of].id
        found.append(RejectedEvent(position, event, id_, *problem))
    return found
