"""`python -m benchmarks.steps [--events 20000]`: what each step of a streamed event takes.

The steps are taken one after the other in this process, without a server, on so many events of
requests of 100, with two dimensions and four payload keys. Figures are the least of several rounds,
in microseconds of processor time an event, of all threads; compare them only with each other.
"""

import argparse
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
from rich.table import Table

from benchmarks.result import make_console
from meterhouse.api.v2.meter_event_stream import Stream
from meterhouse.judging.columns import Judged
from meterhouse.judging.dimension import Admission, Combinations
from meterhouse.ledger import journal
from meterhouse.ledger.journal import Entry
from meterhouse.metering.activity import gather
from meterhouse.metering.model import Meter, MeterEvent, Scope
from meterhouse.metering.part import Part
from meterhouse.metering.validation import Catalog, judge
from meterhouse.usage import block
from meterhouse.usage.slots import slots
from meterhouse.wire.timestamp import read_timestamp

_ROUNDS = 9
_REQUEST = 100  # events
_METERS, _CUSTOMERS = 5, 10_000
_NOW = 1_764_500_000_000
_SCOPE = Scope(1, "acct_1", livemode=True)

T = TypeVar("T")


class Clock:
    """Takes the time of steps, round after round."""

    def __init__(self, events: int) -> None:
        self._events = events
        self.least: dict[str, float] = {}

    def take(self, step: str, work: Callable[[], T]) -> T:
        """Do the work of a step, and keep what it took if that is the least so far."""
        started = time.process_time()
        done = work()
        taken = (time.process_time() - started) * 1_000_000 / self._events
        self.least[step] = min(taken, self.least.get(step, taken))
        return done


def main() -> None:
    """Take all steps several times, and print what each takes."""
    parser = argparse.ArgumentParser("benchmarks.steps")
    parser.add_argument("--events", type=int, default=20_000, help="(default: %(default)s)")
    events = parser.parse_args().events
    clock, bodies, combinations = Clock(events), _bodies(events), Combinations()
    combinations._seen = defaultdict(set)  # noqa: SLF001 - no ledger tells of any
    for _ in range(_ROUNDS):
        _judge(clock, _accept(clock, bodies), combinations)
    made = Table("step", "µs an event", title=f"{events:,} events", title_justify="left")
    for step, least in clock.least.items():
        made.add_row(step, f"{least:.2f}")
    make_console().print(made)


def _bodies(events: int) -> list[bytes]:
    chance = random.Random(1)  # noqa: S311 - the same in every run

    def event() -> dict[str, object]:
        return {
            "event_name": f"event_{chance.randrange(_METERS)}",
            "identifier": f"{chance.getrandbits(128):032x}",
            "timestamp": f"2025-11-30T10:53:10.{chance.randrange(1_000):03}Z",
            "payload": {
                "stripe_customer_id": f"cus_{chance.randrange(_CUSTOMERS):014}",
                "value": str(chance.randint(1, 1_000)),
                "region": chance.choice(("eu-central", "eu-west", "us-east", "us-west")),
                "model": chance.choice(("small", "medium", "large")),
            },
        }

    requests = range(0, events, _REQUEST)
    return [msgspec.json.encode({"events": [event() for _ in range(_REQUEST)]}) for _ in requests]


def _accept(clock: Clock, bodies: Sequence[bytes]) -> list[Entry]:
    decoder = msgspec.json.Decoder(Stream)
    sent = clock.take("decode a request", lambda: [decoder.decode(body).events for body in bodies])
    made = clock.take(
        "read timestamps, make events",
        lambda: [
            [
                MeterEvent(
                    _SCOPE.id,
                    one.identifier or "",
                    one.event_name,
                    read_timestamp(one.timestamp or 0),
                    _NOW,
                    one.payload,
                    None,
                    whole=False,
                )
                for one in some
            ]
            for some in sent
        ],
    )
    packed = clock.take("pack them", lambda: [journal.pack(some) for some in made])
    decoded = msgspec.msgpack.Decoder(list[Part])
    return clock.take(
        "read the journal",
        lambda: [
            Entry(1 + number * _REQUEST, decoded.decode(row.body), [])
            for number, row in enumerate(packed)
        ],
    )


def _judge(clock: Clock, entries: Sequence[Entry], combinations: Combinations) -> None:
    catalog = _catalog()
    events = clock.take("put columns together", lambda: journal.events_of(entries))
    clock.take("find who is named", lambda: events.named_by("stripe_customer_id"))
    accepted, _ = clock.take("judge", lambda: judge(events, catalog))
    admission = clock.take("combinations", lambda: Admission(combinations, accepted))
    clock.take("digests", lambda: Judged(accepted))
    clock.take("activity", lambda: gather(accepted.events, accepted.meters, "accepted"))
    rows = clock.take("rows of events", lambda: block.accepted(accepted, {_SCOPE.id: _SCOPE}))
    months = block.by_month(rows, "timestamp")
    slotted = clock.take("rows of slots", lambda: slots(months, catalog.meters, 0, 1))
    clock.take("pack events", lambda: block.pack("events", months))
    clock.take("pack slots", lambda: block.pack("usage_slots", slotted))
    for number in list(admission.uncertain):  # all are known from the first round on
        admission.refuse(number)


def _catalog() -> Catalog:
    meters = [
        Meter(
            id=f"mtr_{number}",
            scope=_SCOPE.id,
            event_name=f"event_{number}",
            display_name="",
            formula="sum",
            event_time_window=None,
            customer_key="stripe_customer_id",
            value_key="value",
            dimension_keys=("region", "model"),
            active=True,
            created=0,
            updated=0,
            deactivated_at=None,
        )
        for number in range(_METERS)
    ]
    return Catalog(
        meters={meter.id: meter for meter in meters},
        active={(meter.scope, meter.event_name): meter for meter in meters},
        archived={},
        customers=dict.fromkeys((_SCOPE.id, f"cus_{n:014}") for n in range(_CUSTOMERS)),
    )


if __name__ == "__main__":
    main()
