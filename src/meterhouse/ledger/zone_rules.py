"""Which rules of time zones were in use: so that a start, or a node, that has others is told."""

import sqlalchemy as sa

from meterhouse.ledger.tables import zone_rules


def use(connection: sa.Connection, version: str, now: int) -> str | None:
    """Note that a start uses a version; return the one that the start before used, if there was."""
    newest_first = zone_rules.c.used_at.desc(), zone_rules.c.version.desc()
    query = sa.select(zone_rules.c.version).order_by(*newest_first).limit(1)
    before: str | None = connection.execute(query).scalar()
    again = sa.update(zone_rules).where(zone_rules.c.version == version).values(used_at=now)
    if not connection.execute(again).rowcount:
        connection.execute(sa.insert(zone_rules).values(version=version, used_at=now))
    return before
