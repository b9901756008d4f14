"""The books: how many events were acknowledged, and what became of them.

`acknowledged = accepted + duplicate + rejected + pending` holds for every scope after every
commit; pending are the events that the journal still holds.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse.ledger.dialect import upsert
from meterhouse.ledger.tables import tallies
from meterhouse.metering.activity import ActivityLine


class Line(NamedTuple):
    """What is counted: a scope's events of one outcome; `code` only says why one was rejected."""

    scope: int
    outcome: str
    code: str = ""


def of(activity: Iterable[ActivityLine]) -> dict[Line, int]:
    """Return what judged events add to the books."""
    counts: Counter[Line] = Counter()
    for one in activity:
        counts[Line(one.scope, one.outcome, one.code)] += one.events
    return dict(counts)


def add(connection: sa.Connection, counts: Mapping[Line, int]) -> None:
    """Add counts to the books."""
    statement = upsert(connection.dialect.name, tallies, Line._fields, ("events",))
    for line, events in counts.items():
        connection.execute(statement, line._asdict() | {"events": events})


def read(connection: sa.Connection, scope: int | None = None) -> dict[Line, int]:
    """Return the books of a scope, or of all of them."""
    query = sa.select(tallies)
    if scope is not None:
        query = query.where(tallies.c.scope == scope)
    return {Line(row.scope, row.outcome, row.code): row.events for row in connection.execute(query)}
