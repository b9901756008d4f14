"""Partitions: the parts of the journal, each of which one process at a time judges and stores.

An identifier's events are all in one partition (`metering.identifier.partition_of`). So their
number is fixed once the first event was acknowledged.

A batch is of all partitions of its owner that have something. Its blocks are kept under the number
of one of them, and the others point there: whoever has that one brings the blocks to the usage
store, whoever has another one waits until they are there.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from meterhouse.ledger import journal, leases
from meterhouse.ledger.dialect import any_of, insert_missing
from meterhouse.ledger.tables import partitions


class Partition(NamedTuple):
    """A partition, and how far it is.

    `batch` is the number of the newest batch that was committed. All that was committed up to
    `as_of`, by the database's clock, is stored. `backlog_events` were waiting then.
    """

    number: int
    batch: int
    as_of: int
    backlog_events: int


_began = sa.select(
    sa.cast(sa.func.floor(sa.extract("epoch", sa.func.now()) * 1_000), sa.BigInteger)
)
_columns = tuple(partitions.c[name] for name in Partition._fields)
_of_number = partitions.c.number == sa.bindparam("wanted")
_among = any_of(partitions.c.number, "numbers")
_batches = sa.select(partitions.c.number, partitions.c.batch).where(_among)
_next_batches = (
    sa.update(partitions)
    .where(_among)
    .values(batch=partitions.c.batch + 1, kept_under=sa.bindparam("under"))
    .returning(partitions.c.number, partitions.c.batch)
)
_kept_under = sa.select(partitions.c.number, partitions.c.kept_under).where(_among)
_part = sa.update(partitions).where(_among).values(kept_under=partitions.c.number)
_new, _old = sa.bindparam("stored_until", type_=sa.BigInteger), partitions.c.as_of
_rest = sa.update(partitions).where(_of_number).values(rest=sa.bindparam("epoch"))
_publish = (
    sa.update(partitions)
    .where(_of_number)
    .values(as_of=sa.case((_new > _old, _new), else_=_old), backlog_events=sa.bindparam("backlog"))
)


def provision(connection: sa.Connection, number: int) -> int:
    """Let there be so many partitions, if no event was acknowledged yet; return how many there are.

    Where several processes start at once, the first decides.
    """
    # The first row is there from the beginning.
    connection.execute(
        sa.select(partitions.c.number).where(_of_number).with_for_update(), {"wanted": 0}
    )
    if journal.last_position(connection) == 0 and count(connection) == 1:
        new = [Partition(one, 0, 0, 0)._asdict() for one in range(1, number)]
        rows = [row | {"kept_under": row["number"]} for row in new]
        if rows:
            connection.execute(insert_missing(connection.dialect.name, partitions), rows)
    return count(connection)


def count(connection: sa.Connection) -> int:
    """Return how many partitions there are."""
    number: int = connection.execute(
        sa.select(sa.func.count()).select_from(partitions)
    ).scalar_one()
    return number


def read(connection: sa.Connection) -> list[Partition]:
    """Return every partition, by its number."""
    rows = connection.execute(sa.select(*_columns).order_by(partitions.c.number))
    return [Partition(*row) for row in rows]


def stored_until(connection: sa.Connection) -> int:
    """Return up to when, by the database's clock, all that was committed is stored."""
    instant: int = connection.execute(sa.select(sa.func.min(partitions.c.as_of))).scalar_one()
    return instant


def instant(connection: sa.Connection) -> int:
    """Return when a transaction began, by the database's clock and rounded down, in ms.

    Where it is asked first in one that reads, everything that was committed before is seen.
    """
    if connection.dialect.name == "sqlite":
        return leases.now(connection)
    began: int = connection.execute(_began).scalar_one()
    return began


def last_batches(connection: sa.Connection, numbers: Collection[int]) -> dict[int, int]:
    """Return the number of the newest batch that is committed of each of some partitions."""
    rows = connection.execute(_batches, {"numbers": list(numbers)})
    return {row.number: row.batch for row in rows}


def next_batches(connection: sa.Connection, numbers: Collection[int], under: int) -> dict[int, int]:
    """Count a batch of some partitions that is being committed; return its number in each of them.

    Its blocks are kept under one of them.
    """
    values = {"numbers": list(numbers), "under": under}
    return {row.number: row.batch for row in connection.execute(_next_batches, values)}


def kept_under(connection: sa.Connection, numbers: Collection[int]) -> dict[int, int]:
    """Return under which partition the blocks of the newest batch are kept, for some of them."""
    rows = connection.execute(_kept_under, {"numbers": list(numbers)})
    return {row.number: row.kept_under for row in rows}


def part(connection: sa.Connection, numbers: Collection[int]) -> None:
    """Let nothing of some partitions be kept under another one: all of it is stored."""
    connection.execute(_part, {"numbers": list(numbers)})


def number_after(connection: sa.Connection, batches: Mapping[int, int]) -> None:
    """Give no batch a number up to these any more, by partition."""
    for number, batch in sorted(batches.items()):
        connection.execute(
            sa.update(partitions)
            .where(partitions.c.number == number, partitions.c.batch < batch)
            .values(batch=batch)
        )


def publish(connection: sa.Connection, told: Sequence[tuple[int, int, int]]) -> None:
    """Tell of partitions, by number, until when all that was committed is stored, and what waits.

    That is an instant of the database's clock, and a number of events.
    """
    names = ("wanted", "stored_until", "backlog")
    connection.execute(_publish, [dict(zip(names, one, strict=True)) for one in told])


def rest(connection: sa.Connection, number: int, epoch: int) -> None:
    """Tell that a partition stands still in an epoch of `processing.stillness`."""
    connection.execute(_rest, {"wanted": number, "epoch": epoch})


def without_rest(connection: sa.Connection, epoch: int) -> list[int]:
    """Return the partitions that do not stand still in an epoch."""
    query = sa.select(partitions.c.number).where(partitions.c.rest != epoch)
    return list(connection.scalars(query.order_by(partitions.c.number)))
