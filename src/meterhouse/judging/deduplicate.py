"""Which of the accepted events are duplicates.

The rule: of all events of one scope and identifier, in the order of their positions, the first that
counts claims the identifier, and every later one within the deduplication window is a duplicate.
An event that was submitted alone claimed its identifier when it was acknowledged. An event that is
rejected claims nothing, so it can be corrected and sent again, even in the same batch. So a
duplicate adds no combination of dimension values either.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from meterhouse.judging.dimension import Admission
from meterhouse.metering.problem import Problem

Days = npt.NDArray[np.int64]  # counted from the epoch


class Deduplicated(NamedTuple):
    """What does not count among the events of a batch, by their numbers; the others do."""

    duplicates: list[int]
    refused: dict[int, Problem]


def deduplicate(
    digests: Sequence[bytes | None],
    received: Days,
    taken: Mapping[bytes, int],
    days: int,
    admission: Admission,
) -> Deduplicated:
    """Tell duplicates apart among events, which stand in the order of their positions.

    `digests` are those of their identifiers, None where an event was submitted alone and holds its
    claim; `received` are the days of their receipt; `taken` are the days of the claims on any of
    the digests, and a claim holds for `days` after its own. `admission` has the last word about an
    event that is no duplicate. Few events need a thought: those whose identifier is taken or comes
    twice, and those that admission is not certain of.
    """
    contested = _twice(digests) | taken.keys()
    uncertain = set(admission.uncertain)
    if contested:
        uncertain.update(number for number, digest in enumerate(digests) if digest in contested)
    duplicates: list[int] = []
    refused: dict[int, Problem] = {}
    claimed = dict(taken)
    for number in sorted(uncertain):
        digest, day = digests[number], int(received[number])
        if digest is not None and digest in claimed and claimed[digest] >= day - days:
            duplicates.append(number)
            continue
        problem = admission.refuse(number)
        if problem is not None:
            refused[number] = problem
        elif digest is not None:
            claimed[digest] = day
    return Deduplicated(duplicates, refused)


def _twice(digests: Sequence[bytes | None]) -> set[bytes]:
    """Return the digests that are there more than once."""
    seen = set(digests)
    seen.discard(None)
    if len(seen) == len(digests) - digests.count(None):
        return set()
    counts = Counter(digests)
    return {digest for digest, count in counts.items() if count > 1 and digest is not None}
