"""Blocks: judged work on its way to the usage store.

A block is the very bytes that are inserted, kept from the transaction that judged them until the
usage store has them. After a crash the same bytes are inserted unless the usage store has them
already: nothing is judged twice, nothing can come out differently.
"""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from meterhouse.ledger.dialect import any_of
from meterhouse.ledger.tables import blocks


class Block(msgspec.Struct, frozen=True):
    """One insert: a table of the usage store, a token, and an Arrow stream of `rows` rows.

    They come from one `partition` of the journal.
    """

    token: str
    destination: str
    rows: int
    body: bytes
    partition: int = 0


def batch_of(token: str) -> str:
    """Return what the tokens of all blocks of a batch begin with, and those of no other."""
    return token.rpartition("-")[0]


def put(connection: sa.Connection, new: Sequence[Block]) -> None:
    """Keep blocks until they are released."""
    if new:
        connection.execute(sa.insert(blocks), [msgspec.structs.asdict(block) for block in new])


def read(
    connection: sa.Connection, destination: str | None = None, partition: int | None = None
) -> list[Block]:
    """Return the blocks that are kept, of one `destination` or `partition` or all, oldest first."""
    columns = (blocks.c[name] for name in Block.__struct_fields__)
    kept = sa.select(*columns).order_by(blocks.c.seq)
    if partition is not None:
        kept = kept.where(blocks.c.partition == partition)
    if destination is not None:
        kept = kept.where(blocks.c.destination == destination)
    return [Block(*row) for row in connection.execute(kept)]


def tokens(connection: sa.Connection) -> list[str]:
    """Return the tokens of all blocks that are kept."""
    return list(connection.execute(sa.select(blocks.c.token)).scalars())


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
