"""Nodes of the role `api` that share a pipeline's stores, each with connections of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import TypeVar

import pytest

from meterhouse import limits
from meterhouse.identifiers.index import Identifiers
from meterhouse.ingest.accept import Acceptor
from meterhouse.ingest.claims import SharedClaims
from meterhouse.ingest.commit import Answer, StreamSubmission, Submission
from meterhouse.ledger import partitions
from meterhouse.ledger.engine import open_ledger
from meterhouse.metering.model import MeterEvent
from meterhouse.metrics import Metrics
from meterhouse.processing.freshness import Freshness
from meterhouse.processing.heartbeat import Heartbeat
from meterhouse.processing.progress import SharedProgress
from meterhouse.processing.under_way import UnderWay
from meterhouse.stores import Stores
from tests.pipeline import DAYS, Pipeline
from tests.processing.workers import PARTITIONS, Worker

T = TypeVar("T")


class Node:
    """One node: it accepts, and tells readers how fresh their answers are.

    `ask` is how it tells the owners of partitions that somebody waits.
    """

    def __init__(
        self, pipeline: Pipeline, url: str, opened: ExitStack, ask: Callable[[], None]
    ) -> None:
        ledger = opened.enter_context(open_ledger(url))
        usage = pipeline.engine._usage
        self.stores = Stores(ledger, lambda work, *args: work(usage, *args))
        opened.callback(self.stores.close)
        self.clock = pipeline.clock
        self.under_way = UnderWay(self.clock)
        self.heartbeat = Heartbeat(self.stores, "api", self.under_way)
        self.metrics = Metrics()
        fenced = self.stores.fenced(self.heartbeat)
        claims = SharedClaims(fenced, Identifiers(DAYS).holds)
        self.acceptor = Acceptor(
            fenced, claims, self.clock, self.metrics, lambda _: None, PARTITIONS
        )
        self.asked = asyncio.Event()
        self._tell = ask
        self.progress = SharedProgress(fenced, self.heartbeat, self.acceptor, self._ask)
        self.freshness = Freshness(self.progress, self.under_way, self.clock)

    def _ask(self) -> None:
        self.asked.set()
        self._tell()

    async def send(self, submission: Submission | StreamSubmission) -> Answer:
        """Accept what was received at the time that it says, as a request does."""
        return await self.acceptor.accept(submission)

    async def stream(self, *events: MeterEvent) -> Answer:
        """Accept the events of a stream."""
        packed = self.acceptor.pack(events)
        return await self.acceptor.accept(StreamSubmission(events[0].scope, packed, None))


class Nodes:
    """Two nodes on the stores of a pipeline, and a worker as soon as there is work for it."""

    def __init__(self, pipeline: Pipeline, url: str, opened: ExitStack) -> None:
        self.pipeline = pipeline
        self._url = url
        self._opened = opened
        self._worker: Worker | None = None
        self.left, self.right = (Node(pipeline, url, opened, self._ask) for _ in range(2))

    def _ask(self) -> None:
        if self._worker is not None:
            self._worker.publisher.ask()

    def run(self, body: Callable[[], Awaitable[T]]) -> T:
        """Run a test's body with both nodes there."""
        return asyncio.run(self._with_both(body))

    async def _with_both(self, body: Callable[[], Awaitable[T]]) -> T:
        async with asyncio.timeout(200):
            for node in (self.left, self.right):
                await node.heartbeat.enter()
            try:
                return await body()
            finally:
                if self._worker is not None:
                    await self._worker.stop()
                for node in (self.left, self.right):
                    await node.heartbeat.stop()

    async def work(self) -> None:
        """Have a worker that stores all that was acknowledged, from now on."""
        if self._worker is None:
            ledger = self._opened.enter_context(open_ledger(self._url))
            self._worker = Worker(ledger, self.pipeline.engine._usage)
            self._opened.callback(self._worker.stores.close)
            await self._worker.start()
        assert await self.left.progress.settle(30)


@pytest.fixture
def nodes(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    """Return both, whose readers are patient."""
    monkeypatch.setattr(limits, "CONSISTENCY_WAIT_SECONDS_MAX", 60)
    url = pipeline.stores._ledger._writer.url.render_as_string(hide_password=False)
    with pipeline.stores._ledger.write() as connection:
        partitions.provision(connection, PARTITIONS)
    with ExitStack() as opened:
        yield Nodes(pipeline, url, opened)


on_servers = pytest.mark.parametrize("usage", ["servers"], indirect=True)
