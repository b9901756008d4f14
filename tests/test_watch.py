import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import pytest

from meterhouse.errors import StoreError
from meterhouse.watch import Watch


class Held:
    """Which ids are held; `asked` is what was asked about, look by look."""

    def __init__(self, *ids: str) -> None:
        self.ids = set(ids)
        self.asked: list[list[str]] = []
        self.fails = False
        self._looked = asyncio.Condition()

    async def still_held(self, ids: Collection[str]) -> set[str]:
        self.asked.append(sorted(ids))
        async with self._looked:
            self._looked.notify_all()
        if self.fails:
            raise StoreError("no answer")
        return self.ids & set(ids)

    async def looked(self, more: int = 2) -> None:
        least = len(self.asked) + more
        async with self._looked:
            await self._looked.wait_for(lambda: len(self.asked) >= least)


def run(body: Callable[[Watch, Held], Awaitable[None]]) -> None:
    async def bounded() -> None:
        held = Held("one", "two")
        async with asyncio.timeout(60):
            await body(Watch(held.still_held, 0), held)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(bounded())


def test_those_are_told_whose_time_is_over() -> None:
    async def body(watch: Watch, held: Held) -> None:
        async with watch.over("one") as one, watch.over("one") as again, watch.over("two") as two:
            await held.looked()
            assert not any(event.is_set() for event in (one, again, two))
            held.ids.remove("one")
            await asyncio.gather(one.wait(), again.wait())
            await held.looked()
            assert not two.is_set()

    run(body)


def test_one_look_is_for_all_and_nobody_is_none() -> None:
    async def body(watch: Watch, held: Held) -> None:
        async with watch.over("one"), watch.over("one"), watch.over("two"):
            await held.looked()
            assert held.asked[-1] == ["one", "two"]
        looks = len(held.asked)
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(held.asked) == looks
        async with watch.over("two"):
            await held.looked()
            assert held.asked[-1] == ["two"]

    run(body)


def test_whoever_cannot_be_looked_up_is_sent_away() -> None:
    async def body(watch: Watch, held: Held) -> None:
        async with watch.over("one") as one:
            held.fails = True
            await one.wait()
        held.fails = False
        async with watch.over("one") as one:
            await held.looked()
            assert not one.is_set()

    run(body)


def test_who_waits_is_refused_when_their_time_is_over() -> None:
    async def body(watch: Watch, held: Held) -> None:
        sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        receive = watch.bounded("one", sent.get, lambda: StoreError("refused"))
        sent.put_nowait({"type": "http.request"})
        assert await receive() == {"type": "http.request"}
        waiting = asyncio.ensure_future(receive())
        await held.looked()
        assert not waiting.done()
        held.ids.clear()
        with pytest.raises(StoreError, match="refused"):
            await waiting

    run(body)
