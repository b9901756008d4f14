"""What this ledger and its usage store are known by, and what the one counted into the other.

A ledger gets its identity with its tables, a usage store the same one at its first start with the
ledger. Who opens both compares (`engine.pair`).
"""

import msgspec
import sqlalchemy as sa

from meterhouse.ledger.tables import adjustments, store_identity, tallies


class Identity(msgspec.Struct, frozen=True):
    """The ledger's side of a pair.

    `awaited` is the identity of a usage store that shall take over ours: empty for one that is new;
    None once it has. `missing_events` is how many more rows of events the ledger counted than the
    usage store has, which an operator has put up with.
    """

    identity: str
    awaited: str | None
    missing_events: int


def read(connection: sa.Connection) -> Identity:
    """Return the identity, which was made with the ledger's tables."""
    columns = (store_identity.c[name] for name in Identity.__struct_fields__)
    return Identity(*connection.execute(sa.select(*columns)).one())


def save(connection: sa.Connection, identity: Identity) -> None:
    """Keep an identity instead of the one before."""
    connection.execute(sa.update(store_identity).values(**msgspec.structs.asdict(identity)))


def counted_events(connection: sa.Connection) -> int:
    """Return how many rows of events the ledger has ever owed the usage store.

    That is one for each accepted event, and one for each cancellation.
    """
    accepted = sa.select(sa.func.coalesce(sa.func.sum(tallies.c.events), 0)).where(
        tallies.c.outcome == "accepted"
    )
    cancelled = (
        sa.select(sa.func.count())
        .select_from(adjustments)
        .where(adjustments.c.status == "complete")
    )
    return int(connection.execute(accepted).scalar_one()) + int(
        connection.execute(cancelled).scalar_one()
    )
