"""Partitions that move between workers: whatever happens, every event counts exactly once."""

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.errors import StoreError
from meterhouse.ledger import blocks, journal, leases, partitions
from meterhouse.processing import process
from meterhouse.usage.store import UsageStore
from tests.clickhouse import usage_store
from tests.postgresql import PostgreSQL
from tests.processing.workers import PARTITIONS, Worker, Workers, hurried, workers_on
from tests.usage.samples import writer


@pytest.fixture(scope="module")
def usage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[UsageStore]:
    with usage_store(request, tmp_path_factory.mktemp("usage"), server=True) as opened:
        yield opened


@pytest.fixture
def workers(
    usage: UsageStore, postgresql_server: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workers]:
    for table in ("events", "identifiers", "rejected_events", "duplicate_events", "usage_slots"):
        writer(usage).command(f"TRUNCATE TABLE {table}")
    hurried(monkeypatch)
    monkeypatch.setattr(limits, "PROCESS_HELD_EVENTS_MAX", 1)
    monkeypatch.setattr(limits, "PROCESS_LINGER_MILLISECONDS", 10)
    monkeypatch.setattr(limits, "PROCESS_RETRY_SECONDS_MAX", 0.1)
    with workers_on(postgresql_server.blank(), usage) as made:
        yield made


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(150):
            await body()

    asyncio.run(whole())


def names(first: int, count: int) -> list[str]:
    return [f"event-{number}" for number in range(first, first + count)]


def balanced(workers: Workers, sent: int, different: int) -> None:
    """Make sure that of so many events each different one counts, and counts once."""
    books = workers.books()
    assert books == {
        "acknowledged": sent,
        "accepted": different,
        "stored": different,
        "claimed": different,
        "wrong": 0,
    } | ({"duplicate": sent - different} if sent > different else {})
    with workers.ledger.read() as connection:
        assert blocks.read(connection) == []


