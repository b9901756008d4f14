"""What the last start was set up with, so that the next one can tell what is different.

Secret settings are not among them: keys that are made have entries of their own, and a URL that
leads to another ledger is not known to this one.
"""

from collections.abc import Mapping

import sqlalchemy as sa

from meterhouse.ledger.dialect import upsert
from meterhouse.ledger.tables import known_settings


def use(connection: sa.Connection, settings: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Note what a start is set up with; return what was otherwise before, and what it is now."""
    rows = connection.execute(sa.select(known_settings.c.name, known_settings.c.value))
    before: dict[str, str] = {row.name: row.value for row in rows}
    statement = upsert(connection.dialect.name, known_settings, ("name",), (), ("value",))
    given = [{"name": name, "value": value} for name, value in settings.items()]
    connection.execute(statement, given)
    return {
        name: (before[name], value)
        for name, value in settings.items()
        if before.get(name, value) != value
    }
