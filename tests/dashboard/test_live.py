import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from meterhouse import limits
from meterhouse.dashboard.client import ApiError
from meterhouse.dashboard.live import SIGNED_OUT, Live

STILL = ": still here\n\n"


class Page:
    """What a part shows; `made` counts how often it was made."""

    def __init__(self) -> None:
        self.html = "one"
        self.made = 0
        self.fails: Exception | None = None
        self._passed = asyncio.Condition()

    async def make(self) -> str:
        self.made += 1
        async with self._passed:
            self._passed.notify_all()
        if self.fails:
            raise self.fails
        return self.html

    async def wait(self, more: int = 2) -> None:
        """Wait until it is made anew, as it is now."""
        least = self.made + more
        async with self._passed:
            await self._passed.wait_for(lambda: self.made >= least)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DASHBOARD_LIVE_SECONDS", 0)


@asynccontextmanager
async def watched(over: asyncio.Event) -> AsyncIterator[asyncio.Event]:
    yield over


def run(body: Callable[[Live, Page], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await body(Live(), Page())
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(bounded())


def look(live: Live, page: Page, key: str = "part", over: asyncio.Event | None = None) -> Any:
    return live.stream(key, page.make, watched(over or asyncio.Event()))


async def told(stream: AsyncIterator[str]) -> str:
    """Return the next version that is sent."""
    async for piece in stream:
        if piece != STILL:
            assert piece.startswith("data: ")
            assert piece.endswith("\n\n")
            return str(json.loads(piece[6:]))
    return "ended"


def test_a_part_is_sent_when_it_changes() -> None:
    async def body(live: Live, page: Page) -> None:
        stream = look(live, page)
        assert await anext(stream) == STILL
        assert await told(stream) == "one"
        page.html = "line\nbreak"
        assert await told(stream) == "line\nbreak"
        await stream.aclose()

    run(body)


def test_nothing_is_sent_while_nothing_changes() -> None:
    async def body(live: Live, page: Page) -> None:
        stream = look(live, page)
        assert await told(stream) == "one"
        following = asyncio.ensure_future(anext(stream))
        await page.wait(5)
        assert not following.done()
        page.html = "two"
        assert "two" in await following
        await stream.aclose()

    run(body)


def test_a_silent_stream_says_that_it_is_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DASHBOARD_LIVE_SILENCE_SECONDS", 0.001)

    async def body(live: Live, page: Page) -> None:
        stream = look(live, page)
        assert await told(stream) == "one"
        assert [await anext(stream) for _ in range(3)] == [STILL] * 3
        await stream.aclose()

    run(body)


def test_a_part_is_made_once_for_all_who_look() -> None:
    async def body(live: Live, page: Page) -> None:
        streams = [look(live, page) for _ in range(20)]
        other = Page()
        streams.append(look(live, other, key="other"))
        other.html = "other"
        found = Counter(await asyncio.gather(*map(told, streams)))
        assert found == {"one": 20, "other": 1}
        begun = page.made
        await asyncio.sleep(0)  # one pass of the loop: of twenty makers each would make it
        assert page.made <= begun + 1
        for stream in streams:
            await stream.aclose()

    run(body)


def test_whoever_comes_later_is_sent_what_is_there_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "DASHBOARD_LIVE_SECONDS", 60)

    async def body(live: Live, page: Page) -> None:
        first, second = look(live, page), look(live, page)
        assert await told(first) == "one"
        assert json.loads((await anext(second))[6:]) == "one"
        assert page.made == 1
        await first.aclose()
        await second.aclose()

    run(body)


def test_nothing_is_made_when_nobody_looks() -> None:
    async def body(live: Live, page: Page) -> None:
        first, second = look(live, page), look(live, page)
        await told(first)
        await told(second)
        await first.aclose()
        await page.wait()
        await second.aclose()
        made = page.made
        for _ in range(10):
            await asyncio.sleep(0)
        assert page.made == made

    run(body)


def test_whoever_comes_as_the_last_one_leaves_is_kept_up_to_date() -> None:
    async def body(live: Live, page: Page) -> None:
        leaving, coming = look(live, page), look(live, page)
        await told(leaving)
        await asyncio.gather(leaving.aclose(), anext(coming))
        page.html = "two"
        while await told(coming) != "two":
            pass
        await coming.aclose()

    run(body)


@pytest.mark.parametrize("error", [ApiError(503, "later"), ZeroDivisionError("a slip of ours")])
def test_what_cannot_be_made_may_be_made_later(error: Exception) -> None:
    async def body(live: Live, page: Page) -> None:
        page.fails = error
        stream = look(live, page)
        following = asyncio.ensure_future(told(stream))
        await page.wait()
        assert not following.done()
        page.fails = None
        assert await following == "one"
        await stream.aclose()

    run(body)


def test_the_end_sends_everybody_away() -> None:
    async def body(live: Live, page: Page) -> None:
        streams = [look(live, page) for _ in range(3)]
        await asyncio.gather(*map(told, streams))
        waiting = [asyncio.ensure_future(told(stream)) for stream in streams]
        await page.wait()
        live.end()
        assert await asyncio.gather(*waiting) == ["ended"] * 3
        assert await told(look(live, page)) == "ended"

    run(body)


def test_whoever_is_signed_out_is_sent_away_at_once() -> None:
    async def body(live: Live, page: Page) -> None:
        over = asyncio.Event()
        stream, other = look(live, page, over=over), look(live, page)
        assert await told(stream) == await told(other) == "one"
        following = asyncio.ensure_future(anext(stream))
        await page.wait()
        assert not following.done()
        over.set()
        page.html = "secret"
        assert await following == SIGNED_OUT
        assert await told(stream) == "ended"
        assert await told(other) == "secret"
        await other.aclose()

    run(body)


def test_as_many_look_as_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DASHBOARD_LIVE_LISTENERS_MAX", 3)

    async def body(live: Live, page: Page) -> None:
        streams = [look(live, page, key) for key in ("one", "one", "two")]
        for stream in streams:
            assert not live.full()
            await told(stream)
        assert live.full()
        await streams[0].aclose()
        assert not live.full()
        for stream in streams:
            await stream.aclose()

    run(body)
