"""Which rules of time zones were in use: so that a start, or a node, that has others is told."""

import sqlalchemy as sa

from meterhouse.ledger.tables import zone_rules


def use(connection: sa.Connection, version: str) -> str | None:
    """Note that a start uses a version; return the one that the start before used, if there was."""
    before: str | None = connection.execute(sa.select(zone_rules.c.version)).scalar()
    if before is None:
        connection.execute(sa.insert(zone_rules).values(id=1, version=version))
    elif before != version:
        connection.execute(sa.update(zone_rules).values(version=version))
    return before
