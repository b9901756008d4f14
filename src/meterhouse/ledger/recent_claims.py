"""Identifiers that single events have taken of late, where several processes take events.

A claim is made in the transaction that acknowledges its event, so of two processes that take the
same identifier at once one hears that it is taken. It stays until the usage store has the event,
which is asked from then on.
"""

from collections.abc import Iterable

import sqlalchemy as sa

from meterhouse.ledger.dialect import insert_and_return
from meterhouse.ledger.tables import recent_claims

_expired = (
    sa.select(recent_claims.c.digest)
    .where(recent_claims.c.created < sa.bindparam("before"))
    .order_by(recent_claims.c.created)
    .limit(sa.bindparam("rows"))
)
_expire = sa.delete(recent_claims).where(recent_claims.c.digest.in_(_expired))


def take(connection: sa.Connection, digests: Iterable[bytes], now: int) -> set[bytes]:
    """Claim identifiers; return the digests of those that others have claimed before.

    Who claims one of them at the same time waits until we commit. `now` is of the database's clock.
    """
    wanted = sorted(set(digests))
    rows = [(digest, now) for digest in wanted]
    mine = insert_and_return(connection, recent_claims, ("digest", "created"), rows)
    return set(wanted).difference(digest for digest, _ in mine)


def expire(connection: sa.Connection, before: int, rows_max: int) -> int:
    """Delete up to `rows_max` of the claims from before an instant; return how many went."""
    return connection.execute(_expire, {"before": before, "rows": rows_max}).rowcount
