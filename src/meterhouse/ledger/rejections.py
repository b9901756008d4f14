"""Rejected events that no error report tells of yet.

A line is added in the transaction that judges its events, and deleted in the one that emits their
report. So every rejected event is counted in exactly one report, or in a line that waits here.

Each partition of the journal has lines of its own, so those who judge do not wait for each other.
Who adds to lines keeps them from being taken meanwhile, and who takes them from being added to.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.ledger.dialect import any_of, upsert
from meterhouse.ledger.tables import notifications, rejections
from meterhouse.metering import report
from meterhouse.metering.report import RejectionLine, Sample

Key = tuple[int, str, int, str]

_KEYS = ("scope", "meter", "window_start", "code", "partition")
_ORDER = tuple(rejections.c[name] for name in _KEYS)
_COLUMNS = tuple(rejections.c[name] for name in RejectionLine.__struct_fields__)
_lines = sa.select(*_COLUMNS)
_near = (
    _lines.where(
        any_of(rejections.c.scope, "scopes"),
        any_of(rejections.c.meter, "meters"),
        any_of(rejections.c.window_start, "windows"),
        rejections.c.partition == sa.bindparam("of_partition"),
    )
    .order_by(*_ORDER)
    .with_for_update()
)
_due_window = sa.select(sa.func.min(rejections.c.window_start)).where(
    sa.or_(
        rejections.c.window_start <= sa.bindparam("newest"),
        rejections.c.window_start > sa.bindparam("latest"),
    )
)
_of_window = (
    sa.select(rejections.c.scope, rejections.c.meter)
    .where(rejections.c.window_start == sa.bindparam("window"))
    .distinct()
    .order_by(rejections.c.scope, rejections.c.meter)
    .limit(sa.bindparam("reports"))
)
_waiting_by_scope = sa.select(rejections.c.scope, sa.func.sum(rejections.c.events)).group_by(
    rejections.c.scope
)
_reported_by_scope = (
    sa.select(
        notifications.c.scope,
        sa.func.sum(notifications.c.body["reason"]["error_count"].as_integer()),
    )
    .where(notifications.c.type.in_(report.TYPES))
    .group_by(notifications.c.scope)
)
_report = (
    sa.select(rejections.c.partition, *_COLUMNS)
    .where(
        rejections.c.scope == sa.bindparam("wanted_scope"),
        rejections.c.meter == sa.bindparam("wanted_meter"),
        rejections.c.window_start == sa.bindparam("window"),
    )
    .order_by(*_ORDER)
    .with_for_update()
)
_delete = sa.delete(rejections).where(
    *(rejections.c[name] == sa.bindparam(f"wanted_{name}") for name in _KEYS)
)


def add(connection: sa.Connection, lines: Sequence[RejectionLine], partition: int = 0) -> None:
    """Add rejected events of a partition to the lines that wait for their report."""
    if not lines:
        return
    lines = sorted(lines, key=_key)
    waiting = {_key(line): line for line in _waiting(connection, lines, partition)}
    statement = upsert(connection.dialect.name, rejections, _KEYS, ("events",), ("samples",))
    rows = []
    for line in lines:
        before = waiting.get(_key(line))
        samples = (before.samples if before else []) + line.samples
        row = msgspec.structs.asdict(line) | {"partition": partition}
        row["samples"] = msgspec.to_builtins(samples[: limits.REPORT_SAMPLE_EVENTS_MAX])
        rows.append(row)
    connection.execute(statement, rows)


def due_window(connection: sa.Connection, newest: int, latest: int) -> int | None:
    """Return the start of the oldest window that is due for reports, None when none is.

    Those are due that begin at `newest` or before; and those after `latest`, which a clock that was
    ahead has brought about.
    """
    start: int | None = connection.execute(
        _due_window, {"newest": newest, "latest": latest}
    ).scalar_one()
    return start


def take(connection: sa.Connection, window: int, reports_max: int) -> list[list[RejectionLine]]:
    """Remove the lines of up to `reports_max` reports of one window; return those of each.

    An empty answer tells that no line of the window is left.
    """
    found = connection.execute(_of_window, {"window": window, "reports": reports_max}).all()
    taken = (_taken(connection, scope, meter, window) for scope, meter in found)
    return [lines for lines in taken if lines]


def accounted(connection: sa.Connection) -> dict[int, int]:
    """Count the rejected events of each scope that reports tell of or that wait for one.

    Reports are kept for `NOTIFICATIONS_DAYS`.
    """
    counted: Counter[int] = Counter()
    for query in (_waiting_by_scope, _reported_by_scope):
        for scope, events in connection.execute(query):
            counted[scope] += int(events)
    return dict(counted)


def _taken(connection: sa.Connection, scope: int, meter: str, window: int) -> list[RejectionLine]:
    wanted = {"wanted_scope": scope, "wanted_meter": meter, "window": window}
    rows = connection.execute(_report, wanted).mappings().all()
    # Those that come meanwhile are left: who adds them may wait for one of these.
    for row in rows:
        connection.execute(_delete, {f"wanted_{name}": row[name] for name in _KEYS})
    return report.merged(map(_line, rows))


def _waiting(
    connection: sa.Connection, lines: Sequence[RejectionLine], partition: int
) -> list[RejectionLine]:
    """Return the lines to which `lines` may have to be added; nobody takes them meanwhile."""
    wanted = {
        "scopes": list({line.scope for line in lines}),
        "meters": list({line.meter for line in lines}),
        "windows": list({line.window_start for line in lines}),
        "of_partition": partition,
    }
    return [_line(row) for row in connection.execute(_near, wanted).mappings()]


def _line(row: sa.RowMapping) -> RejectionLine:
    values: dict[str, Any] = {name: row[name] for name in RejectionLine.__struct_fields__}
    return RejectionLine(**values | {"samples": msgspec.convert(row["samples"], list[Sample])})


def _key(line: RejectionLine) -> Key:
    return line.scope, line.meter, line.window_start, line.code
