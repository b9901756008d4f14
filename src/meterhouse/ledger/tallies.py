"""The books: how many events were acknowledged, and what became of them.

`acknowledged = accepted + duplicate + rejected + pending` holds for every scope after every
commit; pending are the events that the journal still holds.
"""

import secrets
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse.ledger.dialect import upsert
from meterhouse.ledger.tables import tallies
from meterhouse.limits import TALLY_STRIPES
from meterhouse.metering.activity import ActivityLine

_STRIPE = secrets.randbelow(TALLY_STRIPES)  # of this process, where several share a ledger
_KEYS = ("scope", "outcome", "code", "stripe")


class Line(NamedTuple):
    """What is counted: a scope's events of one outcome; `code` only says why one was rejected."""

    scope: int
    outcome: str
    code: str = ""


_line = tuple(tallies.c[name] for name in Line._fields)


def of(activity: Iterable[ActivityLine]) -> dict[Line, int]:
    """Return what judged events add to the books."""
    counts: Counter[Line] = Counter()
    for one in activity:
        counts[Line(one.scope, one.outcome, one.code)] += one.events
    return dict(counts)


def add(connection: sa.Connection, counts: Mapping[Line, int]) -> None:
    """Add counts to the books, in an order that keeps those who do so from a deadlock."""
    dialect = connection.dialect.name
    stripe = 0 if dialect == "sqlite" else _STRIPE
    statement = upsert(dialect, tallies, _KEYS, ("events",))
    for line, events in sorted(counts.items()):
        connection.execute(statement, {**line._asdict(), "stripe": stripe, "events": events})


def read(connection: sa.Connection, scope: int | None = None) -> dict[Line, int]:
    """Return the books of a scope, or of all of them."""
    query = sa.select(*_line, sa.func.sum(tallies.c.events)).group_by(*_line)
    if scope is not None:
        query = query.where(tallies.c.scope == scope)
    return {Line(*line): int(events) for *line, events in connection.execute(query)}
