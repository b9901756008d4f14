"""Deduplicate: of the events with one identifier, exactly one counts.

An event that was submitted alone claimed its identifier when it was acknowledged. The events of a
stream claim theirs here, in the order of their positions, and only those that count do: a rejected
event leaves its identifier free, so that it can be corrected and sent again.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse.ledger import identifiers
from meterhouse.ledger.identifiers import Claim
from meterhouse.metering.model import AcceptedEvent


class Deduplicated(NamedTuple):
    """Events that may count and events that are duplicates, and what changes among the claims.

    `expired` are the positions of claims that hold no longer and stand in the way of `claims`.
    """

    kept: list[AcceptedEvent]
    duplicates: list[AcceptedEvent]
    claims: list[tuple[int, int, str, int]]
    expired: list[int]

    def without(self, positions: set[int]) -> "Deduplicated":
        """Return the same without the claims of the events at `positions`, which do not count."""
        if not positions:
            return self
        return self._replace(claims=[row for row in self.claims if row[0] not in positions])


def deduplicate(
    connection: sa.Connection, accepted: Sequence[AcceptedEvent], window: int
) -> Deduplicated:
    """Split events, which stand in the order of their positions; `window` is in milliseconds."""
    known = _find(connection, accepted)
    result = Deduplicated([], [], [], [])
    for one in accepted:
        event = one.event
        if event.meter is not None:  # it was submitted alone and holds its claim
            result.kept.append(one)
            continue
        name = (event.scope, event.identifier)
        claim = known.get(name)
        if claim is not None and claim.received_at > event.received_at - window:
            result.duplicates.append(one)
            continue
        if claim is not None:
            result.expired.append(claim.position)
        known[name] = Claim(one.position, event.received_at)
        result.kept.append(one)
        result.claims.append((one.position, *name, event.received_at))
    return result


def write(connection: sa.Connection, result: Deduplicated) -> None:
    """Record the claims.

    Raises `IntegrityError` when an identifier was claimed since; then the events must be split
    anew.
    """
    if result.expired:
        identifiers.release(connection, result.expired)
    identifiers.claim(connection, result.claims)


def _find(
    connection: sa.Connection, accepted: Sequence[AcceptedEvent]
) -> dict[tuple[int, str], Claim]:
    wanted: dict[int, list[str]] = defaultdict(list)
    for one in accepted:
        if one.event.meter is None:
            wanted[one.event.scope].append(one.event.identifier)
    return {
        (scope, name): claim
        for scope, names in wanted.items()
        for name, claim in identifiers.find(connection, scope, names).items()
    }
