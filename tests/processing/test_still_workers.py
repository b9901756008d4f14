"""Stillness of whole workers, on a real PostgreSQL and the double of ClickHouse."""

import asyncio
from contextlib import ExitStack

import pytest

from meterhouse import limits
from meterhouse.ledger import blocks
from meterhouse.ledger.engine import open_ledger
from meterhouse.processing.stillness import Stillness
from meterhouse.stores import Stores
from tests.processing.test_takeover import balanced, names, run, shared, usage, workers
from tests.processing.workers import Workers

__all__ = ["usage", "workers"]


def moved(workers: Workers) -> dict[str, int]:
    """Return what would be another thing if anything had been judged or stored."""
    with workers.ledger.read() as connection:
        kept = len(blocks.read(connection))
    return {**workers.books(), "acknowledged": 0, "blocks": kept}


def test_nothing_moves_while_it_is_still_whoever_comes_and_goes(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a worker that gives partitions back meanwhile, and one that dies."""
    monkeypatch.setattr(limits, "STILL_LOOK_SECONDS", 0.05)

    async def body() -> None:
        with ExitStack() as opened:
            ledger = opened.enter_context(open_ledger(workers._url))
            stores = Stores(ledger, lambda *_: None)
            opened.callback(stores.close)
            first = await workers.add()
            await shared(workers, first)
            workers.send(*names(0, 40))
            await workers.stored(first)
            async with Stillness(stores, lambda: None).still():
                before = moved(workers)
                assert before["blocks"] == 0
                workers.send(*names(40, 40))
                second = await workers.add()
                await shared(workers, first, second)
                await first.die()
                await shared(workers, second)
                await asyncio.sleep(0.5)  # in which somebody might begin
                assert moved(workers) == before
            await workers.stored(second)
            await second.stop()
            balanced(workers, 80, 80)

    run(body)


def test_workers_under_load_come_to_rest(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STILL_LOOK_SECONDS", 0.05)

    async def body() -> None:
        with ExitStack() as opened:
            ledger = opened.enter_context(open_ledger(workers._url))
            stores = Stores(ledger, lambda *_: None)
            opened.callback(stores.close)
            both = [await workers.add() for _ in range(2)]
            await shared(workers, *both)
            sent = 0
            for _ in range(3):
                workers.send(*names(sent, 60))
                sent += 60
                async with Stillness(stores, lambda: None).still():
                    before = moved(workers)
                    assert before["blocks"] == 0
                    workers.send(*names(sent, 60))
                    sent += 60
                    await asyncio.sleep(0.2)
                    assert moved(workers) == before
            await workers.stored(*both)
            for one in both:
                await one.stop()
            balanced(workers, sent, sent)

    run(body)
