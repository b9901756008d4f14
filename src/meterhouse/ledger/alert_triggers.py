"""Triggers: which step of an alert was reached by whom, in which period.

- There is one of each at most; the database itself sees to it.
- Triggers are appended, never changed.
"""

from collections.abc import Collection
from decimal import Decimal
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from meterhouse.billing.alert import Trigger
from meterhouse.ledger.dialect import any_of, insert_missing
from meterhouse.ledger.paging import read_page
from meterhouse.ledger.tables import alert_triggers
from meterhouse.wire.page import PageParams

_triggers = sa.select(*(alert_triggers.c[name] for name in Trigger.__struct_fields__))


class Reached(NamedTuple):
    """A step that is reached once: of an alert, by a customer, in the period that begins then."""

    alert: str
    customer: str
    period_start: int
    step: int


_reached = sa.select(*(alert_triggers.c[name] for name in Reached._fields)).where(
    any_of(alert_triggers.c.alert, "alerts"), any_of(alert_triggers.c.customer, "customers")
)


def known(connection: sa.Connection, wanted: Collection[Reached]) -> set[Reached]:
    """Return those of the `wanted` that were reached before."""
    asked = {
        "alerts": list({one.alert for one in wanted}),
        "customers": list({one.customer for one in wanted}),
    }
    found = {Reached(*row) for row in connection.execute(_reached, asked)}
    return found.intersection(wanted)


def put(connection: sa.Connection, trigger: Trigger) -> bool:
    """Store a trigger; False where there is one of the same step, customer and period."""
    row = msgspec.structs.asdict(trigger) | {
        "gte": format(trigger.gte, "f"),
        "value": format(trigger.value, "f"),
    }
    statement = insert_missing(connection.dialect.name, alert_triggers)
    return connection.execute(statement.returning(alert_triggers.c.seq), row).first() is not None


def list_triggers(
    connection: sa.Connection, alert: str, page: PageParams, customer: str | None = None
) -> tuple[list[Trigger], bool] | None:
    """Return a page of the triggers of an alert, newest first, and whether there are more.

    Returns None when the cursor of `page` names none of them.
    """
    own = alert_triggers.c.alert == alert
    query = _triggers
    if customer is not None:
        query = query.where(alert_triggers.c.customer == customer)
    found = read_page(connection, alert_triggers, query, None, page, own=own)
    return ([_trigger(row) for row in found.rows], found.has_more) if found else None


def _trigger(row: sa.RowMapping) -> Trigger:
    return Trigger(**{**row, "gte": Decimal(row["gte"]), "value": Decimal(row["value"])})
