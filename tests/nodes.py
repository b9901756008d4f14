"""Nodes of the role `api` that share a pipeline's stores, each with connections of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

import pytest

from meterhouse.identifiers.index import Identifiers
from meterhouse.ingest.accept import Acceptor
from meterhouse.ingest.claims import SharedClaims
from meterhouse.ingest.commit import Answer, StreamSubmission, Submission
from meterhouse.ledger import leases, partitions
from meterhouse.ledger.engine import open_ledger
from meterhouse.metering.model import MeterEvent
from meterhouse.metrics import Metrics
from meterhouse.processing.freshness import Freshness
from meterhouse.processing.heartbeat import Heartbeat
from meterhouse.processing.progress import SharedProgress
from meterhouse.processing.under_way import UnderWay
from meterhouse.stores import Stores
from tests.pipeline import DAYS, Pipeline

T = TypeVar("T")

PARTITIONS = 4


class Node:
    """One node: it accepts, and tells readers how fresh their answers are."""

    def __init__(self, pipeline: Pipeline, url: str, opened: ExitStack) -> None:
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
        self.progress = SharedProgress(fenced, self.heartbeat, self.acceptor, self.asked.set)
        self.freshness = Freshness(self.progress, self.under_way, self.clock)

    async def send(self, submission: Submission | StreamSubmission) -> Answer:
        """Accept what was received at the time that it says, as a request does."""
        return await self.acceptor.accept(submission)

    async def stream(self, *events: MeterEvent) -> Answer:
        """Accept the events of a stream."""
        packed = self.acceptor.pack(events)
        return await self.acceptor.accept(StreamSubmission(events[0].scope, packed, None))


class Nodes:
    """Two nodes beside a pipeline, whose processor is the worker."""

    def __init__(self, pipeline: Pipeline, nodes: Sequence[Node]) -> None:
        self.pipeline = pipeline
        self.left, self.right = nodes

    def run(self, body: Callable[[], Awaitable[T]]) -> T:
        """Run a test's body with both nodes there, and no worker."""
        return asyncio.run(self._with_both(body))

    def work_beside(self, body: Callable[[], Awaitable[T]]) -> T:
        """Run it where `work` can be done."""
        return self.pipeline.run(lambda: self._with_both(body))

    async def _with_both(self, body: Callable[[], Awaitable[T]]) -> T:
        async with asyncio.timeout(60):
            for node in (self.left, self.right):
                await node.heartbeat.enter()
            try:
                return await body()
            finally:
                for node in (self.left, self.right):
                    await node.heartbeat.stop()

    async def work(self) -> None:
        """Do what workers do: judge and store all that was acknowledged, and tell of it."""
        stores = self.pipeline.stores
        now = await stores.read(leases.now) + 1  # a reader rounds up
        assert await self.pipeline.processor.settle(30)
        await stores.write(_publish, now)


def _publish(connection: Any, as_of: int) -> None:
    for number in range(PARTITIONS):
        partitions.publish(connection, number, as_of, 0)


@pytest.fixture
def nodes(pipeline: Pipeline) -> Iterator[Nodes]:
    url = pipeline.stores._ledger._writer.url.render_as_string(hide_password=False)
    with pipeline.stores._ledger.write() as connection:
        partitions.provision(connection, PARTITIONS)
    with ExitStack() as opened:
        yield Nodes(pipeline, [Node(pipeline, url, opened) for _ in range(2)])


on_servers = pytest.mark.parametrize("usage", ["servers"], indirect=True)
