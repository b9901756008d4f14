"""Activity: the books by time of receipt, meter and outcome.

Lines are added in the transaction that judges their events, together with the tallies: what a
scope's lines add up to is what its tallies tell, less what was over its time.
"""

from collections.abc import Sequence
from operator import itemgetter
from typing import Literal, NamedTuple

import msgspec
import sqlalchemy as sa

from meterhouse.ledger.dialect import upsert
from meterhouse.ledger.tables import activity, scopes
from meterhouse.metering.activity import ActivityLine

Group = Literal["code", "meter", "outcome"]

_KEYS = ("scope", "window_start", "meter", "outcome", "code")
_expired = (
    sa.select(*(activity.c[name] for name in _KEYS))
    # Each scope's oldest lines are found by the key; the instant alone would read the whole table.
    .where(activity.c.scope.in_(sa.select(scopes.c.id)))
    .where(activity.c.window_start < sa.bindparam("before"))
    .limit(sa.bindparam("rows"))
)
_expire = sa.delete(activity).where(sa.tuple_(*(activity.c[name] for name in _KEYS)).in_(_expired))


class Question(NamedTuple):
    """What is asked of the lines whose windows begin in `[start, end)`.

    `window` is the length of the windows of the answer, None for a single one. `groups` are told
    apart; all that is None leaves nothing out.
    """

    scope: int
    start: int
    end: int
    window: int | None = None
    groups: tuple[Group, ...] = ()
    meter: str | None = None
    outcome: str | None = None


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """Events of one window and group; what was not told apart is None.

    `meter` is empty where none was found, `code` unless the events were rejected.
    """

    start: int
    events: int
    last_received_at: int
    meter: str | None = None
    outcome: str | None = None
    code: str | None = None


def add(connection: sa.Connection, lines: Sequence[ActivityLine]) -> None:
    """Add what a batch came to, in an order that keeps those who do so from a deadlock."""
    if lines:
        statement = upsert(
            connection.dialect.name, activity, _KEYS, ("events",), (), ("last_received_at",)
        )
        rows = [msgspec.structs.asdict(line) for line in lines]
        connection.execute(statement, sorted(rows, key=itemgetter(*_KEYS)))


def count(connection: sa.Connection, question: Question, rows_max: int) -> list[Count]:
    """Answer a question, in the order of windows and groups, with `rows_max` rows at most."""
    start: sa.ColumnElement[int] = sa.literal_column(str(question.start), sa.BigInteger())
    if question.window is not None:
        begun = activity.c.window_start % sa.literal_column(str(question.window))
        start = activity.c.window_start - begun
    groups = [activity.c[name] for name in question.groups]
    query = (
        sa.select(
            start.label("start"),
            *groups,
            sa.func.sum(activity.c.events).label("events"),
            sa.func.max(activity.c.last_received_at).label("last_received_at"),
        )
        .where(
            activity.c.scope == question.scope,
            activity.c.window_start >= question.start,
            activity.c.window_start < question.end,
        )
        .group_by("start", *groups)
        .order_by("start", *groups)
        .limit(rows_max)
    )
    if question.meter is not None:
        query = query.where(activity.c.meter == question.meter)
    if question.outcome is not None:
        query = query.where(activity.c.outcome == question.outcome)
    return [
        Count(**{**row, "events": int(row["events"])})
        for row in connection.execute(query).mappings()
    ]


def expire(connection: sa.Connection, before: int, rows_max: int) -> int:
    """Delete up to `rows_max` of the lines of windows from before an instant; return how many."""
    return connection.execute(_expire, {"before": before, "rows": rows_max}).rowcount
