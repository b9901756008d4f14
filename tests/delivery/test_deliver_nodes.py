"""Deliveries of several processes on one ledger, on a real PostgreSQL: one at a time delivers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import sqlalchemy as sa

from meterhouse.clock import ManualClock
from meterhouse.config import Config
from meterhouse.delivery.attempt import Sender
from meterhouse.delivery.deliver import Deliverer
from meterhouse.ledger.engine import open_ledger
from meterhouse.ledger.tables import deliveries
from meterhouse.metrics import Metrics
from meterhouse.stores import Stores
from tests.delivery.desk import HOUR, NOW, Desk, no_usage
from tests.delivery.test_deliver import have
from tests.owned import take_over
from tests.postgresql import PostgreSQL
from tests.receiver import receiving

LEASE = "deliver"
DAY = 24 * HOUR


@asynccontextmanager
async def process(url: str, folder: Path, name: str) -> AsyncIterator[Desk]:
    """Be the one that delivers, whoever has done so, until the block ends."""
    clock = ManualClock(NOW)
    with open_ledger(url) as ledger:
        stores = Stores(ledger, no_usage)
        fenced = stores.fenced(await stores.write(take_over, LEASE, name))
        sender = Sender(Config.read({"data_dir": str(folder)}, {}), clock)
        deliverer = Deliverer(fenced, clock, clock, Metrics(), sender)
        deliverer.start()
        try:
            yield Desk(stores, clock, deliverer)
        finally:
            await deliverer.stop()
            stores.close()


def test_what_was_not_recorded_in_time_is_attempted_by_the_successor(
    postgresql_server: PostgreSQL, tmp_path: Path
) -> None:
    """Given one that loses its lease while a receiver takes its time, then it records nothing."""
    url = postgresql_server.blank()

    async def body() -> None:
        async with process(url, tmp_path, "one") as one:
            await one.listen("we_1", receiver.url)
            await one.emit()
            one.deliverer.wake()
            await asyncio.to_thread(receiver.wait, 1)
            async with process(url, tmp_path, "other") as other:
                await asyncio.to_thread(receiver.wait, 2)
                receiver.released.set()
                (found,) = await other.until(have("delivered"))
                await one.emit()
                one.deliverer.wake()
                await other.advance(0)
                await other.until(have("delivered", 2))
                assert found.attempts == 1
                assert [len(await other.attempts(each.id)) for each in await other.all()] == [1, 1]

    with receiving() as receiver:
        receiver.reply = receiver.hold
        asyncio.run(body())
        assert len(receiver.heard) == 3


def test_who_was_overtaken_begins_no_attempt(postgresql_server: PostgreSQL, tmp_path: Path) -> None:
    url = postgresql_server.blank()

    async def body() -> None:
        async with process(url, tmp_path, "one") as one:
            await one.listen("we_1", receiver.url)
            await one.stores.write(take_over, LEASE, "other")
            await one.emit()
            one.deliverer.wake()
            assert one.deliverer._task is not None
            async with asyncio.timeout(10):
                await asyncio.wait({one.deliverer._task})
            (found,) = await one.all()
            assert (found.status, found.attempts) == ("pending", 0)

    with receiving() as receiver:
        asyncio.run(body())
        assert receiver.heard == []


def test_what_a_clock_far_ahead_has_put_off_is_due_for_the_successor(
    postgresql_server: PostgreSQL, tmp_path: Path
) -> None:
    url = postgresql_server.blank()

    async def body() -> None:
        async with process(url, tmp_path, "one") as one:
            await one.deliverer.stop()
            await one.listen("we_1", receiver.url)
            await one.emit(2)
            ids = [each.id for each in await one.all()]

            def put_off(connection: sa.Connection) -> None:
                for each, at in zip(ids, (NOW + 180 * DAY, NOW + DAY), strict=True):
                    row = sa.update(deliveries).where(deliveries.c.id == each)
                    connection.execute(row.values(next_attempt_at=at))

            await one.stores.write(put_off)
        async with process(url, tmp_path, "other") as other:
            found = await other.until(have("delivered"))
            assert [each.status for each in found] == ["delivered", "pending"]

    with receiving() as receiver:
        asyncio.run(body())
        assert len(receiver.heard) == 1
