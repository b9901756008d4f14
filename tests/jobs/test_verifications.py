"""Verifications that several processes are asked about, on a real PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from meterhouse import limits
from meterhouse.errors import StoreError
from meterhouse.jobs.verifications import Verifications
from meterhouse.jobs.verify import Verification
from meterhouse.ledger.engine import open_ledger
from meterhouse.stores import Stores
from tests.postgresql import PostgreSQL


class Told(Verification):
    """A verification that ends when the test says so."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.began = 0
        self._task = None
        self._become("idle")

    async def _run(self) -> None:
        self.began += 1
        self._step, self._done, self._total = "Counting", 1, 2
        await self.go_on.wait()
        self._problems.append("something is wrong")
        self._status = "unbalanced"


class Node:
    def __init__(self, url: str, opened: ExitStack) -> None:
        self.stores = Stores(opened.enter_context(open_ledger(url)), lambda *_: None)
        opened.callback(self.stores.close)
        self.told = Told()
        self.verifications = Verifications(self.told, self.stores)

    async def until(self, **wanted: Any) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while not wanted.items() <= (state := await self.verifications.state()).items():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            return state


Run = Callable[[Callable[[Node, Node], Awaitable[None]]], None]


@pytest.fixture
def run(postgresql_server: PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.setattr(limits, "VERIFY_POLL_MILLISECONDS", 10)
    url = postgresql_server.blank()
    with ExitStack() as opened:

        def go(work: Callable[[Node, Node], Awaitable[None]]) -> None:
            async def whole() -> None:
                nodes = Node(url, opened), Node(url, opened)
                try:
                    await work(*nodes)
                finally:
                    for node in nodes:
                        await node.verifications.stop()

            asyncio.run(whole())

        yield go


def test_any_process_tells_of_the_one_that_runs(run: Run) -> None:
    async def work(one: Node, other: Node) -> None:
        assert (await other.verifications.state())["status"] == "idle"
        await one.verifications.start()
        await other.until(status="running", step="Counting", done=1, total=2)
        for node in (other, one):
            await node.verifications.start()
        assert (one.told.began, other.told.began) == (1, 0)
        one.told.go_on.set()
        for node in (other, one):
            found = await node.until(status="unbalanced")
            assert found["problems"] == ["something is wrong"]
        await other.verifications.start()
        await one.until(status="running")
        assert (one.told.began, other.told.began) == (1, 1)

    run(work)


def test_one_whose_process_has_ended_has_failed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "VERIFY_TOLD_SECONDS", 0.3)

    async def work(one: Node, other: Node) -> None:
        await one.verifications.start()
        await other.until(status="running", step="Counting")
        await one.verifications.stop()
        found = await other.until(status="failed")
        assert found["problems"] == ["The process that verified has ended."]
        await other.verifications.start()
        await one.until(status="running")

    run(work)


def test_what_a_ledger_did_not_hear_it_is_told_later(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(one: Node, other: Node) -> None:
        await one.verifications.start()
        write, failed = one.stores.write, asyncio.Event()

        async def fail(*_: Any) -> None:
            monkeypatch.setattr(one.stores, "write", write)
            failed.set()
            raise StoreError("The ledger does not answer.")

        monkeypatch.setattr(one.stores, "write", fail)
        one.told.go_on.set()
        await asyncio.wait_for(failed.wait(), 10)
        await other.until(status="unbalanced")

    run(work)
