"""Keepers on one ledger whose clock the test moves: who has what as processes come, stop and go."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from meterhouse import limits
from meterhouse.clock import ManualClock
from meterhouse.errors import OvertakenError
from meterhouse.ledger import leases, nodes, tables
from meterhouse.ledger.engine import Ledger, open_ledger
from meterhouse.ledger.nodes import Node
from meterhouse.metrics import Metrics
from meterhouse.processing import lease as lease_module
from meterhouse.processing.keeper import Keeper
from meterhouse.processing.lease import Lease
from meterhouse.stores import Stores
from tests.blank import blank_ledger
from tests.metering.samples import NOW

PARTITIONS, JOBS = 8, 3
TAKEOVER = 10_000  # ms in which another process has to have what one that died had


class Work:
    """What leases are for, here: it notes what it is told. A drain waits until it is let."""

    def __init__(self, kind: str, number: int) -> None:
        self.leases = [Lease(f"{kind}-{one}") for one in range(number)]
        self.running: set[Lease] = set()
        self.ended: list[tuple[str, str]] = []
        self.may_drain = asyncio.Event()
        self.may_drain.set()

    def gained(self, lease: Lease) -> None:
        assert lease not in self.running
        self.running.add(lease)

    async def lost(self, lease: Lease) -> None:
        self.ended.append(("lost", lease.name))
        self.running.discard(lease)

    async def drained(self, lease: Lease) -> None:
        await self.may_drain.wait()
        self.ended.append(("drained", lease.name))
        self.running.discard(lease)


class Worker:
    """A process as far as it matters here: it looks after its leases when the test says so."""

    def __init__(self, cluster: "Cluster", name: str) -> None:
        self.cluster = cluster
        self.name = name
        self.partitions, self.jobs = Work("partition", PARTITIONS), Work("job", JOBS)
        self.metrics = Metrics()
        self.told = 0
        self.keeper = Keeper(
            cluster.stores,
            self.name,
            partitions=self.partitions,
            jobs=self.jobs,
            metrics=self.metrics,
            tell=self._tell,
        )
        with cluster.ledger.write() as connection:
            nodes.enter(connection, Node(name, "worker", "host", 1), limits.NODE_SECONDS, 0)

    def _tell(self) -> None:
        self.told += 1

    @property
    def has(self) -> set[str]:
        """The names of what this one believes to have."""
        return {one.name for one in self.partitions.leases if one.epoch is not None}

    def told_by(self, metric: str) -> dict[str, float]:
        """Return what a metric tells of each lease."""
        return {
            sample.labels["lease"]: sample.value
            for family in self.metrics.registry.collect()
            for sample in family.samples
            if sample.name == metric
        }

    async def beat(self) -> None:
        await self.cluster.stores.write(nodes.expire)
        if not await self.cluster.stores.write(nodes.beat, self.name, limits.NODE_SECONDS, 0):
            entered = Node(self.name, "worker", "host", 1)
            await self.cluster.stores.write(nodes.enter, entered, limits.NODE_SECONDS, 0)

    async def look(self) -> None:
        """Do what it does each second, and end what it has begun to end."""
        await self.beat()
        await self.keeper._renew()
        await self.keeper._share()
        while self.keeper._ending and self.partitions.may_drain.is_set():
            await asyncio.wait(self.keeper._ending.values())

    async def commit(self, lease: Lease) -> bool:
        """Write something that only the owner of a lease may; tell if that was so."""
        try:
            await self.cluster.stores.fenced(lease.fence()).write(lambda _: None)
        except OvertakenError:
            return False
        return True


class Cluster:
    """Workers that share a ledger, and its clock."""

    def __init__(self, ledger: Ledger, clock: ManualClock) -> None:
        self.ledger = ledger
        self.clock = clock
        self.stores = Stores(ledger, lambda *_: None)
        self.workers: list[Worker] = []
        self.names = 0

    def add(self) -> Worker:
        self.names += 1
        worker = Worker(self, f"worker-{self.names}")
        self.workers.append(worker)
        return worker

    async def settle(self, *workers: Worker, seconds: int = TAKEOVER // 1000) -> None:
        """Let so much time pass, in which these workers go on and the others do nothing."""
        for _ in range(seconds):
            self.clock.advance(1_000)
            for worker in workers:
                await worker.look()

    def epochs(self) -> dict[str, int]:
        """Return that of each lease, as the ledger knows it."""
        with self.ledger.read() as connection:
            return {name: held.epoch for name, held in leases.held(connection).items()}

    def shares(self, *workers: Worker) -> list[int]:
        """Return how many partitions each of them has; all of them have all."""
        have = [worker.has for worker in workers]
        assert len(set().union(*have)) == sum(map(len, have)) == PARTITIONS
        return [len(one) for one in have]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    made = ManualClock(NOW)
    monkeypatch.setattr(leases, "now", lambda _: made.now())
    monkeypatch.setattr(lease_module, "clock", lambda: made.now() / 1_000)
    monkeypatch.setattr("meterhouse.processing.keeper.clock", lambda: made.now() / 1_000)
    return made


@pytest.fixture
def cluster(tmp_path: Path, clock: ManualClock) -> Iterator[Cluster]:
    with open_ledger(blank_ledger(tmp_path)) as ledger:
        made = Cluster(ledger, clock)
        yield made
        made.stores.close()


def test_one_worker_takes_everything_at_once(cluster: Cluster) -> None:
    async def body() -> None:
        worker = cluster.add()
        await worker.look()
        assert len(worker.partitions.running) == PARTITIONS
        assert len(worker.jobs.running) == JOBS

    asyncio.run(body())


def test_shares_are_fair_as_workers_come_and_go(cluster: Cluster) -> None:
    async def body() -> None:
        first, second, third = (cluster.add() for _ in range(3))
        await first.beat()
        with cluster.ledger.write() as connection:
            for other in (second, third):
                nodes.leave(connection, other.name)
        await first.look()
        assert cluster.shares(first) == [8]
        await second.beat()
        await cluster.settle(first, second)
        assert cluster.shares(first, second) == [4, 4]
        await third.beat()
        await cluster.settle(first, second, third)
        assert sorted(cluster.shares(first, second, third)) == [2, 3, 3]
        assert first.told > 0
        before = third.has
        await third.keeper.stop()
        with cluster.ledger.write() as connection:
            nodes.leave(connection, third.name)
        assert {name for how, name in third.partitions.ended if how == "drained"} >= before
        await cluster.settle(first, second, seconds=2)
        assert cluster.shares(first, second) == [4, 4]

    asyncio.run(body())


def test_partitions_are_given_back_one_at_a_time(cluster: Cluster) -> None:
    async def body() -> None:
        first = cluster.add()
        await first.look()
        second = cluster.add()
        first.partitions.may_drain.clear()
        first.jobs.may_drain.clear()
        for _ in range(3):
            await first.keeper._share()
            await second.keeper._share()
            assert len(first.keeper._ending) == 2  # a partition and a job
            assert not second.has
        first.partitions.may_drain.set()
        first.jobs.may_drain.set()
        await asyncio.wait(first.keeper._ending.values())
        await second.keeper._share()
        assert cluster.shares(first, second) == [7, 1]

    asyncio.run(body())


def test_what_one_had_that_died_is_taken_over_in_time(cluster: Cluster) -> None:
    async def body() -> None:
        dead, *others = (cluster.add() for _ in range(3))
        await cluster.settle(dead, *others)
        assert dead.has
        await cluster.settle(*others)
        assert cluster.shares(*others) == [4, 4]
        for lease in dead.partitions.running:
            assert not await dead.commit(lease)
        epochs = cluster.epochs()
        assert min(epochs[name] for name in dead.has) > 1
        for one in others:
            told = one.told_by("meterhouse_lease_epoch")
            assert {name: told[name] for name in one.has} == {
                name: epochs[name] for name in one.has
            }
        assert sum(
            sum(one.told_by("meterhouse_lease_takeovers_total").values()) for one in others
        ) >= len(dead.has)

    asyncio.run(body())


def test_one_that_was_stopped_forgets_what_others_have_and_goes_on(cluster: Cluster) -> None:
    async def body() -> None:
        stopped, other = cluster.add(), cluster.add()
        await cluster.settle(stopped, other)
        had = stopped.has
        await cluster.settle(other, seconds=15)
        assert cluster.shares(other) == [8]
        for lease in list(stopped.partitions.running):
            assert not await stopped.commit(lease)
        await stopped.look()
        assert {name for _, name in stopped.partitions.ended} >= had
        await cluster.settle(stopped, other)
        assert cluster.shares(stopped, other) == [4, 4]

    asyncio.run(body())


def test_one_that_was_stopped_alone_goes_on_with_what_nobody_took(cluster: Cluster) -> None:
    async def body() -> None:
        worker = cluster.add()
        await worker.look()
        cluster.clock.advance(15_000)
        [lease, *_] = worker.partitions.leases
        with pytest.raises(Exception, match="could not be renewed in time"):
            lease.assure()
        await worker.keeper._renew()
        lease.assure()
        assert worker.partitions.ended == []
        assert await worker.commit(lease)

    asyncio.run(body())


def test_nothing_is_taken_again_before_it_has_ended(cluster: Cluster) -> None:
    async def body() -> None:
        worker = cluster.add()
        await worker.look()
        [lease, *_] = worker.partitions.leases
        with cluster.ledger.write() as connection:
            leases.release(connection, lease.name, worker.name)
        ending = asyncio.Event()
        lost = worker.partitions.lost

        async def slow(lease: Lease) -> None:
            await ending.wait()
            await lost(lease)

        worker.partitions.lost = slow  # type: ignore[method-assign]
        await worker.keeper._renew()
        for _ in range(3):
            await worker.keeper._share()
            assert lease.epoch is None
        ending.set()
        await asyncio.wait(worker.keeper._ending.values())
        await worker.keeper._share()
        assert lease.epoch == 2
        assert lease in worker.partitions.running

    asyncio.run(body())


def test_what_nobody_here_has_is_let_go(cluster: Cluster) -> None:
    """A commit that took a lease may have succeeded, though it seemed to fail."""

    async def body() -> None:
        worker = cluster.add()
        with cluster.ledger.write() as connection:
            leases.take(connection, "partition-0", worker.name, limits.LEASE_SECONDS)
        await worker.keeper._renew()
        with cluster.ledger.read() as connection:
            assert leases.held(connection) == {}

    asyncio.run(body())


def test_a_keeper_works_by_itself(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LEASE_LOOK_SECONDS", 60)

    async def body() -> None:
        first, second = cluster.add(), cluster.add()
        first.keeper.start()
        async with asyncio.timeout(30):
            while len(first.partitions.running) < PARTITIONS // 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await second.look()
            with cluster.ledger.write() as connection:
                nodes.leave(connection, second.name)
            await second.keeper.stop()
            first.keeper.wake()
            while len(first.partitions.running) < PARTITIONS:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await first.keeper.stop()
        assert first.partitions.running == set()
        with cluster.ledger.read() as connection:
            assert leases.held(connection) == {}

    asyncio.run(body())


class Step(NamedTuple):
    """Something that happens to one of the workers, or to a partition."""

    what: str
    number: int = 0


steps = st.lists(
    st.builds(
        Step,
        st.sampled_from(["tick", "tick", "tick", "add", "kill", "stop", "go on", "leave", "grab"]),
        st.integers(0, PARTITIONS - 1),
    ),
    max_size=30,
)


class Model:
    """Any number of workers of which some have been killed, or are stopped, and the rule of all."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.live = [cluster.add()]
        self.stopped: list[Worker] = []

    async def take(self, step: Step) -> None:
        if step.what == "tick":
            await self.cluster.settle(*self.live, seconds=1)
        elif step.what == "add" and len(self.live) < 4:
            self.live.append(self.cluster.add())
        elif step.what == "go on" and self.stopped:
            self.live.append(self.stopped.pop(step.number % len(self.stopped)))
        elif step.what == "grab" and self.live:
            await self._grab(self.live[step.number % len(self.live)], step.number)
        elif step.what in {"kill", "stop", "leave"} and len(self.live) > 1:
            gone = self.live.pop(step.number % len(self.live))
            if step.what == "stop":
                self.stopped.append(gone)
            elif step.what == "leave":
                await gone.keeper.stop()
                await self.cluster.stores.write(nodes.leave, gone.name)

    async def _grab(self, worker: Worker, number: int) -> None:
        """Let a worker try to take a partition by what it has seen long ago."""
        lease = worker.partitions.leases[number]
        if lease.epoch is None:
            await worker.keeper._take(worker.partitions, lease, anothers=False)

    async def owners(self, number: int) -> list[Worker]:
        """Return all, dead or alive, whose commits for a partition succeed."""
        return [
            worker
            for worker in self.cluster.workers
            if await worker.commit(worker.partitions.leases[number])
        ]

    async def check(self) -> None:
        for number in range(PARTITIONS):
            assert len(await self.owners(number)) <= 1

    async def check_settled(self) -> None:
        """Whatever happened: some seconds later those who live have everything, in fair shares."""
        await self.cluster.settle(*self.live)
        for number in range(PARTITIONS):
            [owner] = await self.owners(number)
            assert owner in self.live
        await self.cluster.settle(*self.live, seconds=PARTITIONS)
        shares = self.cluster.shares(*self.live)
        assert max(shares) <= -(-PARTITIONS // len(self.live))


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps)
@example([Step("tick"), Step("add"), Step("tick"), Step("stop"), *[Step("tick")] * 9])
@example([Step("tick"), *[Step("add")] * 3, *[Step("tick")] * 4, Step("kill"), Step("kill")])
def test_no_two_owners_and_soon_one(cluster: Cluster, happens: Sequence[Step]) -> None:
    """Of all that ever had a partition one can commit at most, and some seconds later one can."""

    async def body() -> None:
        with cluster.ledger.write() as connection:
            for table in (tables.leases, tables.nodes):
                connection.execute(table.delete())
        cluster.workers.clear()
        model = Model(cluster)
        for step in happens:
            await model.take(step)
            await model.check()
        await model.check_settled()

    asyncio.run(body())