async def shared(workers: Workers, *some: Worker) -> None:
    """Wait until all partitions are had, in fair shares."""
    share = -(-PARTITIONS // len(some))
    await workers.until(
        lambda: (
            Counter(number for one in some for number in one.has) == Counter(range(PARTITIONS))
            and max(len(one.has) for one in some) <= share
        )
    )


def take(workers: Workers, owner: str, *numbers: int, seconds: float = 0.2) -> None:
    """Take partitions from an owner, as if it had stood still, for somebody who does nothing."""
    for number in numbers:
        name, taken = f"partition-{number}", None
        while taken is None:  # it may be at a commit
            with workers.ledger.write() as connection:
                leases.release(connection, name, owner)
                taken = leases.take(connection, name, "another", seconds)


def take_all(workers: Workers, owner: str) -> None:
    """Take everything from an owner, for somebody who ends at once."""
    take(workers, owner, *range(PARTITIONS))


def delay_commits(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, wait: Callable[[], None]
) -> None:
    """Let the commit of each batch wait in another thread before it begins."""
    parts = worker.partitions._processor._parts
    writing = parts.writing

    def delayed(*numbers: Any) -> Any:
        stores = writing(*numbers)
        write_then = stores.write_then

        async def late(then: Any, work: Any, *args: Any) -> Any:
            if work is process._commit:
                await asyncio.to_thread(wait)
            return await write_then(then, work, *args)

        monkeypatch.setattr(stores, "write_then", late)
        return stores

    monkeypatch.setattr(parts, "writing", delayed)


def test_partitions_move_as_workers_come_and_go(workers: Workers) -> None:
    """Each event is sent three times: now, once its partition has moved, and at the end."""

    async def body() -> None:
        first = await workers.add()
        await shared(workers, first)
        workers.send(*names(0, 40))
        await workers.stored(first)
        second = await workers.add()
        workers.send(*names(20, 40))
        await shared(workers, first, second)
        workers.send(*names(0, 60))
        await workers.stored(first, second)
        await first.stop()
        await shared(workers, second)
        workers.send(*names(0, 70))
        await workers.stored(second)
        await second.stop()

    run(body)
    balanced(workers, 40 + 40 + 60 + 70, 70)


def test_readers_hear_that_nothing_is_missing_while_nothing_comes(workers: Workers) -> None:
    async def body() -> None:
        worker = await workers.add()
        await shared(workers, worker)
        for _ in range(2):
            await workers.stored(worker)
        await worker.stop()

    run(body)


def test_what_waits_when_a_worker_comes_is_processed(workers: Workers) -> None:
    async def body() -> None:
        workers.send(*names(0, 30))
        worker = await workers.add()
        await workers.stored(worker)
        with workers.ledger.read() as connection:
            assert [one.backlog_events for one in partitions.read(connection)] == [0] * PARTITIONS
        await worker.stop()

    run(body)
    balanced(workers, 30, 30)


def test_what_a_former_owner_has_stored_is_waited_for_before_anything_is_asked(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica may be behind the one that the former owner wrote to."""
    asked: list[str] = []
    for name in ("sync", "claims", "claim_days", "insert"):
        work = getattr(UsageStore, name)

        def noted(*args: Any, run: Callable[..., Any] = work) -> Any:
            asked.append(run.__name__)
            return run(*args)

        monkeypatch.setattr(UsageStore, name, noted)

    async def body() -> None:
        workers.send(*names(0, 20))
        worker = await workers.add()
        await workers.stored(worker)
        await worker.stop()

    run(body)
    assert asked.count("sync") >= 2  # before the partitions come, and what their filters load
    assert asked[0] == "sync"
    assert "insert" in asked


@pytest.mark.parametrize("followers", [1, 2])
@pytest.mark.parametrize("moment", ["before", "within", "after"])
def test_a_worker_that_dies_between_the_stores(
    workers: Workers, moment: str, followers: int
) -> None:
    """Given a batch that is committed, and of which the usage store has nothing, a part, or all.

    Its partitions go to one other worker, or to two, of which one has nothing of it to bring.
    """

    async def body() -> None:
        dead = await workers.add()
        await shared(workers, dead)
        workers.send(*names(0, 10))
        await workers.stored(dead)
        caught = asyncio.Event()
        loop = asyncio.get_running_loop()
        usage = dead.usage

        def fail(work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            if work not in (UsageStore.insert, UsageStore.insert_again):
                return usage(work, *args, **kwargs)
            if moment == "after" or (moment == "within" and args[0] == "events"):
                usage(work, *args, **kwargs)
            loop.call_soon_threadsafe(caught.set)
            raise StoreError("the usage store went away")

        dead.usage = fail
        workers.send(*names(5, 20))
        await caught.wait()
        await dead.die()
        others = [await workers.add() for _ in range(followers)]
        await shared(workers, *others)
        workers.send(*names(0, 30))
        await workers.stored(*others)
        await asyncio.gather(*(one.stop() for one in others))

    run(body)
    balanced(workers, 10 + 20 + 30, 30)


def test_a_lease_that_is_lost_in_the_middle_of_an_insert(workers: Workers) -> None:
    """The one that is overtaken had begun to insert, and does so after the other has looked."""
    inserted = threading.Event()
    may_insert = threading.Event()

    async def body() -> None:
        slow = await workers.add()
        await shared(workers, slow)
        usage, owner = slow.usage, slow._heartbeat.node

        def wait(work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            if work is UsageStore.insert:
                inserted.set()
                may_insert.wait(30)
            return usage(work, *args, **kwargs)

        slow.usage = wait
        workers.send(*names(0, 20))
        await asyncio.to_thread(inserted.wait, 30)
        take_all(workers, owner)
        other = await workers.add()
        workers.send(*names(0, 30))
        await workers.until(lambda: workers.books().get("accepted") == 30)
        may_insert.set()
        await shared(workers, slow, other)
        await workers.stored(slow, other)
        await asyncio.gather(slow.stop(), other.stop())

    run(body)
    balanced(workers, 20 + 30, 30)


def test_who_has_the_blocks_of_others_brings_them(workers: Workers) -> None:
    """Given a batch under a partition that is lost alone, in the middle of an insert."""
    inserting, may_insert = threading.Event(), threading.Event()

    def kept() -> set[int]:
        with workers.ledger.read() as connection:
            return {one.partition for one in blocks.read(connection)}

    async def body() -> None:
        slow = await workers.add()
        await shared(workers, slow)
        usage, owner = slow.usage, slow._heartbeat.node

        def wait(work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            if work is UsageStore.insert:
                inserting.set()
                may_insert.wait(30)
            return usage(work, *args, **kwargs)

        slow.usage = wait
        workers.send(*names(0, 20))
        await asyncio.to_thread(inserting.wait, 30)
        assert kept() == {0}
        take(workers, owner, 0)
        other = await workers.add()
        await workers.until(lambda: 0 in other.has and not kept())
        may_insert.set()
        workers.send(*names(0, 30))
        await shared(workers, slow, other)
        await workers.stored(slow, other)
        await asyncio.gather(slow.stop(), other.stop())

    run(body)
    balanced(workers, 20 + 30, 30)


@pytest.mark.parametrize("lost", [0, PARTITIONS - 1])
def test_a_partition_that_is_lost_holds_up_no_other(
    workers: Workers, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """Given a commit that comes too late for one of its partitions: the others go on without it."""
    reached, may_go_on = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        may_go_on.wait(30)

    def waiting() -> set[int]:
        with workers.ledger.read() as connection:
            return set(journal.waiting(connection))

    async def body() -> None:
        worker = await workers.add()
        await shared(workers, worker)
        delay_commits(worker, monkeypatch, wait)
        workers.send(*names(0, 40))
        await asyncio.to_thread(reached.wait, 30)
        take(workers, worker._heartbeat.node, lost, seconds=60)
        may_go_on.set()
        await workers.until(lambda: waiting() == {lost})
        with workers.ledger.write() as connection:
            leases.release(connection, f"partition-{lost}", "another")
        await workers.stored(worker)
        await worker.stop()

    run(body)
    balanced(workers, 40, 40)


@pytest.mark.parametrize("round_", ["judge", "conclude", "commit"])
def test_a_lease_that_is_lost_in_the_middle_of_a_step(
    workers: Workers, monkeypatch: pytest.MonkeyPatch, round_: str
) -> None:
    """What was judged by right of it is never committed; the other judges it anew."""
    reached, may_go_on = threading.Event(), threading.Event()

    async def body() -> None:
        slow = await workers.add()
        await shared(workers, slow)
        owner = slow._heartbeat.node

        def wait() -> None:
            reached.set()
            may_go_on.wait(30)

        if round_ == "commit":
            delay_commits(slow, monkeypatch, wait)
        else:
            judged = getattr(slow._engine, round_)

            def late_round(*args: Any, **kwargs: Any) -> Any:
                result = judged(*args, **kwargs)
                if result is not None:
                    wait()
                return result

            monkeypatch.setattr(slow._engine, round_, late_round)
        workers.send(*names(0, 20))
        await asyncio.to_thread(reached.wait, 30)
        take_all(workers, owner)
        may_go_on.set()
        other = await workers.add()
        await shared(workers, slow, other)
        await workers.stored(slow, other)
        await asyncio.gather(slow.stop(), other.stop())

    run(body)
    balanced(workers, 20, 20)


def test_connections_to_the_ledger_that_break(
    workers: Workers, postgresql_server: PostgreSQL
) -> None:
    """Whatever was under way over them: it is done, or done again."""

    async def body() -> None:
        some = [await workers.add() for _ in range(2)]
        await shared(workers, *some)
        for first in range(0, 100, 10):
            workers.send(*names(first, 10))
            with postgresql_server._admin.connect() as connection:
                connection.execute(
                    sa.text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname IS NOT NULL AND pid <> pg_backend_pid() AND random() < 0.5"
                    )
                )
            await asyncio.sleep(0.05)
        await workers.stored(*some)
        await asyncio.gather(*(one.stop() for one in some))

    run(body)
    balanced(workers, 100, 100)


def test_a_process_that_stands_still_in_the_middle_of_a_commit_holds_up_nobody(
    workers: Workers,
) -> None:
    """Its transaction holds the lease: who looks passes on, and takes it once that has ended."""

    async def body() -> None:
        with workers.ledger.write() as connection:
            leases.take(connection, "partition-0", "stopped", 0.1)
        stopped = workers.ledger._tender.connect()
        leases.check(stopped, {"partition-0": 1})
        worker = await workers.add()
        await workers.until(lambda: worker.has == set(range(1, PARTITIONS)))
        workers.send(*names(0, 30))
        await workers.until(lambda: workers.books().get("accepted", 0) > 0)
        stopped.close()
        await shared(workers, worker)
        await workers.stored(worker)
        await worker.stop()

    run(body)
    balanced(workers, 30, 30)
