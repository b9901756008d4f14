import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.errors import StoreError
from meterhouse.ledger import journal, notifications, outbox
from meterhouse.ledger.accounts import default_account, scopes_of
from meterhouse.ledger.engine import open_ledger
from meterhouse.stores import Stores
from meterhouse.usage.store import UsageStore
from tests.blank import blank_ledger
from tests.ledger.samples import snapshot


@pytest.fixture(scope="module")
def usage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UsageStore]:
    opened = UsageStore.open(f"chdb://{tmp_path_factory.mktemp('usage')}")
    yield opened
    opened.close()


@pytest.fixture
def stores(usage: UsageStore, tmp_path: Path) -> Iterator[Stores]:
    with open_ledger(blank_ledger(tmp_path)) as ledger:
        opened = Stores(ledger, lambda work, *args: work(usage, *args))
        yield opened
        opened.close()


def test_writes_go_one_after_the_other_in_order(stores: Stores) -> None:
    async def body() -> list[int]:
        return await asyncio.gather(*(stores.write(journal.reserve, count) for count in (3, 1, 2)))

    first, second, third = asyncio.run(body())
    assert (second - first, third - second) == (3, 1)


def test_a_write_that_fails_changes_nothing(stores: Stores) -> None:
    def work(connection: sa.Connection) -> None:
        journal.reserve(connection, 10)
        raise LookupError("something was missing")

    async def body() -> int:
        before = await stores.read(journal.last_position)
        with pytest.raises(LookupError):
            await stores.write(work)
        return await stores.read(journal.last_position) - before

    assert asyncio.run(body()) == 0


def test_listeners_are_told_of_what_is_in_the_outbox(stores: Stores) -> None:
    """Given a write that emits and others that do not, then listeners hear of the one, on disk."""
    told: list[int] = []

    def emit(connection: sa.Connection) -> None:
        scope = scopes_of(connection, default_account(connection, now=1).id)[0].id
        outbox.emit(connection, snapshot(scope, "evt_1"))

    def fail(connection: sa.Connection) -> None:
        outbox.emit(connection, snapshot(1, "evt_2"))
        raise LookupError("something was missing")

    async def body() -> None:
        stores.listen(lambda: told.append(len(told)))
        await stores.write(journal.reserve, 1)
        await stores.write(emit)
        await asyncio.sleep(0)
        assert told == [0]
        assert await stores.read(notifications.last) == 1
        with pytest.raises(LookupError):
            await stores.write(fail)
        assert told == [0]

    asyncio.run(body())


def test_a_read_cannot_write(stores: Stores) -> None:
    async def body() -> None:
        with pytest.raises(StoreError):
            await stores.read(journal.reserve, 1)

    asyncio.run(body())


def test_slow_questions_hold_no_write_up_and_no_look_up(stores: Stores) -> None:
    """Given every reader and every question at work, then a write, and a look-up, go through."""
    done = threading.Event()

    def wait(*_: object) -> bool:
        return done.wait(10)

    async def body() -> list[bool]:
        slow = [stores.read(wait) for _ in range(limits.LEDGER_READERS)]
        slow += [stores.usage(wait) for _ in range(limits.USAGE_READERS)]
        waiting = asyncio.gather(*slow)
        await stores.write(journal.reserve, 1)
        assert await stores.ask_ledger("look_up", journal.last_position) == 1
        done.set()
        return await waiting

    assert all(asyncio.run(body()))


def test_what_follows_a_write_comes_before_the_next_write(stores: Stores) -> None:
    """On the writer's thread, when the write is on disk."""
    seen: list[tuple[int, int]] = []

    def look(_: object) -> None:
        with stores._ledger.read() as connection:
            seen.append((threading.get_ident(), journal.last_position(connection)))

    async def body() -> list[object]:
        writes = [stores.write_then(look, journal.reserve, 1) for _ in range(3)]
        return await asyncio.gather(*writes, stores.write(lambda _: threading.get_ident()))

    first, second, third, writer = asyncio.run(body())
    assert (first, second, third) == (1, 2, 3)
    assert seen == [(writer, 1), (writer, 2), (writer, 3)]


def test_nothing_follows_a_write_that_fails(stores: Stores) -> None:
    def fail(_: sa.Connection) -> None:
        raise LookupError("something was missing")

    followed: list[None] = []

    async def body() -> None:
        with pytest.raises(LookupError):
            await stores.write_then(followed.append, fail)

    asyncio.run(body())
    assert followed == []


def test_closing_finishes_what_has_begun(tmp_path: Path, usage: UsageStore) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with open_ledger(url) as ledger:
        closing = Stores(ledger, lambda work, *args: work(usage, *args))

        async def body() -> None:
            begun = (
                closing.write(journal.reserve, 5),
                closing.read(journal.last_position),
                closing.usage(UsageStore.counts),
            )
            tasks = [asyncio.create_task(work) for work in begun]
            await asyncio.sleep(0)
            closing.close()
            await asyncio.gather(*tasks)

        asyncio.run(body())
        with ledger.read() as connection:
            assert journal.last_position(connection) == 5


ENDLESS = "SELECT count() FROM numbers_mt(1000000000000) WHERE NOT ignore(sipHash64(number))"
NUMBERS = (
    "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers"
    " WHERE n < 2000000000) SELECT count(*) FROM numbers"
)


def count(connection: sa.Connection) -> None:
    connection.exec_driver_sql(NUMBERS)


def test_a_question_that_nobody_waits_for_any_more_is_ended(stores: Stores) -> None:
    """Given every slow reader at work, then each is free when its asker has been cancelled."""

    async def body() -> None:
        for _ in range(2):
            asking = [stores.ask_ledger("slow", count) for _ in range(limits.SLOW_READERS)]
            wanted = [
                stores.ask_usage("slow", UsageStore.columns, ENDLESS, {})
                for _ in range(limits.SLOW_READERS)
            ]
            tasks = [asyncio.create_task(one) for one in (*asking, *wanted)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(one, asyncio.CancelledError) for one in ended)
        assert await stores.ask_ledger("slow", journal.last_position) == 0
        assert await stores.ask_usage("slow", UsageStore.claim_days, 0) == []

    asyncio.run(body())
