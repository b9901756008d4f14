import asyncio
from collections.abc import Awaitable, Callable

import pytest

from meterhouse.errors import CrowdedError
from meterhouse.share import Share

ADA, BOB, EVE = 1, 2, 3


def wait(share: Share, who: int, served: list[int]) -> "asyncio.Task[None]":
    async def one() -> None:
        await share.wait(who)
        served.append(who)

    return asyncio.create_task(one())


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def on() -> None:
        await work()

    asyncio.run(on())


def test_nobody_has_more_than_a_share_and_all_no_more_than_there_is() -> None:
    share = Share(places=3, each=2, waiting=1)
    assert [share.take(who) for who in (ADA, ADA, ADA)] == [True, True, False]
    assert [share.take(who) for who in (BOB, EVE)] == [True, False]
    share.give(ADA)
    assert [share.take(who) for who in (BOB, ADA)] == [True, False]


def test_those_who_wait_are_served_in_turn() -> None:
    """Given one with many questions and two with one each, then these do not wait for the many."""

    async def body() -> None:
        share, served = Share(places=1, each=1, waiting=3), list[int]()
        assert share.take(ADA)
        waiting = [wait(share, who, served) for who in (ADA, ADA, ADA, BOB, EVE)]
        await asyncio.sleep(0)
        for who in (ADA, ADA, BOB, EVE, ADA):
            share.give(who)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert served == [ADA, BOB, EVE, ADA, ADA]
        await asyncio.gather(*waiting)

    run(body)


def test_what_is_free_is_not_for_who_has_a_share_of_it() -> None:
    async def body() -> None:
        share, served = Share(places=2, each=1, waiting=1), list[int]()
        assert share.take(ADA)
        waiting = wait(share, ADA, served)
        await asyncio.sleep(0)
        assert share.take(BOB)
        share.give(BOB)
        await asyncio.sleep(0)
        assert not served
        share.give(ADA)
        await waiting
        assert served == [ADA]

    run(body)


def test_one_may_wait_for_so_many() -> None:
    async def body() -> None:
        share, served = Share(places=1, each=1, waiting=2), list[int]()
        assert share.take(EVE)
        waiting = [wait(share, ADA, served) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(CrowdedError):
            await share.wait(ADA)
        waiting.append(wait(share, BOB, served))
        await asyncio.sleep(0)
        for who in (EVE, ADA, BOB):
            share.give(who)
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)
        assert served == [ADA, BOB, ADA]

    run(body)


def test_a_place_that_comes_back_before_those_who_left_go_on_is_not_lost() -> None:
    """Given three of one sender that are cancelled in one moment, of which one has the place."""

    async def body() -> None:
        share, served = Share(places=1, each=1, waiting=3), list[int]()

        async def ask() -> None:
            if not share.take(ADA):
                await share.wait(ADA)
            try:
                await asyncio.Event().wait()
            finally:
                share.give(ADA)

        asking = [asyncio.create_task(ask()) for _ in range(3)]
        other = wait(share, BOB, served)
        await asyncio.sleep(0)
        for one in asking:
            one.cancel()
        ended = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(one) for one in ended] == [asyncio.CancelledError] * 3
        await other
        share.give(BOB)
        assert share.take(ADA)

    run(body)


@pytest.mark.parametrize("served_before", [False, True])
def test_who_waits_no_more_leaves_the_place_to_others(served_before: bool) -> None:
    """Also when the place comes in the same moment."""

    async def body() -> None:
        share, served = Share(places=1, each=1, waiting=1), list[int]()
        assert share.take(EVE)
        first, second = wait(share, ADA, served), wait(share, BOB, served)
        await asyncio.sleep(0)
        if served_before:
            share.give(EVE)
        first.cancel()
        await asyncio.wait({first})
        if not served_before:
            share.give(EVE)
        await second
        assert served == [BOB]
        share.give(BOB)
        assert share.take(ADA)

    run(body)
