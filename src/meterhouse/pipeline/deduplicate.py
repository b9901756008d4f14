"""Which of the accepted events are duplicates.

The rule: of all events of one scope and identifier, in the order of their positions, the first that
counts claims the identifier, and every later one within the deduplication window is a duplicate.
An event that was submitted alone claimed its identifier when it was acknowledged. An event that is
rejected claims nothing, so it can be corrected and sent again, even in the same batch. So a
duplicate adds no combination of dimension values either.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from meterhouse.metering.identifier import Claims
from meterhouse.metering.model import AcceptedEvent, RejectedEvent
from meterhouse.metering.window import MILLISECONDS

_DAY = MILLISECONDS["day"]


class Deduplicated(NamedTuple):
    """Events that count, duplicates, events that are rejected, and the new claims."""

    kept: list[AcceptedEvent]
    duplicates: list[AcceptedEvent]
    rejected: list[RejectedEvent]
    claims: Claims


def deduplicate(
    accepted: Sequence[AcceptedEvent],
    digests: Sequence[bytes | None],
    taken: Mapping[bytes, int],
    days: int,
    refuse: Callable[[int, AcceptedEvent], RejectedEvent | None],
) -> Deduplicated:
    """Split events, which stand in the order of their positions.

    `digests` are those of their identifiers, None where an event was submitted alone and holds its
    claim; `taken` are the days of the claims on any of them, and a claim holds for `days` after
    its own. `refuse` has the last word about an event, by its number, that is no duplicate.
    """
    kept: list[AcceptedEvent] = []
    duplicates: list[AcceptedEvent] = []
    rejected: list[RejectedEvent] = []
    claims = Claims([], [], [])
    claimed = dict(taken)
    for index, (one, digest) in enumerate(zip(accepted, digests, strict=True)):
        day = one.event.received_at // _DAY
        if digest is not None and digest in claimed and claimed[digest] >= day - days:
            duplicates.append(one)
            continue
        refused = refuse(index, one)
        if refused is not None:
            rejected.append(refused)
            continue
        kept.append(one)
        if digest is not None:
            claimed[digest] = day
            claims.digests.append(digest)
            claims.positions.append(one.position)
            claims.days.append(day)
    return Deduplicated(kept, duplicates, rejected, claims)
