"""Judged: the events of a batch that would count, unless one is a duplicate or one too many.

A batch is tens of thousands of events. As objects they have fallen out of the processor's caches
before the first is looked at again, which costs more than all that is done with them. So they are
taken up some at a time, and kept as the columns in which they leave for the usage store, beside
what deduplication asks of each of them. An event is known by its number in the batch.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]

from meterhouse.judging.deduplicate import Days
from meterhouse.metering.activity import Arrival
from meterhouse.metering.identifier import Claims, identifier_digest
from meterhouse.metering.model import AcceptedEvent, Scope
from meterhouse.usage import block

Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_ARRIVAL = ["account", "livemode", "received_at", "meter"]


class Judged:
    """Takes up events in the order of their positions; asked for `rows`, it takes up no more.

    `digests` are those of their identifiers, None where an event was submitted alone: `alone` has
    those. `resent` are, by digest, the positions of the rejected events that are sent again.
    """

    def __init__(self, scopes: Mapping[int, Scope]) -> None:
        self.digests: list[bytes | None] = []
        self.alone: dict[int, bytes] = {}
        self.resent: dict[bytes, int] = {}
        self._scopes = scopes
        self._batches = [block.accepted([], {})]

    def add(self, accepted: Sequence[AcceptedEvent]) -> None:
        """Take up events; what is kept of them is not the objects."""
        self._batches.append(block.accepted(accepted, self._scopes))
        for number, one in enumerate(accepted, len(self.digests)):
            event = one.event
            digest = identifier_digest(event.scope, event.identifier)
            if event.meter is not None:
                self.alone[number] = digest
                self.digests.append(None)
                continue
            self.digests.append(digest)
            if event.resend_of is not None:
                self.resent[digest] = event.resend_of

    @cached_property
    def rows(self) -> pa.RecordBatch:
        """All of them, as the usage store keeps them."""
        return block.joined(self._batches)

    @cached_property
    def days(self) -> Days:
        """The UTC days on which they were received, counted from the epoch."""
        return block.instants(self.rows, "received_at") // block.DAY_MILLISECONDS

    def without(self, numbers: Iterable[int]) -> Mask:
        """Tell apart the others than some: True where an event is not among them."""
        mask = np.ones(len(self.digests), np.bool_)
        mask[list(numbers)] = False
        return mask

    def claims(self, counted: Mask) -> tuple[Claims, Claims]:
        """Return the claims of events that count: those they make now, and those made alone."""
        new = [
            digest
            for digest, counts in zip(self.digests, counted.tolist(), strict=True)
            if counts and digest is not None
        ]
        old = [number for number in self.alone if counted[number]]
        return (
            self._claims(new, np.flatnonzero(counted & self.without(self.alone))),
            self._claims([self.alone[number] for number in old], np.array(old, np.int64)),
        )

    def arrivals(self, rows: pa.RecordBatch) -> dict[Arrival, int]:
        """Count some of the rows by scope, instant of receipt and meter."""
        scopes = {(scope.account, scope.livemode): scope.id for scope in self._scopes.values()}
        table = pa.table(
            {name: rows[name] for name in _ARRIVAL}
            | {"received_at": rows["received_at"].cast(pa.int64())}
        )
        groups = table.group_by(_ARRIVAL, use_threads=False).aggregate([([], "count_all")])
        columns = [groups[name].to_pylist() for name in (*_ARRIVAL, "count_all")]
        return {
            (scopes[account, livemode], received_at, meter): events
            for account, livemode, received_at, meter, events in zip(*columns, strict=True)
        }

    def _claims(self, digests: list[bytes], numbers: Numbers) -> Claims:
        positions = self.rows["position"].to_numpy()[numbers]
        return Claims(digests, positions.tolist(), self.days[numbers].tolist())
