"""Judged: the events of a batch that would count, unless one is a duplicate or one too many.

They are kept as the columns in which they leave for the usage store, beside what deduplication asks
of each of them. An event is known by its number in the batch.
"""

from collections.abc import Iterable
from functools import cached_property

import numpy as np

from meterhouse.judging.deduplicate import Days
from meterhouse.metering.coded import NONE, Coded, Mask, Numbers
from meterhouse.metering.columns import Events
from meterhouse.metering.identifier import Claims
from meterhouse.metering.problem import Problem
from meterhouse.metering.validation import Accepted, Rejected


class Judged:
    """The `rows` of a batch, in the order of their positions.

    `digests` are those of their identifiers, None where an event was submitted alone: `alone` has
    those. `resent` are, by digest, the positions of the rejected events that are sent again.
    """

    def __init__(self, rows: Accepted) -> None:
        self.rows = rows
        digests = rows.events.digests
        self.alone = {
            number: digests[number] for number in np.flatnonzero(rows.events.alone).tolist()
        }
        self.digests: list[bytes | None] = [*digests]
        for number in self.alone:
            self.digests[number] = None
        resent = rows.events.resend_of
        self.resent = {
            digests[number]: int(resent[number])
            for number in np.flatnonzero(resent != NONE).tolist()
            if number not in self.alone
        }

    @cached_property
    def days(self) -> Days:
        """The UTC days on which they were received, counted from the epoch."""
        return self.rows.events.days

    def without(self, numbers: Iterable[int]) -> Mask:
        """Tell apart the others than some: True where an event is not among them."""
        mask = np.ones(len(self.digests), np.bool_)
        mask[list(numbers)] = False
        return mask

    def counting(self, counted: Mask) -> Accepted:
        """Return the events that count."""
        return self.rows if counted.all() else self.rows.take(np.flatnonzero(counted))

    def refused(self, refused: dict[int, Problem]) -> Rejected:
        """Return the events that do not, with what is wrong with each."""
        numbers = np.array([*refused], np.int64)
        problems = Coded(np.arange(len(numbers)), list(refused.values()))
        return Rejected(self.rows.events.take(numbers), self.rows.meters.take(numbers), problems)

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

    def _claims(self, digests: list[bytes], numbers: Numbers) -> Claims:
        positions = self.rows.events.positions[numbers]
        return Claims(digests, positions.tolist(), self.days[numbers].tolist())


def claims_alone(events: Events) -> Claims:
    """Return the claims that events made when they were submitted alone."""
    some = events.take(np.flatnonzero(events.alone))
    return Claims(some.digests, some.positions.tolist(), some.days.tolist())
