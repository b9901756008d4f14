"""Signals, in one process and between processes, that is between ledgers that are open."""

import asyncio

import pytest
import sqlalchemy as sa

from meterhouse.ledger import outbox, signals
from meterhouse.ledger.engine import Ledger, open_ledger
from meterhouse.ledger.signals import Signals
from tests.ledger.samples import snapshot, two_scopes
from tests.ledger.test_owner import cut

SECONDS_MAX = 30


def test_a_signal_is_heard_by_all_who_share_the_ledger(ledger: Ledger, url: str) -> None:
    """Given another process on PostgreSQL, then it hears it too; on SQLite there is none."""

    async def body() -> None:
        with open_ledger(url) as second:
            here, there = Signals(ledger), Signals(second)
            heard = [asyncio.Event(), asyncio.Event(), asyncio.Event()]
            here.on("leases", heard[0].set)
            there.on("leases", heard[1].set)
            there.on("pause", heard[2].set)
            there.start()
            here.start()
            async with asyncio.timeout(SECONDS_MAX):
                while not heard[0].is_set() or (ledger.shared and not heard[1].is_set()):
                    here.send("leases")  # until both listen
                    await asyncio.sleep(0.01)
            assert not heard[2].is_set()
            await here.stop()
            await there.stop()

    asyncio.run(body())


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_who_lost_the_connection_hears_again(ledger: Ledger, url: str) -> None:
    async def body() -> None:
        heard = asyncio.Event()
        here = Signals(ledger)
        here.on("outbox", heard.set)
        here.start()
        with open_ledger(url) as other:
            for _ in range(2):
                heard.clear()
                async with asyncio.timeout(SECONDS_MAX):
                    while not heard.is_set():
                        with other.write() as connection:
                            signals.notify(connection, "outbox")
                        await asyncio.sleep(0.05)
                cut(other)
        await here.stop()

    asyncio.run(body())


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_what_is_emitted_becomes_visible_in_order(ledger: Ledger, url: str) -> None:
    """Given a notification that is not committed, then the next one waits for it."""
    scope, _ = two_scopes(ledger)

    def emit(event_id: str) -> None:
        with open_ledger(url) as other, other.write() as connection:
            outbox.emit(connection, snapshot(scope, event_id))

    async def body() -> None:
        with ledger.write() as connection:
            outbox.emit(connection, snapshot(scope, "evt_1"))
            second = asyncio.create_task(asyncio.to_thread(emit, "evt_2"))
            query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            while not await asyncio.to_thread(connection.scalar, sa.text(query)):
                pass
            assert not second.done()
        await second

    asyncio.run(body())
    with ledger.read() as connection:
        rows = connection.exec_driver_sql("SELECT id FROM notifications ORDER BY seq").scalars()
        assert list(rows) == ["evt_1", "evt_2"]
