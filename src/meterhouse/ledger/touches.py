"""Touches: what batches have used of watched meters, kept until it is evaluated.

They are put down in the transaction that judges their batch, so none is ever without the other.
They are ready once the ledger keeps no block of the batch any more: then the usage store has it.
"""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from meterhouse.ledger import blocks
from meterhouse.ledger.dialect import any_of
from meterhouse.ledger.tables import touches

_all = sa.select(touches.c.seq, touches.c.batch, touches.c.rows).order_by(touches.c.seq)
_bodies = sa.select(touches.c.body).where(any_of(touches.c.seq, "seqs"))
_release = sa.delete(touches).where(any_of(touches.c.seq, "seqs"))


class Touches(msgspec.Struct, frozen=True):
    """What one batch has used: `body` holds `rows` rows as `usage.touched` makes them."""

    batch: str
    rows: int
    body: bytes


class Ready(msgspec.Struct, frozen=True):
    """What several batches have used, all of whose blocks the usage store has."""

    seqs: list[int]
    bodies: list[bytes]


def put(connection: sa.Connection, new: Touches | None) -> None:
    """Keep what a batch has used, if it is anything, until it is released."""
    if new is not None:
        connection.execute(sa.insert(touches), msgspec.structs.asdict(new))


def ready(connection: sa.Connection, rows_max: int) -> Ready:
    """Return what is ready, oldest first; that of more than one batch has at most so many rows."""
    waiting = connection.execute(_all).all()
    if not waiting:
        return Ready([], [])
    kept = {blocks.batch_of(token) for token in blocks.tokens(connection)}
    seqs: list[int] = []
    total = 0
    for seq, batch, rows in waiting:
        if batch in kept:
            continue
        total += rows
        if seqs and total > rows_max:
            break
        seqs.append(seq)
    return Ready(seqs, list(connection.execute(_bodies, {"seqs": seqs}).scalars()))


def release(connection: sa.Connection, seqs: Sequence[int]) -> None:
    """Delete what is evaluated."""
    connection.execute(_release, {"seqs": list(seqs)})
