"""Stillness on a real PostgreSQL; who wants it and who owns partitions have their own ledgers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from threading import Event
from typing import Any

import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.errors import DisturbedError, OvertakenError, StoreError
from meterhouse.ledger import leases, partitions
from meterhouse.ledger.engine import open_ledger
from meterhouse.processing import stillness
from meterhouse.processing.stillness import Pauses, Rest, Stillness
from meterhouse.stores import Fence, Stores
from tests.owned import Owned
from tests.postgresql import PostgreSQL

PARTITIONS = 3


class Owner:
    """A process that has some of the partitions; `holding` are those that stand still."""

    def __init__(self, stores: Stores, name: str, pauses: Pauses) -> None:
        self.stores = stores
        self.holding: set[int] = set()
        self.rests: list[Rest] = []
        self.pauses = pauses
        self._name = name

    async def own(self, *numbers: int) -> None:
        """Take partitions over, and wait until they may be worked at."""
        for number in numbers:
            name = f"partition-{number}"
            epoch = await self.stores.write(leases.take, name, self._name, 60)
            assert epoch is not None
            fenced = self.stores.fenced(Owned(name, epoch))
            rest = Rest(fenced, self.pauses, number, partial(self._hold, number))
            self.rests.append(rest)
            rest.start()
            while not await rest.admits():  # noqa: ASYNC110 - nobody is told
                await asyncio.sleep(0.01)

    async def die(self) -> None:
        """End as after a kill: the leases are over."""
        await self.end()
        await self.stores.write(self._lose)

    async def end(self) -> None:
        for one in (*self.rests, self.pauses):
            await one.stop()

    def _lose(self, connection: sa.Connection) -> None:
        connection.exec_driver_sql("UPDATE leases SET until = 0 WHERE owner = %s", (self._name,))

    @asynccontextmanager
    async def _hold(self, number: int) -> AsyncIterator[None]:
        self.holding.add(number)
        try:
            yield
        finally:
            self.holding.remove(number)


class House:
    """A shared ledger, and the processes on it."""

    def __init__(self, url: str, opened: ExitStack) -> None:
        self._url = url
        self._opened = opened
        self._owners: list[Owner] = []
        self.stores = self.process()
        with self.stores._ledger.write() as connection:
            assert partitions.provision(connection, PARTITIONS) == PARTITIONS

    def process(self) -> Stores:
        """Open the ledger as another process does."""
        ledger = self._opened.enter_context(open_ledger(self._url))
        stores = Stores(ledger, lambda *_: None)
        self._opened.callback(stores.close)
        return stores

    async def owner(self, *numbers: int) -> Owner:
        """Start a process that owns partitions."""
        stores = self.process()
        owner = Owner(stores, f"node-{len(self._owners)}", Pauses(stores))
        self._owners.append(owner)
        owner.pauses.start()
        await owner.own(*numbers)
        return owner

    def asker(self) -> Stillness:
        """Start a process that wants stillness, and tells the owners."""
        return Stillness(self.process(), self._tell)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not holds():  # noqa: ASYNC110 - other processes tell nobody
                await asyncio.sleep(0.01)

    def _tell(self) -> None:
        for one in self._owners:
            one.pauses.tell()

    async def end(self) -> None:
        for one in self._owners:
            await one.end()


Run = Callable[[Callable[[House], Awaitable[None]]], None]


@pytest.fixture
def run(postgresql_server: PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.setattr(limits, "STILL_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(stillness, "_POLL", 0.02)
    with ExitStack() as opened:
        house = House(postgresql_server.blank(), opened)

        def go(work: Callable[[House], Awaitable[None]]) -> None:
            async def whole() -> None:
                try:
                    await work(house)
                finally:
                    await house.end()

            asyncio.run(whole())

        yield go


async def begin(house: House, seconds: float) -> Fence:
    """Want stillness for some seconds, as one who dies then; return the fence once it is still."""
    epoch = await house.stores.write(leases.take, stillness.LEASE, "dying", seconds)
    assert epoch is not None
    async with asyncio.timeout(60):
        while await house.stores.read(partitions.without_rest, epoch):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return stillness._Epoch(epoch)


def test_all_owners_stand_still_as_long_as_somebody_wants_it(run: Run) -> None:
    async def work(house: House) -> None:
        one, other = await house.owner(0, 2), await house.owner(1)
        for _ in range(2):
            async with house.asker().still() as fence:
                assert (one.holding, other.holding) == ({0, 2}, {1})
                await house.stores.write(fence.check)
            await house.until(lambda: not one.holding and not other.holding)
        with pytest.raises(DisturbedError):
            await house.stores.write(fence.check)
        assert house.stores.trouble() is None  # nothing is wrong with the ledger

    run(work)


def test_one_at_a_time_wants_it(run: Run) -> None:
    async def work(house: House) -> None:
        owner = await house.owner(0, 1, 2)
        inside = most = 0

        async def ask() -> None:
            nonlocal inside, most
            async with house.asker().still():
                inside += 1
                most = max(most, inside)
                assert owner.holding == {0, 1, 2}
                await asyncio.sleep(0.05)
                inside -= 1

        await asyncio.gather(*(ask() for _ in range(3)))
        assert most == 1

    run(work)


def test_it_lasts_as_long_as_who_wants_it_says_so(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STILL_SECONDS", 0.5)
    monkeypatch.setattr(limits, "STILL_RENEW_SECONDS", 0.1)

    async def work(house: House) -> None:
        owner = await house.owner(0, 1, 2)
        async with house.asker().still():
            await asyncio.sleep(1)
            assert owner.holding == {0, 1, 2}

    run(work)


def test_owners_go_on_when_who_wanted_it_has_died(run: Run) -> None:
    async def work(house: House) -> None:
        one, other = await house.owner(0, 2), await house.owner(1)
        fence = await begin(house, 0.5)
        assert (one.holding, other.holding) == ({0, 2}, {1})
        await house.until(lambda: not one.holding and not other.holding)
        with pytest.raises(DisturbedError):
            await house.stores.write(fence.check)

    run(work)


def test_what_was_begun_while_it_was_still_ends_before_anybody_goes_on(run: Run) -> None:
    """Given a transaction that its asker has begun in time and that takes too long."""

    async def work(house: House) -> None:
        owner = await house.owner(0, 1, 2)
        fence = await begin(house, 0.5)
        begun, go_on = Event(), Event()

        def switch(connection: sa.Connection) -> set[int]:
            fence.check(connection)
            begun.set()
            go_on.wait(60)
            return set(owner.holding)

        switching = asyncio.create_task(house.stores.write(switch))
        await asyncio.to_thread(begun.wait, 10)
        await asyncio.sleep(1)  # in which its time is over
        assert owner.holding == {0, 1, 2}
        go_on.set()
        assert await switching == {0, 1, 2}
        await house.until(lambda: not owner.holding)

    run(work)


def test_who_takes_a_partition_over_stands_still_from_the_first_step(run: Run) -> None:
    """Given an owner that has come to rest and dies, then it stays still for who wanted it."""

    async def work(house: House) -> None:
        one, other = await house.owner(0, 2), await house.owner(1)
        async with house.asker().still():
            await one.die()
            await other.own(0, 2)
            assert other.holding == {0, 1, 2}
        await house.until(lambda: not other.holding)

    run(work)


def test_an_owner_that_was_overtaken_does_not_say_that_it_rests(run: Run) -> None:
    async def work(house: House) -> None:
        await house.owner(0, 1)
        stores = house.process()
        await stores.write(leases.take, "partition-2", "other", 60)
        late = stores.fenced(Owned("partition-2", 7))
        with pytest.raises(OvertakenError):
            await late.write(partitions.rest, 2, 1)

    run(work)


def test_it_is_not_still_where_a_partition_has_no_owner(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STILL_WAIT_SECONDS_MAX", 0.3)

    async def work(house: House) -> None:
        owner = await house.owner(0, 1)
        with pytest.raises(DisturbedError, match="partitions"):
            async with house.asker().still():
                raise AssertionError
        await house.until(lambda: not owner.holding)
        await owner.own(2)
        async with house.asker().still():
            assert owner.holding == {0, 1, 2}

    run(work)


def test_an_owner_that_cannot_finish_is_asked_again(run: Run) -> None:
    async def work(house: House) -> None:
        owner = await house.owner(0, 1)
        tries = 0

        @asynccontextmanager
        async def hold() -> AsyncIterator[None]:
            nonlocal tries
            tries += 1
            if tries == 1:
                raise StoreError("The usage store does not answer.")
            yield

        epoch = await owner.stores.write(leases.take, "partition-2", "node-0", 60)
        assert epoch is not None
        fenced = owner.stores.fenced(Owned("partition-2", epoch))
        rest = Rest(fenced, owner.pauses, 2, hold)
        owner.rests.append(rest)
        rest.start()
        async with house.asker().still():
            assert tries == 2

    run(work)


def test_who_is_stopped_while_it_wants_it_lets_everybody_go_on(run: Run) -> None:
    async def work(house: House) -> None:
        owner = await house.owner(0, 1, 2)
        asker = house.asker()

        async def ask() -> Any:
            async with asker.still():
                await asyncio.sleep(60)

        asking = asyncio.create_task(ask())
        await house.until(lambda: owner.holding == {0, 1, 2})
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        await house.until(lambda: not owner.holding)

    run(work)
