"""Deduplicate: of the events with one identifier, exactly one counts.

An event that was submitted alone claimed its identifier when it was acknowledged. The events of a
stream claim theirs here, in the order of their positions, and only those that count do: a rejected
event leaves its identifier free, so that it can be corrected and sent again, even in the same
batch. So a duplicate adds no combination of dimension values either.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse.ledger import identifiers
from meterhouse.ledger.identifiers import Claim
from meterhouse.metering.model import AcceptedEvent, RejectedEvent


class Deduplicated(NamedTuple):
    """Events that count, duplicates, events that are rejected, and what changes among the claims.

    `expired` are the positions of claims that hold no longer and stand in the way of `claims`.
    """

    kept: list[AcceptedEvent]
    duplicates: list[AcceptedEvent]
    rejected: list[RejectedEvent]
    claims: list[tuple[int, int, str, int]]
    expired: list[int]


def deduplicate(
    connection: sa.Connection,
    accepted: Sequence[AcceptedEvent],
    window: int,
    refuse: Callable[[AcceptedEvent], RejectedEvent | None],
) -> Deduplicated:
    """Split events, which stand in the order of their positions; `window` is in milliseconds.

    `refuse` has the last word about an event that is no duplicate.
    """
    known = _find(connection, accepted)
    result = Deduplicated([], [], [], [], [])
    claims: dict[tuple[int, str], tuple[int, int, str, int]] = {}  # the last one holds
    for one in accepted:
        event = one.event
        alone = event.meter is not None  # it was submitted alone and holds its claim
        name = (event.scope, event.identifier)
        claim = None if alone else known.get(name)
        if claim is not None and claim.received_at >= event.received_at - window:
            result.duplicates.append(one)
            continue
        rejected = refuse(one)
        if rejected is not None:
            result.rejected.append(rejected)
            continue
        result.kept.append(one)
        if alone:
            continue
        if claim is not None:
            result.expired.append(claim.position)
        known[name] = Claim(one.position, event.received_at)
        claims[name] = (one.position, *name, event.received_at)
    result.claims.extend(claims.values())
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
