"""What batches have used is ready when the ledger keeps none of their blocks any more."""

import pytest

from meterhouse.ledger import blocks, touches
from meterhouse.ledger.blocks import Block
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.touches import Touches


def test_they_are_ready_when_all_blocks_of_their_batch_are_released(ledger: Ledger) -> None:
    tokens = ["1-ab-0", "1-ab-1", "11-ab-0"]
    with ledger.write() as connection:
        for batch, rows in (("1-ab", 2), ("11-ab", 3), ("2-ab", 4)):
            touches.put(connection, Touches(batch, rows, batch.encode()))
        touches.put(connection, None)
        blocks.put(connection, [Block(one, "events", 1, b"") for one in tokens])
        assert touches.ready(connection, 100).bodies == [b"2-ab"]
        blocks.release(connection, tokens[1:])
        assert touches.ready(connection, 100).bodies == [b"11-ab", b"2-ab"]
        blocks.release(connection, tokens)
        assert touches.ready(connection, 100).bodies == [b"1-ab", b"11-ab", b"2-ab"]


@pytest.mark.parametrize(("rows", "bodies"), [(1, [b"a"]), (5, [b"a", b"b"]), (6, [b"a", b"b"])])
def test_not_too_many_are_evaluated_at_once(ledger: Ledger, rows: int, bodies: list[bytes]) -> None:
    with ledger.write() as connection:
        for batch in "abc":
            touches.put(connection, Touches(batch, 2 if batch != "c" else 3, batch.encode()))
        ready = touches.ready(connection, rows)
        assert ready.bodies == bodies
        touches.release(connection, ready.seqs)
        assert touches.ready(connection, 0).bodies == [b"c" if len(bodies) > 1 else b"b"]
