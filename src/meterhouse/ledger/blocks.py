"""Blocks: judged work on its way to the usage store.

A block is the very bytes that are inserted, kept from the transaction that judged them until the
usage store has them. After a crash the same bytes are inserted unless the usage store has them
already: nothing is judged twice, nothing can come out differently.
"""

from collections.abc import Collection, Sequence

import msgspec
import sqlalchemy as sa

from meterhouse.ledger.dialect import any_of
from meterhouse.ledger.tables import blocks


class Block(msgspec.Struct, frozen=True):
    """One insert: a table of the usage store, a token, and an Arrow stream of `rows` rows.

    It is kept under one `partition` of those that its batch is of (`ledger.partitions`).
    """

    token: str
    destination: str
    rows: int
    body: bytes
    partition: int = 0


_under = any_of(blocks.c.partition, "partitions")


def batch_of(token: str) -> str:
    """Return what the tokens of all blocks of a batch begin with, and those of no other."""
    return token.rpartition("-")[0]


def put(connection: sa.Connection, new: Sequence[Block]) -> None:
    """Keep blocks until they are released."""
    if new:
        connection.execute(sa.insert(blocks), [msgspec.structs.asdict(block) for block in new])


def read(
    connection: sa.Connection,
    destination: str | None = None,
    partitions: Collection[int] | None = None,
) -> list[Block]:
    """Return the blocks that are kept, oldest first: all, or those for one `destination`.

    Or those that are kept under some `partitions`.
    """
    columns = (blocks.c[name] for name in Block.__struct_fields__)
    kept = sa.select(*columns).order_by(blocks.c.seq)
    if partitions is not None:
        kept = kept.where(_under)
    if destination is not None:
        kept = kept.where(blocks.c.destination == destination)
    values = {} if partitions is None else {"partitions": list(partitions)}
    return [Block(*row) for row in connection.execute(kept, values)]


def tokens(connection: sa.Connection, partitions: Collection[int] | None = None) -> list[str]:
    """Return the tokens of all blocks that are kept, or of those under some `partitions`."""
    kept = sa.select(blocks.c.token)
    if partitions is None:
        return list(connection.execute(kept).scalars())
    return list(connection.execute(kept.where(_under), {"partitions": list(partitions)}).scalars())


def are_kept(connection: sa.Connection, tokens: Sequence[str]) -> bool:
    """Tell whether any of these blocks is kept still."""
    kept = sa.exists().where(any_of(blocks.c.token, "tokens"))
    return bool(connection.execute(sa.select(kept), {"tokens": list(tokens)}).scalar_one())


def release(connection: sa.Connection, tokens: Sequence[str]) -> None:
    """Delete blocks that the usage store has."""
    if tokens:
        connection.execute(
            sa.delete(blocks).where(any_of(blocks.c.token, "tokens")), {"tokens": list(tokens)}
        )
