import asyncio
from collections.abc import Collection

import pytest

from meterhouse.watch import Watch


class Truth:
    """What holds, and who asked about it."""

    def __init__(self, *held: str) -> None:
        self.held = set(held)
        self.asked: list[set[str]] = []

    async def still(self, ids: Collection[str]) -> set[str]:
        self.asked.append(set(ids))
        return self.held & set(ids)


def test_who_may_no_longer_is_told_and_nobody_else() -> None:
    async def work() -> None:
        truth = Truth("a", "b")
        watch = Watch(truth.still, 0.01)
        async with watch.over("a") as first, watch.over("a") as second, watch.over("b") as other:
            truth.held.remove("a")
            async with asyncio.timeout(10):
                await first.wait()
                await second.wait()
            assert not other.is_set()
        assert {frozenset(asked) for asked in truth.asked} == {frozenset("ab")}
        assert not watch._watched
        assert watch._task is None

    asyncio.run(work())


def test_where_nobody_can_tell_all_are_sent_away(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_: Collection[str]) -> set[str]:
        raise OSError

    async def work() -> None:
        async with Watch(fail, 0.01).over("a") as over, asyncio.timeout(10):
            await over.wait()

    asyncio.run(work())
    assert "so they are sent away" in caplog.text
