"""Workers on a real PostgreSQL and the double of ClickHouse, in this process, each with its own."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.clock import ManualClock
from meterhouse.engine.service import EngineService
from meterhouse.identifiers.index import Identifiers
from meterhouse.identifiers.load import Loader
from meterhouse.ingest.pack import pack
from meterhouse.ledger import accounts, customers, journal, partitions, tallies
from meterhouse.ledger.engine import Ledger, open_ledger
from meterhouse.metering.model import MeterEvent, Scope
from meterhouse.metrics import Metrics
from meterhouse.processing.heartbeat import Heartbeat
from meterhouse.processing.keeper import Keeper
from meterhouse.processing.lease import Lease
from meterhouse.processing.partitions import Partitions
from meterhouse.processing.publish import Publisher
from meterhouse.processing.stillness import Pauses
from meterhouse.processing.under_way import UnderWay
from meterhouse.stores import Stores
from meterhouse.usage.store import UsageStore
from tests.metering.samples import NOW
from tests.pipeline import DAYS, create_meter, customer, submission

T = TypeVar("T")

PARTITIONS = 4


class NoJobs:
    """No leases but those of partitions."""

    def __init__(self) -> None:
        self.leases: list[Lease] = []

    def gained(self, lease: Lease) -> None:
        raise AssertionError(lease)

    async def lost(self, lease: Lease) -> None:
        raise AssertionError(lease)

    async def drained(self, lease: Lease) -> None:
        raise AssertionError(lease)


class Worker:
    """What a worker process has, but for its jobs. `usage` is its way to the usage store."""

    def __init__(self, ledger: Ledger, usage: UsageStore) -> None:
        self._clock = ManualClock(NOW)
        self._engine = EngineService(ledger, usage, DAYS)
        self.usage: Callable[..., Any] = self._engine.usage
        self.stores = Stores(ledger, self._ask_usage)
        self.identifiers = Identifiers(DAYS, PARTITIONS)
        self.metrics = Metrics()
        self._loader = Loader(self.stores, self.identifiers, self._clock, self.metrics)
        self._pauses = Pauses(self.stores)
        self.partitions = Partitions(
            self.stores,
            self._engine,
            self.identifiers,
            self._loader,
            self.metrics,
            self._pauses,
        )
        self.publisher = Publisher(self.stores, self.partitions)
        self._heartbeat = Heartbeat(self.stores, "worker", UnderWay(self._clock))
        self.keeper = Keeper(
            self.stores,
            self._heartbeat.node,
            partitions=self.partitions,
            jobs=NoJobs(),
            metrics=self.metrics,
        )

    def _ask_usage(self, *args: Any, **kwargs: Any) -> Any:
        return self.usage(*args, **kwargs)

    @property
    def has(self) -> set[int]:
        """The partitions that it processes."""
        return {one.number for one in self.partitions.owned}

    async def start(self) -> None:
        await self._heartbeat.enter()
        self._heartbeat.start()
        self._loader.start()
        self._pauses.start()
        self.publisher.start()
        self.keeper.start()

    async def stop(self) -> None:
        """End in order."""
        await self.keeper.stop()
        await self._end()

    async def die(self) -> None:
        """End at once, as a kill would: nothing is given back, or finished."""
        self._heartbeat._known = False
        processor = self.partitions._processor
        for task in (processor._task, processor._storing, processor._ahead):
            if task is not None:
                task.cancel()
        if self.keeper._task is not None:
            self.keeper._task.cancel()
        await self._end()

    async def _end(self) -> None:
        await self.publisher.stop()
        await self._pauses.stop()
        await self._loader.stop()
        await self._heartbeat.stop()


class Workers:
    """A ledger of four partitions and a usage store, and those who work on them."""

    def __init__(self, url: str, usage: UsageStore, opened: ExitStack) -> None:
        self._url = url
        self._opened = opened
        self._store = usage
        self.ledger = opened.enter_context(open_ledger(url))
        with self.ledger.write() as connection:
            assert partitions.provision(connection, PARTITIONS) == PARTITIONS
            account = accounts.default_account(connection, NOW)
            self.scope: Scope = accounts.scopes_of(connection, account.id)[0]
            create_meter(connection, self.scope)
            customers.create_customer(connection, customer(self.scope))

    async def add(self) -> Worker:
        """Start another worker."""
        ledger = self._opened.enter_context(open_ledger(self._url))
        worker = Worker(ledger, self._store)
        self._opened.callback(worker.stores.close)
        await worker.start()
        return worker

    def send(self, *names: str) -> None:
        """Acknowledge events of a stream, whose value is 1."""
        events: list[MeterEvent] = [
            msgspec.structs.replace(submission(name).event, meter=None) for name in names
        ]
        with self.ledger.write() as connection:
            position = journal.reserve(connection, len(events))
            journal.append(connection, position, pack(events, PARTITIONS))
            tallies.add(connection, {tallies.Line(self.scope.id, "acknowledged"): len(events)})

    async def until(self, holds: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until something holds."""
        async with asyncio.timeout(seconds):
            while not holds():  # noqa: ASYNC110 - several ledgers tell nobody
                await asyncio.sleep(0.02)

    async def stored(self, *workers: Worker) -> None:
        """Wait as a reader does, who asks these workers, until all that was sent is stored."""
        with self.ledger.read() as connection:
            now: int = connection.execute(
                sa.text("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 1")
            ).scalar_one()

        def passed() -> bool:
            for worker in workers:
                worker.publisher.ask()
            with self.ledger.read() as connection:
                return min(one.as_of for one in partitions.read(connection)) >= now

        await self.until(passed)

    def books(self) -> dict[str, int]:
        """Return the outcomes of all events; what is stored and claimed, as well."""
        with self.ledger.read() as connection:
            lines = tallies.read(connection)
        told = {line.code or line.outcome: events for line, events in lines.items()}
        counts = self._store.counts().values()
        stored = sum(one.accepted for one in counts)
        wrong = sum(one.wrong_positions for one in counts)
        claimed = sum(claims for _, claims in self._store.claim_days(0))
        return {**told, "stored": stored, "wrong": wrong, "claimed": claimed}


@contextmanager
def workers_on(url: str, usage: UsageStore) -> Iterator[Workers]:
    """Let workers work on a blank ledger and an empty usage store."""
    with ExitStack() as opened:
        yield Workers(url, usage, opened)


def hurried(monkeypatch: Any) -> None:
    """Let leases be short."""
    for name, seconds in {
        "LEASE_SECONDS": 1.0,
        "LEASE_RENEW_SECONDS": 0.2,
        "LEASE_LOOK_SECONDS": 0.1,
        "LEASE_SHARE_SECONDS": 0.5,
        "NODE_BEAT_SECONDS": 0.1,
        "PUBLISH_LOOK_SECONDS": 0.1,
    }.items():
        monkeypatch.setattr(limits, name, seconds)
